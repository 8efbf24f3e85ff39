//! Why a login, a renewal or a logout came to nothing: what was tried, what came back, and what to do.

use std::io;

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer.
    #[error("failed to reach {host}: {reason}")]
    Unreachable {
        /// Name and port.
        host: String,
        /// What the system or TLS said.
        reason: String,
    },
    /// No answer in time.
    #[error("failed to reach {host}: no answer in {seconds} seconds")]
    NoAnswer {
        /// Name and port.
        host: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// An answer with a status that is none of those that make sense.
    #[error("{url} answered {status}{more}")]
    Answered {
        /// What was asked for, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What is known besides.
        more: String,
    },
    /// An answer that is not what it should be.
    #[error("failed to read the answer of {url}: {reason}")]
    Malformed {
        /// What was asked for, without its query.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A URL that is none, or not one that secrets may go to.
    #[error("`{url}` cannot be used: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The provider calls itself otherwise.
    #[error("the provider at {asked} calls itself {found}")]
    Issuer {
        /// The issuer that was asked.
        asked: String,
        /// The issuer that answered.
        found: String,
    },
    /// The gateway has no provider.
    #[error("the gateway at {endpoint} names no OpenID provider: there is nothing to log in to")]
    NoProvider {
        /// The gateway.
        endpoint: String,
    },
    /// The provider lacks something.
    #[error("the provider {issuer} does not offer {what}")]
    Lacks {
        /// The provider.
        issuer: String,
        /// What it lacks.
        what: &'static str,
    },
    /// The provider said no.
    #[error("the provider {issuer} refused: {said}")]
    Refused {
        /// The provider.
        issuer: String,
        /// Its words.
        said: String,
    },
    /// The person said no.
    #[error("the login was not allowed in the browser ({said})")]
    Denied {
        /// What the provider called it.
        said: String,
    },
    /// The ID token cannot be believed.
    #[error("failed to check who has logged in at {issuer}: {reason}")]
    Identity {
        /// The provider.
        issuer: String,
        /// Why not.
        reason: String,
    },
    /// Nobody came back.
    #[error("nobody logged in within {minutes} minutes")]
    TooLate {
        /// How long it was waited for.
        minutes: u64,
    },
    /// Half of what a machine needs.
    #[error("{set} is set and {missing} is not")]
    HalfMachine {
        /// The variable that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The refresh token, or what stands in for it, is good no more.
    #[error("the login of {account} has ended: {reason}")]
    LoginAgain {
        /// Who it was.
        account: String,
        /// Why.
        reason: String,
    },
    /// Nobody is logged in.
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// The one-time code of the edge's way was not taken.
    #[error("the gateway did not take the one-time code: {said}")]
    Code {
        /// Its words.
        said: String,
    },
    /// What was kept cannot be read or written.
    #[error("failed to {what}")]
    Kept {
        /// What was tried, such as "keep the tokens".
        what: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No port to listen on.
    #[error("failed to listen on 127.0.0.1 for the browser to come back")]
    Listen(#[source] io::Error),
    /// TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Which sort of trouble it is, for whoever turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was asked for in a way that cannot be.
    Usage,
    /// Somebody said no, or nobody is logged in.
    Denied,
    /// There was no answer, or none that makes sense.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// Something on this machine.
    Other,
}

impl Error {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { reason, .. } if reason.contains("UnknownIssuer") => Some(
                "give the authority that signed its certificate: `portcullis gateway login --issuer-ca FILE` for a provider",
            ),
            Self::Issuer { .. } => {
                Some("the Gateway's spec.oidc.issuer must be written exactly as the provider calls itself")
            }
            Self::NoProvider { .. } => {
                Some("its clients show certificates: `portcullis gateway info` says which is stored")
            }
            Self::Lacks { .. } => Some("another way may do: with or without --no-browser, or as a machine"),
            Self::TooLate { .. } | Self::Code { .. } => {
                Some("run the command again, and finish in the browser")
            }
            Self::HalfMachine { .. } => Some("set both to log in as a machine, or neither"),
            Self::LoginAgain { .. } | Self::NotLoggedIn => Some("run `portcullis gateway login`"),
            _ => None,
        }
    }

    /// Which sort of trouble it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } | Self::Answered { .. } | Self::Malformed { .. } => Kind::Unreachable,
            Self::NoAnswer { .. } | Self::TooLate { .. } => Kind::TimedOut,
            Self::Url { .. }
            | Self::Issuer { .. }
            | Self::NoProvider { .. }
            | Self::Lacks { .. }
            | Self::HalfMachine { .. } => Kind::Usage,
            Self::Refused { .. }
            | Self::Denied { .. }
            | Self::Identity { .. }
            | Self::LoginAgain { .. }
            | Self::NotLoggedIn
            | Self::Code { .. } => Kind::Denied,
            Self::Kept { .. } | Self::Listen(_) | Self::Tls(_) => Kind::Other,
        }
    }
}
