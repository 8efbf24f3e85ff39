//! Asks an issuer for its keys over HTTPS: its discovery document first, unless the configuration says where they are.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use portcullis_contract::snapshot::Issuer;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use crate::auth::Keys;

/// No document is longer.
const LONGEST: usize = 512 * 1024;

/// What is read of a discovery document (OpenID Connect Discovery, 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer; or what went wrong and what to do, in words for `kubectl describe`.
pub(super) async fn keys(issuer: &Issuer) -> Result<Keys, String> {
    let tls = tls(issuer.ca_file.as_deref()).await?;
    let address = match &issuer.jwks_uri {
        Some(address) => address.clone(),
        None => discover(issuer, &tls).await?,
    };
    let json = get(&tls, &address).await?;
    Keys::read(&json).map_err(|why| format!("{address}: {why}"))
}

async fn discover(issuer: &Issuer, tls: &Arc<ClientConfig>) -> Result<String, String> {
    let address = format!("{}/.well-known/openid-configuration", issuer.issuer.trim_end_matches('/'));
    let json = get(tls, &address).await?;
    let document: Discovery = serde_json::from_slice(&json).map_err(|_| {
        format!(
            "{address} is no discovery document: it needs issuer and jwks_uri. Is the issuer's URL right?"
        )
    })?;
    if document.issuer != issuer.issuer {
        return Err(format!(
            "{address} says that its issuer is {:?}, and the Gateway says {:?}: write the former, to the letter",
            document.issuer, issuer.issuer
        ));
    }
    Ok(document.jwks_uri)
}

async fn tls(ca_file: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca_file {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => private_roots(path).await?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn private_roots(path: &str) -> Result<RootCertStore, String> {
    let pem = tokio::fs::read(path).await.map_err(|_| {
        "caBundleRef leads to nothing: there is no such ConfigMap, or it has no such key".to_owned()
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|error| format!("caBundleRef leads to no PEM certificates: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("caBundleRef has a certificate that is no root: {error}"))?;
    }
    if roots.is_empty() {
        return Err("caBundleRef leads to a text without any PEM certificate".to_owned());
    }
    Ok(roots)
}

/// One document, over HTTPS, or without TLS from this very machine. Redirects are not followed.
async fn get(tls: &Arc<ClientConfig>, address: &str) -> Result<Bytes, String> {
    let uri: Uri = address.parse().map_err(|_| format!("{address:?} is no URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) | (Some("http"), Some("127.0.0.1" | "[::1]" | "localhost")) => {}
        _ => return Err(format!("{address} is not fetched: keys come over https alone")),
    }
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(ClientConfig::clone(tls))
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response =
        client.get(uri).await.map_err(|error| format!("failed to reach {address}: {}", words(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(format!("{address} answers {}. Is the issuer's URL right?", response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    Ok(body.map_err(|error| format!("failed to read {address}: {error}"))?.to_bytes())
}

/// The cause of a failed connection, with what to do where that is known.
fn words(error: &(dyn Error + 'static)) -> String {
    if let Some(rustls::Error::InvalidCertificate(problem)) = tls_error(error) {
        return format!(
            "its TLS certificate does not hold ({problem}). Where its authority is a private one, name its roots in caBundleRef"
        );
    }
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// What TLS had against it. An I/O error that wraps one is not the source of itself.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => tls_error(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn a_certificate_that_does_not_hold_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::other(tls));
        let said = words(&wrapped);
        assert!(said.contains("does not hold") && said.contains("caBundleRef"), "{said}");
        assert_eq!(words(&std::io::Error::other("no route")), "no route");
    }
}
