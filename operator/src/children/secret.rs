//! Secrets, each kept as it is, or with new content, or with some of it new.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use portcullis_contract::files;

use super::issuer::BundleSecret;
use super::{Error, Maker, Wanted};
use crate::world::Kind;

/// The field's own type for a certificate and its key.
pub const TLS: &str = "kubernetes.io/tls";

/// A Secret that stays as it is, or one with new content.
#[derive(Debug)]
pub enum Stored<T> {
    /// It stays.
    Kept,
    /// It gets this.
    New(T),
    /// It gets these values, and keeps what else is in it.
    Amended(Vec<(String, String)>),
}

impl<T> Stored<T> {
    /// The Secret as it should be; `data` writes new content down.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn wanted<'a>(
        &'a self,
        maker: &Maker<'_>,
        name: String,
        type_: &str,
        data: impl FnOnce(&'a T) -> Vec<(String, &'a str)>,
    ) -> Result<Wanted, Error> {
        let bytes = |key: String, text: &str| (key, ByteString(text.as_bytes().to_vec()));
        let mut secret =
            Secret { metadata: maker.metadata(name), type_: Some(type_.to_owned()), ..Secret::default() };
        Ok(match self {
            Self::Kept => Wanted::KeepData(maker.finish(&secret)?),
            Self::New(content) => {
                secret.data = Some(data(content).into_iter().map(|(key, text)| bytes(key, text)).collect());
                Wanted::Object(Kind::Secret, maker.finish(&secret)?)
            }
            Self::Amended(values) => {
                secret.data = Some(values.iter().map(|(key, text)| bytes(key.clone(), text)).collect());
                Wanted::Amend(maker.finish(&secret)?)
            }
        })
    }
}

impl Stored<BundleSecret> {
    /// A bundle's Secret as it should be.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn bundle(&self, maker: &Maker<'_>, name: String) -> Result<Wanted, Error> {
        self.wanted(maker, name, TLS, |bundle| {
            vec![
                (files::SERVER_CERTIFICATE.to_owned(), bundle.leaf.certificate_pem.as_str()),
                (files::SERVER_KEY.to_owned(), bundle.leaf.key.expose()),
                (files::SERVER_CA.to_owned(), bundle.ca.as_str()),
            ]
        })
    }
}
