//! One gateway: `shop/door`, with the client `ci`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use portcullis_contract::files;
use portcullis_contract::snapshot::{
    self, Auth, Client, GatewayName, Match, Mode, Protocol, Snapshot, Target,
};
use portcullis_gateway::{Options, Running};
use portcullis_pki::{Authority, Leaf};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::caller::{Http1, Http2};
use super::{eventually, pki};

/// A gateway at work, with all that it was made of.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) server_ca: Authority,
    pub(crate) client_ca: Authority,
    pub(crate) server: Leaf,
    pub(crate) ci: Leaf,
    pub(crate) snapshot: Snapshot,
    pub(crate) directory: TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) stopped: Option<JoinHandle<()>>,
}

/// What a gateway is started with.
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) snapshot: Snapshot,
    pub(crate) directory: TempDir,
    server_ca: Authority,
    client_ca: Authority,
    server: Leaf,
}

/// A backend of the snapshot.
pub(crate) fn backend(
    name: &str,
    matches: Match,
    address: SocketAddr,
    protocol: Protocol,
) -> snapshot::Backend {
    snapshot::Backend {
        name: name.to_owned(),
        matches,
        target: Target::Address { host: address.ip().to_string(), port: address.port() },
        protocol,
        connect_timeout_ms: 5_000,
        request_timeout_ms: 0,
        forward_client_certificate: false,
        auth: Auth::Required,
        requires: Vec::new(),
    }
}

pub(crate) fn prefix(path: &str) -> Match {
    Match::PathPrefix(path.to_owned())
}

pub(crate) fn client(name: &str) -> Client {
    Client {
        name: name.to_owned(),
        user: format!("{name}@shop"),
        roles: vec!["user".to_owned(), "deployer".to_owned()],
        scopes: None,
    }
}

impl Plan {
    pub(crate) fn new(backends: Vec<snapshot::Backend>) -> Self {
        let (server_ca, client_ca) = (pki::authority("server"), pki::authority("clients"));
        let server = pki::server(&server_ca);
        let directory = TempDir::new().unwrap();
        let snapshot = Snapshot {
            gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
            trust_domain: "cluster.local".to_owned(),
            revoked: Vec::new(),
            retired: Vec::new(),
            client_authorities: Vec::new(),
            tls: portcullis_contract::snapshot::TlsPolicy::default(),
            log_level: "debug".to_owned(),
            trust: vec![client_ca.certificate_pem.clone()],
            server_fingerprint: server.facts.fingerprint.clone(),
            clients: vec![client("ci")],
            backends,
            mode: Mode::MutualTls,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            edge: None,
            oidc: None,
            drivers: Vec::new(),
            tunnels: None,
        };
        let path = |name: &str| directory.path().join(name).display().to_string();
        let options = Options::parse_from([
            "portcullis-gateway",
            "--snapshot",
            &path(files::SNAPSHOT),
            "--tls-dir",
            &directory.path().display().to_string(),
            "--listen=127.0.0.1:0",
            "--health-listen=127.0.0.1:0",
            "--metrics-listen=127.0.0.1:0",
            "--peer-listen=127.0.0.1:0",
            "--pod-name=door-0",
        ]);
        Self { options, snapshot, directory, server_ca, client_ca, server }
    }

    /// Another replica of the same gateway, on another loopback address: both find each other behind these two.
    pub(crate) fn sibling(&mut self) -> Self {
        let port = super::port_of(&["127.0.0.1", "127.0.0.2"]);
        let control = pki::authority("control");
        let mut other = Self {
            options: self.options.clone(),
            snapshot: self.snapshot.clone(),
            directory: TempDir::new().unwrap(),
            server_ca: self.server_ca.clone(),
            client_ca: self.client_ca.clone(),
            server: self.server.clone(),
        };
        let path = other.directory.path().to_owned();
        (other.options.snapshot, other.options.tls_dir) = (path.join(files::SNAPSHOT), path);
        "door-1".clone_into(&mut other.options.pod_name);
        let peers: Vec<String> = ["127.0.0.1", "127.0.0.2"].iter().map(|it| format!("{it}:{port}")).collect();
        for (plan, address) in [(&mut *self, &peers[0]), (&mut other, &peers[1])] {
            plan.options.peer_listen = address.parse().unwrap();
            let tunnels = plan.snapshot.tunnels.as_mut().unwrap();
            (tunnels.peers, tunnels.service, tunnels.replicas) =
                (peers.clone(), "localhost:443".to_owned(), 2);
            super::operator::write_credentials(plan.directory.path(), &control);
            std::fs::write(plan.directory.path().join(files::SERVER_CA), &plan.server_ca.certificate_pem)
                .unwrap();
        }
        other
    }

    /// The same once more, in another folder: for a replica that is started again.
    pub(crate) fn again(&self) -> Self {
        let directory = TempDir::new().unwrap();
        for file in std::fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        let path = directory.path().to_owned();
        let mut options = self.options.clone();
        (options.snapshot, options.tls_dir) = (path.join(files::SNAPSHOT), path);
        Self {
            options,
            snapshot: self.snapshot.clone(),
            directory,
            server_ca: self.server_ca.clone(),
            client_ca: self.client_ca.clone(),
            server: self.server.clone(),
        }
    }

    /// Roots that the server is checked against, PEM.
    pub(crate) fn server_ca_pem(&self) -> &str {
        &self.server_ca.certificate_pem
    }

    pub(crate) async fn start(self) -> Door {
        let Self { options, snapshot, directory, server_ca, client_ca, server } = self;
        write_pair(&directory, &server);
        write_snapshot(&directory, &snapshot);
        let running = portcullis_gateway::start(options).await.unwrap();
        eventually("the gateway is ready", || async { running.readiness().is_ok() }).await;
        Door::new(running, snapshot, directory, server_ca, client_ca, server)
    }
}

fn write_pair(directory: &TempDir, leaf: &Leaf) {
    std::fs::write(directory.path().join(files::SERVER_CERTIFICATE), &leaf.certificate_pem).unwrap();
    std::fs::write(directory.path().join(files::SERVER_KEY), leaf.key.expose()).unwrap();
}

fn write_snapshot(directory: &TempDir, snapshot: &Snapshot) {
    std::fs::write(directory.path().join(files::SNAPSHOT), snapshot.to_json().unwrap()).unwrap();
}

impl Door {
    fn new(
        running: Running,
        snapshot: Snapshot,
        directory: TempDir,
        server_ca: Authority,
        client_ca: Authority,
        server: Leaf,
    ) -> Self {
        let stop = CancellationToken::new();
        let (address, health, metrics) = (running.address, running.health_address, running.metrics_address);
        let stopped = Some(tokio::spawn(running.run_until(stop.clone())));
        let ci = pki::client(&client_ca, "ci");
        Self {
            address,
            health,
            metrics,
            server_ca,
            client_ca,
            server,
            ci,
            snapshot,
            directory,
            stop,
            stopped,
        }
    }

    /// A gateway in front of one HTTP/1.1 backend that gets everything.
    pub(crate) async fn to_http1(address: SocketAddr) -> Self {
        Plan::new(vec![backend("api", prefix("/"), address, Protocol::Http1)]).start().await
    }

    /// A gateway in front of one h2c backend that gets everything.
    pub(crate) async fn to_h2c(address: SocketAddr) -> Self {
        Plan::new(vec![backend("api", prefix("/"), address, Protocol::H2c)]).start().await
    }

    pub(crate) fn write_pair(&self, leaf: &Leaf) {
        write_pair(&self.directory, leaf);
    }

    pub(crate) fn write_snapshot(&self) {
        write_snapshot(&self.directory, &self.snapshot);
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(crate) async fn tls_with(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.tcp().await).await
    }

    pub(crate) async fn tls(&self, client: &Leaf, alpn: &str) -> TlsStream<TcpStream> {
        self.tls_with(pki::client_config(&self.server_ca, Some(client), alpn)).await.unwrap()
    }

    /// An HTTP/1.1 connection of `ci`.
    pub(crate) async fn http1(&self) -> Http1 {
        self.http1_of(&self.ci).await
    }

    pub(crate) async fn http1_of(&self, client: &Leaf) -> Http1 {
        Http1::new(self.tls(client, "http/1.1").await).await
    }

    /// An HTTP/2 connection of `ci`.
    pub(crate) async fn http2(&self) -> Http2 {
        self.http2_of(&self.ci).await
    }

    pub(crate) async fn http2_of(&self, client: &Leaf) -> Http2 {
        Http2::new(self.tls(client, "h2").await).await
    }

    /// An HTTP/1.1 connection of nobody.
    pub(crate) async fn http1_anonymous(&self) -> Http1 {
        Http1::new(self.tls_anonymous("http/1.1").await).await
    }

    /// An HTTP/2 connection of nobody.
    pub(crate) async fn http2_anonymous(&self) -> Http2 {
        Http2::new(self.tls_anonymous("h2").await).await
    }

    /// A connection without a client certificate.
    pub(crate) async fn tls_anonymous(&self, alpn: &str) -> TlsStream<TcpStream> {
        self.tls_with(pki::client_config(&self.server_ca, None, alpn)).await.unwrap()
    }

    /// What an admin port answers: status and text.
    pub(crate) async fn admin(&self, port: SocketAddr, path: &str) -> (u16, String) {
        super::caller::plain_get(port, path).await
    }

    /// Value of a metric, with its labels as they are written; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin(self.metrics, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has reached a value.
    pub(crate) async fn counted(&self, name: &str, value: f64) {
        eventually(name, || async { self.metric(name).await >= value }).await;
    }

    /// Waits until a metric has fallen to a value.
    pub(crate) async fn counted_down(&self, name: &str, value: f64) {
        eventually(name, || async { self.metric(name).await <= value }).await;
    }

    /// Stops the gateway and waits for its end, which comes before the time that what is in flight is given.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        let stopping = tokio::time::timeout(Duration::from_secs(22), self.stopped.take().unwrap());
        assert!(stopping.await.is_ok_and(|ended| ended.is_ok()), "the gateway does not stop at once");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
