//! One file that holds all that is kept for a gateway, encrypted with a passphrase (age, scrypt).

use age::secrecy::SecretString;
use age::{DecryptError, scrypt};
use serde::{Deserialize, Serialize};

use super::{Portable, Tokens};
use crate::failure::{Exit, Failure};
use crate::store::{Bundle, Metadata, Name};

/// What the file is, so that a later version can tell.
const VERSION: u32 = 1;
/// More work than this is refused: a file from elsewhere shall not keep this machine busy for minutes.
const MOST_WORK: u8 = 20;

#[derive(Serialize, Deserialize)]
struct Content {
    portcullis: u32,
    name: String,
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edge_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oidc_token: Option<String>,
}

/// Seals it.
///
/// # Errors
/// Where something in it is no text, which none of ours is.
pub fn seal(portable: &Portable, passphrase: String) -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| Failure::new(Exit::Failed, format!("failed to seal the gateway: {reason}"));
    let text = |bytes: Option<&Vec<u8>>| -> Result<Option<String>, Failure> {
        bytes
            .map(|it| String::from_utf8(it.clone()).map_err(|_| failed("a file of it is no text".to_owned())))
            .transpose()
    };
    let (certificate, key) = portable.bundle.identity.as_ref().map(|(it, key)| (it, key)).unzip();
    let content = Content {
        portcullis: VERSION,
        name: portable.name.to_string(),
        metadata: portable.metadata.clone(),
        ca: text(portable.bundle.ca.as_ref())?,
        certificate: text(certificate)?,
        key: text(key)?,
        edge_token: text(portable.tokens.edge.as_ref())?,
        oidc_token: text(portable.tokens.oidc.as_ref())?,
    };
    let plain = serde_json::to_vec(&content).map_err(|error| failed(error.to_string()))?;
    let recipient = scrypt::Recipient::new(SecretString::from(passphrase));
    age::encrypt(&recipient, &plain).map_err(|error| failed(error.to_string()))
}

/// Opens it.
///
/// # Errors
/// Where it is no such file, or the passphrase is another one.
pub fn open(sealed: &[u8], passphrase: String) -> Result<Portable, Failure> {
    let mut identity = scrypt::Identity::new(SecretString::from(passphrase));
    identity.set_max_work_factor(MOST_WORK);
    let plain = age::decrypt(&identity, sealed).map_err(|error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            Failure::new(Exit::Denied, "failed to open the file: the passphrase is another one")
        }
        DecryptError::ExcessiveWork { .. } => {
            Failure::new(Exit::Failed, "refused to open the file: it would take this machine minutes")
        }
        other => Failure::new(Exit::Usage, format!("failed to open the file: {other}"))
            .hint("`portcullis gateway export FILE` makes such files"),
    })?;
    let wrong =
        |reason: String| Failure::new(Exit::Usage, format!("what is in the file is no gateway: {reason}"));
    let content: Content = serde_json::from_slice(&plain).map_err(|error| wrong(error.to_string()))?;
    if content.portcullis != VERSION {
        return Err(wrong(format!("it is of version {}, and {VERSION} is known here", content.portcullis)));
    }
    let name: Name = content.name.parse().map_err(|error: crate::store::BadName| wrong(error.to_string()))?;
    let identity = match (content.certificate, content.key) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
        (None, None) => None,
        _ => return Err(wrong("a certificate without its key, or the other way round".to_owned())),
    };
    Ok(Portable {
        name,
        metadata: content.metadata,
        bundle: Bundle { ca: content.ca.map(String::into_bytes), identity },
        tokens: Tokens {
            edge: content.edge_token.map(String::into_bytes),
            oidc: content.oidc_token.map(String::into_bytes),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portable() -> Portable {
        Portable {
            name: "shop".parse().unwrap(),
            metadata: Metadata { endpoint: "https://door".to_owned(), ..Metadata::default() },
            bundle: Bundle {
                ca: Some(b"ca".to_vec()),
                identity: Some((b"certificate".to_vec(), b"PRIVATE KEY".to_vec())),
            },
            tokens: Tokens { edge: None, oidc: Some(b"{}".to_vec()) },
        }
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_passphrase_and_no_other_and_not_once_it_is_changed() {
        let sealed = seal(&portable(), "correct horse".to_owned()).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1"));
        assert!(!sealed.windows(7).any(|it| it == b"PRIVATE"));
        assert_eq!(open(&sealed, "correct horse".to_owned()).unwrap(), portable());
        assert_eq!(open(&sealed, "wrong".to_owned()).unwrap_err().exit, Exit::Denied);
        let mut spoilt = sealed.clone();
        *spoilt.last_mut().unwrap() ^= 1;
        assert!(open(&spoilt, "correct horse".to_owned()).is_err());
        assert!(open(&sealed[..sealed.len() - 20], "correct horse".to_owned()).is_err());
        assert_eq!(open(b"no such file", String::new()).unwrap_err().exit, Exit::Usage);
    }
}
