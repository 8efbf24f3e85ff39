//! A snapshot, read and checked: what the replica serves. After this nobody checks again.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_contract::snapshot::{self, Backend, Client, GatewayName, Snapshot, Target};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::level_filters::LevelFilter;

use crate::backend::{Dialer, Upstream};
use crate::logging;
use crate::route::Routes;

/// An immutable configuration. Requests hold the one that they began with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Digest of the document.
    pub(crate) version: String,
    pub(crate) gateway: GatewayName,
    pub(crate) trust_domain: String,
    pub(crate) log_level: LevelFilter,
    /// Authorities that sign clients.
    pub(crate) trust: Vec<CertificateDer<'static>>,
    /// Fingerprint of the certificate that should be served.
    pub(crate) server_fingerprint: String,
    /// By the last segment of their identity.
    pub(crate) clients: HashMap<String, Client>,
    routes: Routes,
    upstreams: Vec<Arc<Upstream>>,
}

impl Config {
    /// Reads and checks a document. Backends that stay as they were keep their connections.
    ///
    /// The error is a sentence for whoever reads `kubectl describe`.
    pub(crate) fn read(
        version: String,
        json: &[u8],
        previous: Option<&Self>,
        dialer: &Dialer,
    ) -> Result<Self, String> {
        let digest = snapshot::version(json);
        if version != digest {
            return Err(format!(
                "the snapshot says that it is version {version}, but its digest is {digest}"
            ));
        }
        let snapshot =
            Snapshot::from_json(json).map_err(|error| format!("the snapshot cannot be read: {error}"))?;
        let log_level = logging::level(&snapshot.log_level)
            .ok_or_else(|| format!("`{}` is no log level", snapshot.log_level))?;
        for backend in &snapshot.backends {
            check(backend)?;
        }
        let routes = Routes::new(snapshot.backends.iter().map(|backend| &backend.matches))?;
        let upstreams = snapshot
            .backends
            .iter()
            .map(|backend| Arc::new(Upstream::new(backend, previous.map_or(&[], |it| &it.upstreams), dialer)))
            .collect();
        Ok(Self {
            version,
            trust: trust(&snapshot.trust)?,
            clients: clients(snapshot.clients)?,
            gateway: snapshot.gateway,
            trust_domain: snapshot.trust_domain,
            log_level,
            server_fingerprint: snapshot.server_fingerprint,
            routes,
            upstreams,
        })
    }

    /// The backend that gets this path.
    pub(crate) fn upstream(&self, path: &str) -> Option<&Arc<Upstream>> {
        self.routes.find(path).and_then(|index| self.upstreams.get(index))
    }
}

fn check(backend: &Backend) -> Result<(), String> {
    let name = &backend.name;
    if backend.connect_timeout_ms == 0 {
        return Err(format!("backend {name}: a connection cannot open in no time; set a connect timeout"));
    }
    match &backend.target {
        Target::Address { host, port: 1.. } if !host.is_empty() && !host.contains(char::is_whitespace) => {
            Ok(())
        }
        Target::Address { host, port } => Err(format!("backend {name}: `{host}:{port}` cannot be dialled")),
        Target::Unresolved { .. } => Ok(()),
    }
}

fn clients(listed: Vec<Client>) -> Result<HashMap<String, Client>, String> {
    let mut clients = HashMap::with_capacity(listed.len());
    for client in listed {
        if let Some(other) = clients.insert(client.name.clone(), client) {
            return Err(format!("two clients are named {}", other.name));
        }
    }
    Ok(clients)
}

fn trust(pems: &[String]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = Vec::with_capacity(pems.len());
    for (index, pem) in pems.iter().enumerate() {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots
                .push(certificate.map_err(|error| format!("trust[{index}] is no PEM certificate: {error}"))?);
        }
    }
    if roots.is_empty() {
        return Err("the snapshot trusts no authority, so that no client could come in".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use portcullis_contract::snapshot::{Match, Protocol};

    fn client(name: &str) -> Client {
        Client {
            name: name.to_owned(),
            user: format!("{name}@shop"),
            roles: vec!["user".to_owned(), "deployer".to_owned()],
        }
    }

    /// Gateway `shop/door` with the client `ci`.
    pub(crate) fn config() -> Config {
        Config {
            version: "0".repeat(16),
            gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
            trust_domain: "cluster.local".to_owned(),
            log_level: LevelFilter::INFO,
            trust: Vec::new(),
            server_fingerprint: String::new(),
            clients: [("ci".to_owned(), client("ci"))].into(),
            routes: Routes::default(),
            upstreams: Vec::new(),
        }
    }

    fn backend() -> Backend {
        Backend {
            name: "api".to_owned(),
            matches: Match::PathPrefix("/".to_owned()),
            target: Target::Address { host: "api".to_owned(), port: 80 },
            protocol: Protocol::Http1,
            connect_timeout_ms: 1_000,
            request_timeout_ms: 0,
            forward_client_certificate: false,
        }
    }

    #[test]
    fn a_backend_that_cannot_be_dialled_is_refused() {
        assert_eq!(check(&backend()), Ok(()));
        let target = Target::Address { host: "api".to_owned(), port: 0 };
        assert!(check(&Backend { target, ..backend() }).is_err());
        let target = Target::Address { host: String::new(), port: 80 };
        assert!(check(&Backend { target, ..backend() }).is_err());
        assert!(check(&Backend { connect_timeout_ms: 0, ..backend() }).is_err());
    }

    #[test]
    fn two_clients_of_one_name_are_refused() {
        assert!(clients(vec![client("ci"), client("dev")]).is_ok());
        assert!(clients(vec![client("ci"), client("ci")]).unwrap_err().contains("ci"));
    }

    #[test]
    fn trust_must_be_certificates_and_at_least_one() {
        assert!(trust(&[]).is_err());
        assert!(trust(&["nothing".to_owned()]).is_err());
        assert!(trust(&["-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n".to_owned()]).is_err());
    }
}
