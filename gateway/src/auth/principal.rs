//! Whom a request is made for, once that is proved.

use http::HeaderValue;

/// A proved caller, with the header values that backends are told, made once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) user: String,
    pub(crate) roles: Vec<String>,
    /// SPIFFE identity of the certificate.
    pub(crate) identity: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    /// Seconds since the epoch.
    pub(crate) expires_at: i64,
    /// How it was proved.
    pub(crate) proof: &'static str,
    /// `X-Portcullis-User`.
    pub(crate) user_header: HeaderValue,
    /// `X-Portcullis-Roles`.
    pub(crate) roles_header: HeaderValue,
}

/// The value of `X-Portcullis-User`.
pub(super) fn user_header(user: &str) -> HeaderValue {
    value(encode(user))
}

/// The value of `X-Portcullis-Roles`: comma-separated, in order.
pub(super) fn roles_header(roles: &[String]) -> HeaderValue {
    value(roles.iter().map(|role| encode(role)).collect::<Vec<_>>().join(","))
}

fn value(text: String) -> HeaderValue {
    // `encode` leaves visible ASCII only, so that this cannot fail; an empty value grants nothing if it ever does.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Percent-encodes what a header field or a list cannot carry: all but visible ASCII, and `%` and `,` themselves.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b',') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(user_header("ci@shop"), "ci@shop");
        assert_eq!(roles_header(&["user".into(), "admin".into()]), "user,admin");
    }

    #[test]
    fn a_line_break_a_comma_and_letters_beyond_ascii_are_encoded() {
        assert_eq!(user_header("zoë\r\nX-Evil: 1"), "zo%C3%AB%0D%0AX-Evil:%201");
        assert_eq!(roles_header(&["a,b".into(), "100%".into()]), "a%2Cb,100%25");
    }

    proptest! {
        #[test]
        fn every_name_makes_a_header_value(user in ".*", roles in proptest::collection::vec(".*", 0..4)) {
            prop_assert!(user_header(&user).to_str().is_ok());
            let header = roles_header(&roles);
            let commas = header.to_str().unwrap().matches(',').count();
            prop_assert_eq!(commas, roles.len().saturating_sub(1));
        }
    }
}
