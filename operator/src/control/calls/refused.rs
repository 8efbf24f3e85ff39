//! Why a call was not carried out, in words for whoever called: a gRPC status code and what to do.

use tonic::Code;

use crate::cause::chain;
use crate::writer;

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) message: String,
}

pub(super) fn refused<T>(code: Code, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into() })
}

/// What the API server found wrong with a request is the caller's to put right, in the API server's own words; what else
/// befell it passes.
impl From<writer::Error> for Refused {
    fn from(error: writer::Error) -> Self {
        let message = chain(&error);
        let code = match error.code() {
            400 | 422 => Code::InvalidArgument,
            403 if message.contains("exceeded quota") => Code::ResourceExhausted,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            409 if error.says_already_exists() => Code::AlreadyExists,
            409 => Code::Aborted,
            _ => Code::Unavailable,
        };
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, reason: &str, message: &str) -> Refused {
        let status = kube::core::Status::failure(message, reason).with_code(code);
        let source = kube::Error::Api(Box::new(status));
        writer::Error::Api { verb: "create", what: "Tunnel shop/web".to_owned(), source }.into()
    }

    #[test]
    fn what_the_api_server_answers_is_told_by_its_kind_and_in_its_words() {
        for (status, reason, code) in [
            (422, "Invalid", Code::InvalidArgument),
            (400, "BadRequest", Code::InvalidArgument),
            (403, "Forbidden", Code::PermissionDenied),
            (404, "NotFound", Code::NotFound),
            (409, "AlreadyExists", Code::AlreadyExists),
            (409, "Conflict", Code::Aborted),
            (429, "TooManyRequests", Code::Unavailable),
            (500, "InternalError", Code::Unavailable),
        ] {
            let refused = answered(status, reason, "in its words");
            assert_eq!(refused.code, code, "{status} {reason}");
            assert_eq!(refused.message, "failed to create Tunnel shop/web: in its words");
        }
        let full = answered(403, "Forbidden", "tunnels \"web\" is forbidden: exceeded quota: few");
        assert_eq!(full.code, Code::ResourceExhausted);
        let unanswered = writer::Error::Unanswered { verb: "create", what: "Tunnel shop/web".to_owned() };
        assert_eq!(Refused::from(unanswered).code, Code::Unavailable);
    }
}
