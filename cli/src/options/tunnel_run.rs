//! Arguments of `tunnel run`: the connector's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use portcullis_contract::endpoint::Endpoint;

/// Connect a service to a Tunnel that exists.
#[derive(Clone, Debug, Args)]
pub struct TunnelRun {
    /// The Tunnel, as NAMESPACE/NAME.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = tunnel)]
    pub tunnel: (String, String),

    /// The name in the gateway's certificate, where it is not the URL's host.
    #[arg(long, env = "PORTCULLIS_SERVER_NAME", value_name = "NAME")]
    pub server_name: Option<String>,

    /// A folder with a bundle of the gateway: ca.crt, and tls.crt with tls.key unless a token says who this is.
    #[arg(long, env = "PORTCULLIS_CREDENTIALS", value_name = "FOLDER")]
    pub credentials: Option<PathBuf>,

    /// A file with a bearer token, read anew for each connection.
    #[arg(long, env = "PORTCULLIS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// What may be forwarded to, such as http://localhost:8080; h2c:// for gRPC without TLS, https:// with TLS, tcp:// for
    /// Tunnels of protocol TLS or TCP. The Tunnel's spec.endpoint must be among them.
    #[arg(
        long = "endpoint",
        env = "PORTCULLIS_ENDPOINT",
        value_name = "URL",
        required = true,
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

    /// How long requests in flight may take to finish when it is stopped, in seconds.
    #[arg(long, env = "PORTCULLIS_DRAIN_SECONDS", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub drain: Duration,

    /// How log lines look, on standard error.
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// An object each.
    Json,
    /// For people.
    Text,
}

fn tunnel(text: &str) -> Result<(String, String), String> {
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
