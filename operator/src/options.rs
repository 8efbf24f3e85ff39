//! What the operator is told at its start: flags, each with an environment variable.

use std::net::{Ipv6Addr, SocketAddr};

use clap::{Parser, ValueEnum};

use crate::settings::Traces;

/// The Portcullis operator: turns Gateways into secure front doors.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub struct Options {
    /// The gateway's image, where a Gateway names none.
    #[arg(long, env = "PORTCULLIS_GATEWAY_IMAGE")]
    pub gateway_image: String,

    /// The image of connectors in this cluster, where a Tunnel names none. Without it, such a Tunnel must.
    #[arg(long, env = "PORTCULLIS_CONNECTOR_IMAGE")]
    pub connector_image: Option<String>,

    /// The namespace that the operator runs in: its Lease and the control channel's authority live there.
    #[arg(long, env = "PORTCULLIS_NAMESPACE", default_value = "portcullis-system")]
    pub namespace: String,

    /// What this operator goes by in the Lease: its pod's name.
    #[arg(long, env = "POD_NAME")]
    pub identity: String,

    /// Where gateways find the operator, as HOST:PORT. Without it: portcullis-operator.NAMESPACE.svc:9443.
    #[arg(long, env = "PORTCULLIS_CONTROL_ENDPOINT")]
    pub control_endpoint: Option<String>,

    /// Where this very operator's control channel can be dialled, as HOST:PORT or ADDRESS:PORT: its pod's address. Without it, gateways
    /// that reach another operator wait until they reach the one that leads.
    #[arg(long, env = "PORTCULLIS_CONTROL_ADDRESS")]
    pub control_address: Option<String>,

    /// Where the control channel listens.
    #[arg(long, env = "PORTCULLIS_CONTROL_LISTEN", default_value = "[::]:9443")]
    pub control_listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served, in plain HTTP.
    #[arg(long, env = "PORTCULLIS_HTTP_LISTEN", default_value = "[::]:8080")]
    pub http_listen: SocketAddr,

    /// Namespaces to watch, separated by commas. Without it: all.
    #[arg(long, env = "PORTCULLIS_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Trust domain of every identity: a-z, 0-9, '-' and '.'.
    #[arg(long, env = "PORTCULLIS_TRUST_DOMAIN", default_value = "cluster.local", value_parser = trust_domain)]
    pub trust_domain: String,

    /// The cluster's DNS domain.
    #[arg(long, env = "PORTCULLIS_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// How many Gateways are visited at a time.
    #[arg(long, env = "PORTCULLIS_WORKERS", default_value_t = 16)]
    pub workers: usize,

    /// Where this operator, Gateways and connectors in this cluster send traces by OTLP, such as http://collector.monitoring:4317.
    /// Without it, nothing is traced.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub trace_endpoint: Option<String>,

    /// Which of the traces that begin here are kept, 0 to 1. Without it: all.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG")]
    pub trace_ratio: Option<String>,

    /// What is logged: a level, or directives such as info,portcullis_operator=debug.
    #[arg(long, env = "PORTCULLIS_LOG", default_value = "info")]
    pub log: String,

    /// How it is logged.
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

fn trust_domain(text: &str) -> Result<String, String> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("write a name of a-z, 0-9, '-' and '.', such as cluster.local".to_owned());
    }
    Ok(text.to_owned())
}

/// An IPv6 address before a port stands in brackets; the downward API writes it without.
fn bracketed(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

impl Options {
    /// Where this very operator's control channel can be dialled, as HOST:PORT.
    pub fn control_address(&self) -> String {
        self.control_address.as_deref().map_or_else(|| self.control_endpoint(), bracketed)
    }

    /// Where pods send traces to.
    pub fn traces(&self) -> Option<Traces> {
        let endpoint = self.trace_endpoint.clone().filter(|it| !it.is_empty())?;
        Some(Traces { endpoint, ratio: self.trace_ratio.clone().filter(|it| !it.is_empty()) })
    }

    /// Where gateways find the operator, as HOST:PORT.
    pub fn control_endpoint(&self) -> String {
        self.control_endpoint
            .clone()
            .unwrap_or_else(|| format!("portcullis-operator.{}.svc:9443", self.namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_written_so_that_it_can_be_dialled() {
        assert_eq!(bracketed("2001:db8::7:9443"), "[2001:db8::7]:9443");
        assert_eq!(bracketed("10.244.0.7:9443"), "10.244.0.7:9443");
        assert_eq!(bracketed("operator.example.com:9443"), "operator.example.com:9443");
    }

    #[test]
    fn a_trust_domain_that_no_identity_could_be_read_with_is_refused() {
        assert_eq!(trust_domain("cluster.local").as_deref(), Ok("cluster.local"));
        for wrong in ["", "Cluster.local", "a/b", "spiffe://a"] {
            assert!(trust_domain(wrong).is_err(), "{wrong}");
        }
    }
}
