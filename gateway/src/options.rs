//! What the binary is told on its command line; the operator renders these as the container's arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use http::Uri;
use portcullis_contract::files;

use crate::limits::Limits;
use crate::logging::LogFormat;
use portcullis_protocol::clock::Clock;

/// Data plane of a Portcullis gateway: gRPC, HTTP and WebSocket on one port, guarded by mutual TLS.
#[derive(Clone, Debug, Parser)]
#[command(name = "portcullis-gateway", version)]
pub struct Options {
    /// Bootstrap snapshot, JSON.
    #[arg(long, env = "PORTCULLIS_SNAPSHOT", value_name = "PATH", default_value_os_t = default_snapshot())]
    pub snapshot: PathBuf,

    /// Folder with the server's and the control channel's certificates and keys.
    #[arg(long, env = "PORTCULLIS_TLS_DIR", value_name = "DIR", default_value = files::TLS_DIR)]
    pub tls_dir: PathBuf,

    /// Address of the port that callers use.
    #[arg(long, env = "PORTCULLIS_LISTEN", value_name = "ADDRESS", default_value_t = any(files::PORT))]
    pub listen: SocketAddr,

    /// Address that other replicas dial.
    #[arg(long, env = "PORTCULLIS_PEER_LISTEN", value_name = "ADDRESS", default_value_t = any(files::PEER_PORT))]
    pub peer_listen: SocketAddr,

    /// Address of `/healthz` and `/readyz`, plain HTTP.
    #[arg(long, env = "PORTCULLIS_HEALTH_LISTEN", value_name = "ADDRESS", default_value_t = any(files::HEALTH_PORT))]
    pub health_listen: SocketAddr,

    /// Address of `/metrics`, plain HTTP.
    #[arg(long, env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDRESS", default_value_t = any(files::METRICS_PORT))]
    pub metrics_listen: SocketAddr,

    /// The operator's control channel, such as `https://portcullis-control.portcullis.svc:8444`. Without it, the
    /// snapshot file alone is served, and read again when it changes.
    #[arg(long, env = "PORTCULLIS_CONTROL_ENDPOINT", value_name = "URL", value_parser = control_endpoint)]
    pub control_endpoint: Option<Uri>,

    /// The pod that this replica runs in.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "")]
    pub pod_name: String,

    /// How long requests in flight may take to finish after SIGTERM, such as `25s` or `2m`.
    #[arg(long, env = "PORTCULLIS_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "25s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// How log lines look.
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Limits of the data plane.
    #[arg(skip)]
    pub limits: Limits,

    /// Where the time comes from.
    #[arg(skip)]
    pub clock: Clock,
}

fn default_snapshot() -> PathBuf {
    PathBuf::from(files::CONFIG_DIR).join(files::SNAPSHOT)
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))
}

fn control_endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() || uri.port_u16().is_none() {
        return Err("write https://HOST:PORT".to_owned());
    }
    Ok(uri)
}

/// `90`, `90s`, `2m`, `1h` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write a number and a unit, such as 25s".to_owned())?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
    .ok_or_else(|| "write a number and one of the units ms, s, m, h, such as 25s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        assert_eq!(duration("25"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "s", "5 s", "5d", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_control_endpoint_is_an_https_address_with_a_port() {
        assert!(control_endpoint("https://control.portcullis.svc:8444").is_ok());
        for bad in ["http://control:8444", "https://control", "control:8444", ""] {
            assert!(control_endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_arguments_the_contract_s_files_and_ports_are_used() {
        let options = Options::parse_from(["portcullis-gateway"]);
        assert_eq!(options.snapshot, PathBuf::from("/etc/portcullis/config/snapshot.json"));
        assert_eq!(options.listen.to_string(), "[::]:8443");
        assert_eq!(options.drain_timeout, Duration::from_secs(25));
    }
}
