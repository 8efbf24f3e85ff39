//! When a client certificate ends. Pure.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long before its end somebody is warned, in seconds.
const WARNED: i64 = 7 * 24 * 3600;

/// When the first certificate of a PEM file ends, in seconds since 1970-01-01T00:00:00Z.
pub fn ends(pem: &[u8]) -> Option<i64> {
    ends_of(&CertificateDer::from_pem_slice(pem).ok()?)
}

/// When a certificate ends, in seconds since 1970-01-01T00:00:00Z.
pub(crate) fn ends_of(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// What is to be said of an end that is near, in words.
pub fn warning(gateway: &str, ends: i64, now: i64) -> Option<String> {
    let left = ends - now;
    let again = "add the gateway again with a new bundle, such as with `portcullis gateway add --from-kube`";
    if left <= 0 {
        Some(format!("the client certificate for the gateway {gateway} is over: {again}"))
    } else if left < WARNED {
        let days = left / (24 * 3600);
        let when = match days {
            0 => "in less than a day".to_owned(),
            1 => "in a day".to_owned(),
            days => format!("in {days} days"),
        };
        Some(format!(
            "the client certificate for the gateway {gateway} ends {when}: run `portcullis gateway renew`, or {again}"
        ))
    } else {
        None
    }
}

/// A time as people write it, UTC.
pub fn shown(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_warned_of_a_week_ahead() {
        let day = 24 * 3600;
        assert_eq!(warning("shop", 100 * day, 93 * day), None);
        let near = warning("shop", 100 * day, 93 * day + 1).unwrap();
        assert!(near.contains("in 6 days") && near.contains("gateway renew"), "{near}");
        assert!(warning("shop", 100 * day, 99 * day + 1).unwrap().contains("in less than a day"));
        assert!(warning("shop", 100 * day, 100 * day).unwrap().contains("is over"));
        let over = warning("shop", 100 * day, 100 * day).unwrap();
        assert!(!over.contains("gateway renew"), "with one that is over nobody gets in to renew it: {over}");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(ends(b"no PEM"), None);
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
    }
}
