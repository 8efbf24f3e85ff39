//! Mutual TLS between replicas: the one that dials shows its control certificate, which names the gateway's replicas; the
//! one that answers shows the server certificate. Both are read anew, since they are renewed on disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use portcullis_contract::files::{
    CONTROL_CA, CONTROL_CERTIFICATE, CONTROL_KEY, SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// For the one that dials.
pub(super) async fn client(folder: &Path) -> io::Result<ClientConfig> {
    let roots = roots(folder, SERVER_CA).await?;
    let (chain, key) = pair(folder, CONTROL_CERTIFICATE, CONTROL_KEY).await?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// For the one that answers. That the other end is a replica of this very gateway is looked at after the handshake.
pub(super) async fn server(folder: &Path) -> io::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(folder, CONTROL_CA).await?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let (chain, key) = pair(folder, SERVER_CERTIFICATE, SERVER_KEY).await?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn roots(folder: &Path, file: &str) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in certificates(folder, file).await? {
        store.add(root).map_err(io::Error::other)?;
    }
    Ok(store)
}

async fn pair(
    folder: &Path,
    certificate: &str,
    key: &str,
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(folder, certificate).await?;
    let key = PrivateKeyDer::from_pem_slice(&tokio::fs::read(folder.join(key)).await?);
    Ok((chain, key.map_err(io::Error::other)?))
}

async fn certificates(folder: &Path, file: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = tokio::fs::read(folder.join(file)).await?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(io::Error::other)
}
