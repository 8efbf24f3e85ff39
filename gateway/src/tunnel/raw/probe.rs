//! The probe of a tunnel whose visitors speak no HTTP: it begins as one of theirs would, with a handshake for the public
//! name or on the tunnel's port, and shows its pass in it. The replica that it comes to answers whether the endpoint
//! accepts connections; no byte of it reaches the endpoint.

use std::sync::Arc;

use portcullis_contract::snapshot::TunnelProtocol;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::asked::{MARKER, read_answer};
use crate::shared::Shared;
use crate::tunnel::names::Tunnel;
use crate::tunnel::probe::{Broken, broken, known_hop, no_key, public_name};

/// The longest answer that is read: an endpoint may greet its visitors before it.
const LONGEST: u64 = 64 * 1024;

/// Asks the replica at the other end.
pub(in crate::tunnel) async fn probe(
    mut stream: TcpStream,
    shared: &Shared,
    tunnel: &Tunnel,
    service: &str,
) -> Result<(), Broken> {
    let pass = shared.passes.pass(&tunnel.uid, shared.clock.now()).ok_or_else(no_key)?;
    let shown = format!("{MARKER}{pass}");
    let beginning = match tunnel.protocol {
        TunnelProtocol::Tls => hello(&public_name(tunnel)?, &shown)?,
        TunnelProtocol::Http | TunnelProtocol::Tcp => format!("{shown}\n").into_bytes(),
    };
    let mut said = Vec::new();
    // What came before it broke off may hold the answer.
    let _ = async {
        stream.write_all(&beginning).await?;
        stream.take(LONGEST).read_to_end(&mut said).await
    }
    .await;
    match read_answer(&said, &pass, &shared.passes) {
        Some("passed") => Ok(()),
        Some(failed) => {
            let (hop, message) = failed.split_once(' ').unwrap_or((failed, ""));
            Err(broken(known_hop(hop).unwrap_or("gateway"), message))
        }
        None => Err(broken(
            "gateway",
            format!(
                "no replica answers at {service}, or one that does not serve this yet: look at the Service's selector, and at the log of the replicas for a port that cannot be listened on"
            ),
        )),
    }
}

/// The first message of a handshake for this name, which names one protocol.
fn hello(name: &str, protocol: &str) -> Result<Vec<u8>, Broken> {
    let failed = |error: &dyn std::fmt::Display| broken("tls", format!("{name}: {error}"));
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
    let mut tls = ClientConnection::new(Arc::new(config), server).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).map_err(|error| failed(&error))?;
    Ok(bytes)
}
