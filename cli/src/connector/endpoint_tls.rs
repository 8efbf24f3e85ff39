//! How TLS to https endpoints is checked: against roots that the command line names, whatever the gateway says; otherwise as
//! the Tunnel says; otherwise as that of any public server.

use std::path::Path;
use std::sync::Arc;

use portcullis_contract::tunnel;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::credentials::roots;
use super::settings::Error;
use crate::line::tls::{AnyCertificate, builder, public_roots};

/// How TLS to https endpoints is checked.
#[derive(Clone, Debug)]
pub struct EndpointTls {
    /// Those that the command line names.
    own: Option<RootCertStore>,
}

impl EndpointTls {
    /// Against these roots alone, where there are some.
    pub fn new(own: Option<RootCertStore>) -> Self {
        Self { own }
    }

    /// Reads them.
    pub(super) async fn read(ca: Option<&Path>) -> Result<Self, Error> {
        let own = match ca {
            Some(path) => Some(roots(path).await?),
            None => None,
        };
        Ok(Self { own })
    }

    /// What a Tunnel's endpoint is dialled with.
    pub(super) fn config(&self, told: Option<&tunnel::EndpointTls>) -> Result<Arc<ClientConfig>, String> {
        let failed = |error: rustls::Error| error.to_string();
        let builder = builder().map_err(failed)?;
        let mut config = match (&self.own, told) {
            (Some(own), _) => builder.with_root_certificates(own.clone()).with_no_client_auth(),
            (None, Some(told)) if told.insecure_skip_verify => {
                let any = AnyCertificate(Arc::clone(builder.crypto_provider()));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(any)).with_no_client_auth()
            }
            (None, Some(told)) if !told.ca_pem.is_empty() => {
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_slice_iter(told.ca_pem.as_bytes()) {
                    roots.add(root.map_err(|error| error.to_string())?).map_err(failed)?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            (None, _) => builder.with_root_certificates(public_roots()).with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
