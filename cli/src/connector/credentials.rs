//! What a connector shows a gateway, and whom it believes. Read anew for each connection, since bundles and tokens are
//! renewed on disk.

use std::path::{Path, PathBuf};

use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::Error;
use crate::line::tls::{builder, public_roots};

/// Where they are.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// A folder with `ca.crt`, `tls.crt` and `tls.key`.
    pub folder: Option<PathBuf>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
}

/// They themselves. No part of them is ever printed.
pub(super) struct Shown {
    pub(super) tls: ClientConfig,
    /// Empty where there is none.
    pub(super) token: String,
}

impl Credentials {
    /// Reads them.
    pub(super) async fn read(&self) -> Result<Shown, Error> {
        let token = match &self.token_file {
            Some(path) => String::from_utf8_lossy(&read(path).await?).trim().to_owned(),
            None => String::new(),
        };
        let builder = builder()?;
        let Some(folder) = &self.folder else {
            return Ok(Shown {
                tls: builder.with_root_certificates(public_roots()).with_no_client_auth(),
                token,
            });
        };
        let ca = folder.join(SERVER_CA);
        let builder = match tokio::fs::try_exists(&ca).await {
            Ok(false) => builder.with_root_certificates(public_roots()),
            _ => builder.with_root_certificates(roots(&ca).await?),
        };
        let (certificate, key) = (folder.join(SERVER_CERTIFICATE), folder.join(SERVER_KEY));
        if self.token_file.is_some() && !tokio::fs::try_exists(&certificate).await.unwrap_or(false) {
            return Ok(Shown { tls: builder.with_no_client_auth(), token });
        }
        let chain = certificates(&certificate).await?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key).await?)
            .map_err(|error| Error::Pem { path: key, reason: error.to_string() })?;
        Ok(Shown { tls: builder.with_client_auth_cert(chain, key)?, token })
    }
}

pub(crate) async fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in certificates(path).await? {
        store.add(root)?;
    }
    Ok(store)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = |reason: String| Error::Pem { path: path.to_owned(), reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path).await?)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(error.to_string()))?;
    if found.is_empty() { Err(pem("there is no certificate in it".to_owned())) } else { Ok(found) }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Read { path: path.to_owned(), source })
}
