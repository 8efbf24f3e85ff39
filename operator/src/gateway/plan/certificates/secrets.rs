//! The Secrets that keys and certificates lie in.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use portcullis_contract::files;
use portcullis_pki::{Authority, Leaf};

use crate::gateway::plan::metadata::Maker;
use crate::gateway::plan::{Error, Wanted};
use crate::names;
use crate::world::Kind;
use crate::world::child::authority_keys;

/// The Secrets of a Gateway, each kept or with new content.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) authority: Option<Stored<Arc<Authority>>>,
    pub(super) server: Option<Stored<ServerSecret>>,
    /// By the Secret's name.
    pub(super) bundles: Vec<(String, Stored<BundleSecret>)>,
}

/// A Secret that stays as it is, or one with new content.
#[derive(Debug)]
pub(super) enum Stored<T> {
    Kept,
    New(T),
}

/// What the pods mount.
#[derive(Debug)]
pub(super) struct ServerSecret {
    pub(super) server: Leaf,
    pub(super) control: Leaf,
    pub(super) ca: String,
    pub(super) control_ca: String,
}

/// What a client is handed.
#[derive(Debug)]
pub(super) struct BundleSecret {
    pub(super) leaf: Leaf,
    pub(super) ca: String,
}

impl Secrets {
    /// The Secrets as they should be.
    pub(super) fn wanted(&self, maker: &Maker<'_>) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        if let Some(stored) = &self.authority {
            wanted.push(stored.wanted(
                maker,
                names::authority_secret(maker.gateway()),
                "portcullis.dev/authority",
                |authority| {
                    let [certificate, key] = authority_keys(authority.generation);
                    vec![(certificate, authority.certificate_pem.as_str()), (key, authority.key.expose())]
                },
            )?);
        }
        if let Some(stored) = &self.server {
            wanted.push(stored.wanted(maker, names::server_secret(maker.gateway()), TLS, |secret| {
                vec![
                    (files::SERVER_CERTIFICATE.to_owned(), secret.server.certificate_pem.as_str()),
                    (files::SERVER_KEY.to_owned(), secret.server.key.expose()),
                    (files::SERVER_CA.to_owned(), secret.ca.as_str()),
                    (files::CONTROL_CERTIFICATE.to_owned(), secret.control.certificate_pem.as_str()),
                    (files::CONTROL_KEY.to_owned(), secret.control.key.expose()),
                    (files::CONTROL_CA.to_owned(), secret.control_ca.as_str()),
                ]
            })?);
        }
        for (name, stored) in &self.bundles {
            wanted.push(stored.wanted(maker, name.clone(), TLS, |bundle| {
                vec![
                    (files::SERVER_CERTIFICATE.to_owned(), bundle.leaf.certificate_pem.as_str()),
                    (files::SERVER_KEY.to_owned(), bundle.leaf.key.expose()),
                    (files::SERVER_CA.to_owned(), bundle.ca.as_str()),
                ]
            })?);
        }
        Ok(wanted)
    }
}

/// The field's own type for a certificate and its key.
const TLS: &str = "kubernetes.io/tls";

impl<T> Stored<T> {
    fn wanted<'a>(
        &'a self,
        maker: &Maker<'_>,
        name: String,
        type_: &str,
        data: impl FnOnce(&'a T) -> Vec<(String, &'a str)>,
    ) -> Result<Wanted, Error> {
        let mut secret =
            Secret { metadata: maker.metadata(name), type_: Some(type_.to_owned()), ..Secret::default() };
        Ok(match self {
            Self::Kept => Wanted::KeepData(maker.finish(&secret)?),
            Self::New(content) => {
                let data =
                    data(content).into_iter().map(|(key, text)| (key, ByteString(text.as_bytes().to_vec())));
                secret.data = Some(data.collect());
                Wanted::Object(Kind::Secret, maker.finish(&secret)?)
            }
        })
    }
}
