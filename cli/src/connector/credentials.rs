//! What a connector shows a gateway, and whom it believes. Asked for anew at each connection, since bundles and tokens are
//! renewed.

use std::path::{Path, PathBuf};

use http::{HeaderValue, header};
use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::Error;
use crate::channel::{Access, said};
use crate::gateways::Resolved;
use crate::line::Said;
use crate::line::tls::{builder, public_roots};
use crate::renewal::Life;

/// Where they are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// In files: of a mounted Secret, or wherever somebody has put them.
    Files {
        /// A folder with `ca.crt`, `tls.crt` and `tls.key`.
        folder: Option<PathBuf>,
        /// A file with a bearer token.
        token_file: Option<PathBuf>,
    },
    /// In the configuration directory, as for any other call to that gateway.
    Stored(Box<(Resolved, Access)>),
}

/// They themselves. No part of them is ever printed.
pub(super) struct Shown {
    pub(super) tls: ClientConfig,
    /// Empty where there is none.
    pub(super) token: String,
    /// What the request says that opens a WebSocket.
    pub(super) said: Said,
    /// From when to when the client certificate holds.
    pub(super) life: Option<Life>,
}

impl Credentials {
    /// Reads them.
    pub(super) async fn read(&self) -> Result<Shown, Error> {
        match self {
            Self::Files { folder, token_file } => read_files(folder.as_deref(), token_file.as_deref()).await,
            Self::Stored(of) => {
                let (gateway, access) = &**of;
                let stored = |failure: crate::failure::Failure| Error::Stored(failure.to_string());
                let token = access.tokens.bearer().await.map_err(stored)?;
                Ok(Shown {
                    tls: access.tls().map_err(stored)?,
                    token: token.map(|token| token.as_str().to_owned()).unwrap_or_default(),
                    said: said(gateway, access).await.map_err(stored)?,
                    life: None,
                })
            }
        }
    }
}

async fn read_files(folder: Option<&Path>, token_file: Option<&Path>) -> Result<Shown, Error> {
    let token = match token_file {
        Some(path) => String::from_utf8_lossy(&read(path).await?).trim().to_owned(),
        None => String::new(),
    };
    let mut said = Said::new();
    if !token.is_empty() {
        let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::Token)?;
        said.push((header::AUTHORIZATION, value));
    }
    let builder = builder()?;
    let Some(folder) = folder else {
        let tls = builder.with_root_certificates(public_roots()).with_no_client_auth();
        return Ok(Shown { tls, token, said, life: None });
    };
    let ca = folder.join(SERVER_CA);
    let builder = match tokio::fs::try_exists(&ca).await {
        Ok(false) => builder.with_root_certificates(public_roots()),
        _ => builder.with_root_certificates(roots(&ca).await?),
    };
    let (certificate, key) = (folder.join(SERVER_CERTIFICATE), folder.join(SERVER_KEY));
    if token_file.is_some() && !tokio::fs::try_exists(&certificate).await.unwrap_or(false) {
        return Ok(Shown { tls: builder.with_no_client_auth(), token, said, life: None });
    }
    let chain = certificates(&certificate).await?;
    let key = PrivateKeyDer::from_pem_slice(&read(&key).await?)
        .map_err(|error| Error::Pem { path: key, reason: error.to_string() })?;
    let life = chain.first().and_then(Life::of_der);
    Ok(Shown { tls: builder.with_client_auth_cert(chain, key)?, token, said, life })
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
