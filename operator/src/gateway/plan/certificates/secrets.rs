//! The Secrets that keys and certificates lie in.

use std::sync::Arc;

use portcullis_contract::files;
use portcullis_pki::{Authority, Leaf};

use crate::children::issuer::BundleSecret;
use crate::children::secret::{Stored, TLS};
use crate::children::{Error, Maker, Wanted};
use crate::names;
use crate::world::child::authority_keys;

/// The Secrets of a Gateway, each kept or with new content.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) authority: Option<Stored<Arc<Authority>>>,
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
    /// The Secrets as they should be.
    pub(super) fn wanted(&self, maker: &Maker<'_>) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        if let Some(stored) = &self.authority {
            wanted.push(stored.wanted(
                maker,
                names::authority_secret(maker.name()),
                "portcullis.dev/authority",
                |authority| {
                    let [certificate, key] = authority_keys(authority.generation);
                    vec![(certificate, authority.certificate_pem.as_str()), (key, authority.key.expose())]
                },
            )?);
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
