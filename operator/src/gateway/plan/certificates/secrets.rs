//! The Secrets that keys and certificates lie in.

use std::sync::Arc;

use portcullis_contract::files;
use portcullis_pki::Leaf;

use crate::children::issuer::BundleSecret;
use crate::children::secret::{Stored, TLS};
use crate::children::{Error, Maker, Wanted};
use crate::names;
use crate::world::Roots;

/// The Secrets of a Gateway, each kept or with new content.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) authority: Option<Stored<Arc<Roots>>>,
    pub(super) server: Option<Stored<ServerSecret>>,
    /// By the Secret's name.
    pub(super) bundles: Vec<(String, Stored<BundleSecret>)>,
}

/// What the pods mount.
#[derive(Debug)]
pub(super) struct ServerSecret {
    pub(super) server: Leaf,
    pub(super) control: Leaf,
    pub(super) ca: String,
    pub(super) control_ca: String,
}

impl Secrets {
    /// The first of them that is to be written, beside the authority's own.
    pub(super) fn unsettled(&self, gateway: &str) -> Option<String> {
        let server = self.server.as_ref().filter(|stored| !matches!(stored, Stored::Kept));
        let mut bundles = self.bundles.iter().filter(|(_, stored)| !matches!(stored, Stored::Kept));
        let server = server.map(|_| names::server_secret(gateway));
        server.or_else(|| bundles.next().map(|(name, _)| name.clone()))
    }

    /// The Secrets as they should be.
    pub(super) fn wanted(&self, maker: &Maker<'_>) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        if let Some(stored) = &self.authority {
            let data = match stored {
                Stored::New(roots) => roots.data()?,
                Stored::Kept | Stored::Amended(_) => Vec::new(),
            };
            let secret = names::authority_secret(maker.name());
            wanted.push(stored.wanted(maker, secret, "portcullis.dev/authority", |_| {
                data.iter().map(|(key, text)| (key.clone(), text.as_str())).collect()
            })?);
        }
        if let Some(stored) = &self.server {
            wanted.push(stored.wanted(maker, names::server_secret(maker.name()), TLS, |secret| {
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
            wanted.push(stored.bundle(maker, name.clone())?);
        }
        Ok(wanted)
    }
}
