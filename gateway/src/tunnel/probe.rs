//! Proof that a tunnel answers: a request of our own through the public name, as a visitor would make it: the Service's
//! address, TLS for that name, the connector, the endpoint. Its answer says which hop broke. Where visitors speak no HTTP,
//! [`raw::probe`] goes the same way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_contract::control::Probe;
use portcullis_contract::files::SERVER_CA;
use portcullis_contract::snapshot::{Mode, TunnelProtocol};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::names::{Tunnel, Tunnels};
use super::pass::{DETAIL, HOP, PASSED, PROBE};
use super::raw;
use super::session::micros;
use crate::config::Config;
use crate::shared::Shared;

/// How long a probe may take: longer than the connect timeout that a Tunnel has by itself.
const TIME: Duration = Duration::from_secs(10);

/// A hop that broke, and what to do.
pub(super) struct Broken {
    hop: &'static str,
    message: String,
}

pub(super) fn broken(hop: &'static str, message: impl Into<String>) -> Broken {
    Broken { hop, message: message.into() }
}

/// Makes one probe.
pub(super) async fn probe(
    shared: &Arc<Shared>,
    config: &Config,
    tunnels: &Tunnels,
    tunnel: &Tunnel,
) -> Probe {
    let (at_ms, began) = (shared.clock.now_ms(), Instant::now());
    let made = tokio::time::timeout(TIME, attempt(shared, config, tunnels, tunnel)).await;
    let found = made
        .unwrap_or_else(|_| Err(broken("endpoint", "no answer within 10 s: look at the endpoint's own log")));
    let (hop, message) = match found {
        Ok(()) => (String::new(), String::new()),
        Err(broken) => (broken.hop.to_owned(), broken.message),
    };
    Probe { at_ms, passed: hop.is_empty(), hop, message, latency_us: micros(began.elapsed()) }
}

async fn attempt(
    shared: &Arc<Shared>,
    config: &Config,
    tunnels: &Tunnels,
    tunnel: &Tunnel,
) -> Result<(), Broken> {
    let service = service(tunnels, tunnel);
    let stream = connect(&service).await?;
    if tunnel.protocol != TunnelProtocol::Http {
        return raw::probe(stream, shared, tunnel, &service).await;
    }
    let name = public_name(tunnel)?;
    let request = request(shared, tunnel, &name)?;
    let response = if config.mode == Mode::Plaintext {
        ask(stream, request).await?
    } else {
        ask(agree(stream, &name, shared, tunnels).await?, request).await?
    };
    judge(&response)
}

/// Host and port that visitors of a tunnel come to.
fn service(tunnels: &Tunnels, tunnel: &Tunnel) -> String {
    match (tunnel.port, tunnels.service.rsplit_once(':')) {
        (Some(port), Some((host, _))) => format!("{host}:{port}"),
        _ => tunnels.service.clone(),
    }
}

async fn connect(service: &str) -> Result<TcpStream, Broken> {
    let found = tokio::net::lookup_host(service).await.map_err(|error| {
        broken(
            "dns",
            format!("the gateway's Service {service} does not resolve ({error}): look at the cluster's DNS"),
        )
    })?;
    let addresses: Vec<_> = found.collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
        broken("gateway", format!("the gateway's Service {service} takes no connection ({error}): look at its endpoints and at network policies"))
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A name that a visitor would ask for.
pub(super) fn public_name(tunnel: &Tunnel) -> Result<String, Broken> {
    let first = tunnel.hostnames.first();
    let name = first.ok_or_else(|| broken("gateway", "the tunnel has no public name"))?;
    Ok(name.strip_prefix("*.").map_or_else(|| name.clone(), |parent| format!("portcullis-probe.{parent}")))
}

/// There is nothing to seal a pass with.
pub(super) fn no_key() -> Broken {
    broken("gateway", "the replica has no server certificate yet")
}

fn request(shared: &Shared, tunnel: &Tunnel, name: &str) -> Result<Request<Empty<bytes::Bytes>>, Broken> {
    let pass = shared.passes.issue(&tunnel.uid, shared.clock.now());
    let pass = pass.ok_or_else(no_key)?;
    let host = HeaderValue::from_str(name).map_err(|_| broken("gateway", "the public name is none"))?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::HEAD;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, portcullis_protocol::carried::PROBER);
    headers.insert(PROBE, pass);
    Ok(request)
}

async fn agree(
    stream: TcpStream,
    name: &str,
    shared: &Shared,
    tunnels: &Tunnels,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Broken> {
    let failed =
        |error: &dyn std::fmt::Display| broken("tls", format!("{name}: {error}. {}", advice(tunnels)));
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let folder = tunnels.certificate_dir.as_ref().map_or_else(|| shared.tls_dir.clone(), PathBuf::from);
    // A certificate of a public authority comes without roots.
    if let Ok(pem) = tokio::fs::read(folder.join(SERVER_CA)).await {
        for root in CertificateDer::pem_slice_iter(&pem).flatten() {
            roots.add(root).map_err(|error| failed(&error))?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
    TlsConnector::from(Arc::new(config)).connect(server, stream).await.map_err(|error| failed(&error))
}

fn advice(tunnels: &Tunnels) -> &'static str {
    match tunnels.certificate_dir {
        Some(_) => {
            "Look at the Secret that the Gateway's spec.tunnels.certificateRef names: tls.crt must cover the name, and ca.crt hold its root where that is no public one"
        }
        None => {
            "Look at the Gateway's condition CertificatesReady: its server certificate must cover the name"
        }
    }
}

async fn ask<S>(stream: S, request: Request<Empty<bytes::Bytes>>) -> Result<Response<Incoming>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| {
        broken(
            "gateway",
            format!("the gateway broke off ({error}): look at the log of the replica that answered"),
        )
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let asked = async {
        tokio::select! {
            biased;
            response = sender.send_request(request) => response,
            // It ends after the response, or with its error.
            Err(error) = connection => Err(error),
        }
    };
    asked.await.map_err(failed)
}

fn judge(response: &Response<Incoming>) -> Result<(), Broken> {
    let headers = response.headers();
    if headers.get(PROBE) == Some(&PASSED) {
        return Ok(());
    }
    let hop = headers.get(HOP).and_then(|hop| hop.to_str().ok());
    let known = hop.and_then(known_hop);
    let said = headers.get(DETAIL).and_then(|detail| detail.to_str().ok()).unwrap_or_default();
    Err(match known {
        Some(hop) => broken(hop, said),
        None => broken(
            "gateway",
            format!(
                "something else than the gateway answers there, with status {}: look at the Service's selector",
                response.status()
            ),
        ),
    })
}

/// A hop that a replica would name.
pub(super) fn known_hop(name: &str) -> Option<&'static str> {
    ["gateway", "peer", "connector", "endpoint"].into_iter().find(|known| *known == name)
}
