//! Arguments of `connector`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use portcullis_contract::endpoint::Endpoint;
use serde::Deserialize;

/// What is connected, and how. What a flag says goes before what the environment says, and that before the file.
#[derive(Clone, Debug, Args)]
pub struct Connector {
    /// The Tunnel, as NAMESPACE/NAME. Without it, those of the file.
    #[arg(value_name = "NAMESPACE/NAME", env = "PORTCULLIS_TUNNEL", value_parser = tunnel)]
    pub tunnel: Option<(String, String)>,

    /// A YAML file with all of this, and several Tunnels.
    #[arg(long, env = "PORTCULLIS_CONNECTOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The name in the gateway's certificate, where it is not the URL's host.
    #[arg(long, env = "PORTCULLIS_SERVER_NAME", value_name = "NAME")]
    pub server_name: Option<String>,

    /// A folder with a bundle of the gateway: ca.crt, and tls.crt with tls.key unless a token says who this is. The certificate
    /// is renewed there where the gateway lets it and the files may be written.
    #[arg(long, env = "PORTCULLIS_CREDENTIALS", value_name = "FOLDER")]
    pub credentials: Option<PathBuf>,

    /// A file with a bearer token.
    #[arg(long, env = "PORTCULLIS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// What may be forwarded to, such as http://localhost:8080; h2c:// for gRPC without TLS, https:// with TLS, tcp:// for
    /// Tunnels of protocol TLS or TCP. The Tunnel's spec.endpoint must be among them.
    #[arg(
        long = "endpoint",
        env = "PORTCULLIS_ENDPOINT",
        value_name = "URL",
        requires = "tunnel",
        value_delimiter = ','
    )]
    pub endpoints: Vec<Endpoint>,

    /// Roots that an https endpoint is checked against, PEM, whatever the Tunnel's spec.upstream.tls says. Without it, as
    /// that says, or else the public ones.
    #[arg(long, env = "PORTCULLIS_ENDPOINT_CA", value_name = "FILE")]
    pub endpoint_ca: Option<PathBuf>,

    /// Reach the gateway through a WebSocket: where only HTTP passes.
    #[arg(long, env = "PORTCULLIS_WEBSOCKET")]
    pub websocket: bool,

    /// Address of /readyz and /healthz, plain HTTP. Without it, they are not served.
    #[arg(long, env = "PORTCULLIS_HEALTH_LISTEN", value_name = "ADDRESS")]
    pub health_listen: Option<SocketAddr>,

    /// Address of /metrics, plain HTTP. Without it, nothing is counted.
    #[arg(long, env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,

    /// How long requests in flight may take to finish when it is stopped, in seconds; 20 where nothing says so.
    #[arg(long, env = "PORTCULLIS_DRAIN_SECONDS", value_name = "SECONDS", value_parser = seconds)]
    pub drain: Option<Duration>,

    /// How log lines look, on standard error; text where nothing says so.
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// An object each.
    Json,
    /// For people.
    Text,
}

/// A namespace and a name.
pub(super) fn tunnel(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write NAMESPACE/NAME, such as shop/web".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "write a number of seconds, such as 20".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_has_a_namespace_and_a_name() {
        assert_eq!(tunnel("shop/web"), Ok(("shop".to_owned(), "web".to_owned())));
        for bad in ["web", "/web", "shop/", "a/b/c", ""] {
            assert!(tunnel(bad).is_err(), "{bad}");
        }
    }
}
