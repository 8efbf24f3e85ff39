//! What came back instead of an answer, in words: what was tried, what is wrong, what to do.

use std::error::Error as StdError;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tonic::{Code, Status};

use super::noticed::Noticed;
use crate::failure::{Exit, Failure, chain};
use crate::gateways::Resolved;
use crate::line;

/// No connection.
pub(super) fn to_connect(gateway: &Resolved, error: &(dyn StdError + 'static), noticed: &Noticed) -> Failure {
    if let Some(failure) = find::<Failure>(error) {
        // Who is not logged in has reached nobody yet, and that is not what is wrong.
        if failure.exit == Exit::Denied {
            return failure.clone();
        }
        return Failure {
            exit: failure.exit,
            message: format!("failed to reach the gateway {}: {failure}", gateway.title()),
            hint: failure.hint.clone(),
        };
    }
    if let Some(error) = find::<line::Error>(error) {
        return connection(gateway, error);
    }
    if let Some(error) = noticed.get() {
        return tls(gateway, &error);
    }
    unreachable(gateway, &chain(error))
}

/// No connection, and why.
fn connection(gateway: &Resolved, error: &line::Error) -> Failure {
    if let Some(error) = error.tls() {
        return tls(gateway, error);
    }
    match error {
        line::Error::WebSocket { status: Some(status @ (401 | 403 | 300..=399)), .. } => {
            let message = format!(
                "the edge in front of the gateway {} wants a login (status {status})",
                gateway.title()
            );
            Failure::new(Exit::Denied, message).hint("run `portcullis gateway login`")
        }
        line::Error::TimedOut(_) => {
            Failure::new(Exit::TimedOut, format!("failed to reach the gateway {}: {error}", gateway.title()))
                .hint("is there a firewall in between? `portcullis gateway status` tries again")
        }
        other => unreachable(gateway, &other.to_string()),
    }
}

fn unreachable(gateway: &Resolved, reason: &str) -> Failure {
    let message = format!("failed to reach the gateway {}: {reason}", gateway.place());
    let hint = match gateway.name() {
        Some(name) => {
            format!("is it there still? `portcullis gateway info -g {name}` says where it should be")
        }
        None => "check the URL".to_owned(),
    };
    Failure::new(Exit::Unreachable, message).hint(hint)
}

/// What TLS says.
pub(super) fn tls(gateway: &Resolved, error: &rustls::Error) -> Failure {
    use AlertDescription as Alert;
    let title = gateway.title();
    match error {
        rustls::Error::AlertReceived(Alert::CertificateRequired) => Failure::new(
            Exit::Denied,
            format!("the gateway {title} demands a client certificate, and none is stored for it"),
        )
        .hint("add it with its bundle: `portcullis gateway add URL --bundle FOLDER`, or `--from-kube NAMESPACE/NAME`"),
        rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::UnsupportedCertificate,
        ) => Failure::new(
            Exit::Denied,
            format!("the gateway {title} does not accept the client certificate: {error}"),
        )
        .hint("it may be over or revoked: add the gateway again with a bundle that is good"),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Failure::new(
            Exit::Unreachable,
            format!("the certificate of the gateway {title} is of no authority that is believed"),
        )
        .hint("add the gateway with its CA: `portcullis gateway add URL --ca FILE`"),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Failure::new(
            Exit::Unreachable,
            format!("the certificate of the gateway {title} is not for `{}`: {error}", gateway.server_name()),
        )
        .hint("give the name that stands in it: `portcullis gateway add URL --server-name NAME`"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Failure::new(Exit::Unreachable, format!("the certificate of the gateway {title} is not good now: {error}"))
            .hint("is this machine's clock right? `date -u` shows it"),
        other => unreachable(gateway, &other.to_string()),
    }
}

/// It took too long.
pub(super) fn in_time(gateway: &Resolved, timeout: Duration) -> Failure {
    let message = format!("the gateway {} did not answer within {}s", gateway.place(), timeout.as_secs_f32());
    Failure::new(Exit::TimedOut, message).hint("try again, or give it longer with --timeout")
}

/// An answer that says no.
pub(super) fn call(gateway: &Resolved, doing: &str, status: &Status, noticed: &Noticed) -> Failure {
    // Without a source it is the gateway's own word.
    if let Some(source) = status.source() {
        if let Some(failure) = find::<Failure>(source) {
            return failure.clone();
        }
        if let Some(error) = find::<line::Error>(source) {
            return connection(gateway, error);
        }
        // Several calls may have failed by the same connection.
        if let Some(error) = noticed.get() {
            return tls(gateway, &error);
        }
    }
    let title = gateway.title();
    let said = match (status.message(), status.source()) {
        ("", Some(source)) => chain(source),
        ("", None) => status.code().description().to_owned(),
        (message, _) => message.to_owned(),
    };
    let message = format!("failed to {doing} at the gateway {title}: {said}");
    let (exit, hint) = match status.code() {
        Code::Unauthenticated => (Exit::Denied, Some("run `portcullis gateway login`".to_owned())),
        Code::PermissionDenied => (
            Exit::Denied,
            Some("`portcullis gateway status` says who you are there, and what you may do".to_owned()),
        ),
        Code::NotFound => (Exit::NotFound, None),
        Code::InvalidArgument | Code::OutOfRange => (Exit::Usage, None),
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition | Code::ResourceExhausted => {
            (Exit::Conflict, None)
        }
        Code::Unavailable => (Exit::Unreachable, Some("try again in a moment".to_owned())),
        Code::DeadlineExceeded => (Exit::TimedOut, Some("give it longer with --timeout".to_owned())),
        Code::Unimplemented => (
            Exit::Failed,
            Some("the gateway is older than this command: `portcullis version` compares them".to_owned()),
        ),
        _ => (Exit::Failed, None),
    };
    Failure { exit, message, hint }
}

/// The first error of this kind among those that caused one.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // What an io::Error wraps is not its source.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|it| it.downcast_ref::<E>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
