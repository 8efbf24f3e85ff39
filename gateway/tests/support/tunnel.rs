//! Tunnels of a gateway, and the real connectors that serve them, in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use portcullis_cli::connector::{Credentials, EndpointTls, Settings, Teller};
use portcullis_contract::snapshot::{self, Auth, TunnelAccess, TunnelProtocol, Upstream};
use portcullis_contract::tunnel::Offer;
use portcullis_contract::{control, files};
use portcullis_pki::{Authority, Leaf};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::caller::{Body, Http1, Http2};
use super::door::Plan;
use super::operator::{Attachment, Operator, write_credentials};
use super::{Answer, Door, body, eventually, pki};

/// A public name of the tunnel `web`.
pub(crate) const WEB: &str = "web.t.example.com";

/// Tunnel `shop/NAME`, open to everybody, at `NAME.t.example.com`.
pub(crate) fn tunnel(name: &str, endpoint: &str) -> snapshot::Tunnel {
    snapshot::Tunnel {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        protocol: TunnelProtocol::Http,
        hostnames: vec![format!("{name}.t.example.com")],
        port: None,
        endpoint: endpoint.to_owned(),
        upstream: Upstream::default(),
        enabled: true,
        access: TunnelAccess { auth: Auth::None, ..TunnelAccess::default() },
    }
}

/// The same for visitors who shake hands with the endpoint themselves.
pub(crate) fn passed_on(name: &str, address: SocketAddr) -> snapshot::Tunnel {
    snapshot::Tunnel { protocol: TunnelProtocol::Tls, ..tunnel(name, &tcp(address)) }
}

/// The same for visitors of a port.
pub(crate) fn on_port(name: &str, port: u16, address: SocketAddr) -> snapshot::Tunnel {
    snapshot::Tunnel {
        protocol: TunnelProtocol::Tcp,
        hostnames: Vec::new(),
        port: Some(port),
        ..tunnel(name, &tcp(address))
    }
}

pub(crate) fn tcp(address: SocketAddr) -> String {
    format!("tcp://localhost:{}", address.port())
}

pub(crate) fn http(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

/// What a gateway with these tunnels is started with.
pub(crate) fn plan(tunnels: Vec<snapshot::Tunnel>) -> Plan {
    let mut plan = Plan::new(Vec::new());
    plan.snapshot.tunnels = Some(snapshot::Tunnels {
        domain: "t.example.com".to_owned(),
        certificate_dir: None,
        service: String::new(),
        peers: Vec::new(),
        replicas: 1,
        tunnels,
    });
    plan
}

/// A certificate for a connector of `shop/NAME` alone.
pub(crate) fn certificate(authority: &Authority, name: &str) -> Leaf {
    pki::client_with_uri(authority, &certificate_uri(name))
}

pub(crate) fn certificate_uri(name: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/gateway/door/tunnel/shop/{name}")
}

/// A connector at work, until dropped.
pub(crate) struct Connector {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    _directory: TempDir,
}

/// What a connector of `shop/NAME` is started with.
pub(crate) async fn settings(door: &Door, name: &str, endpoint: &str, shown: &Leaf) -> (Settings, TempDir) {
    let directory = TempDir::new().unwrap();
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
    write(files::SERVER_CA, &door.server_ca.certificate_pem);
    write(files::SERVER_CERTIFICATE, &shown.certificate_pem);
    write(files::SERVER_KEY, shown.key.expose());
    let settings = Settings {
        gateway: format!("https://localhost:{}", door.address.port()).parse().unwrap(),
        server_name: None,
        id: format!("{:016x}", rand::random::<u64>()),
        credentials: Credentials::Files { folder: Some(directory.path().to_owned()), token_file: None },
        offers: vec![Offer {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            endpoints: vec![endpoint.to_owned()],
        }],
        endpoint_tls: EndpointTls::new(None),
        websocket: false,
        proxies: Arc::new(Matcher::builder().build()),
        drain: Duration::from_secs(5),
        teller: Teller::default(),
    };
    (settings, directory)
}

impl Connector {
    pub(crate) fn run(settings: Settings, directory: TempDir) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task =
            tokio::spawn(async move { portcullis_cli::connector::run(settings, stopped).await.unwrap() });
        Self { stop, task: AbortOnDropHandle::new(task), _directory: directory }
    }

    /// One with a certificate for this tunnel; returns when the gateway has it.
    pub(crate) async fn start(door: &Door, name: &str, endpoint: &str) -> Self {
        let before = door.metric("portcullis_gateway_connectors").await;
        let (settings, directory) = settings(door, name, endpoint, &certificate(&door.client_ca, name)).await;
        let connector = Self::run(settings, directory);
        door.counted("portcullis_gateway_connectors", before + 1.0).await;
        connector
    }

    /// The polite end.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        super::soon("the connector stops", self.task).await.unwrap();
    }
}

/// A visitor's TLS to a public name.
pub(crate) async fn tls(door: &Door, name: &str, alpn: &str) -> TlsStream<TcpStream> {
    let config = pki::client_config(&door.server_ca, None, alpn);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, door.tcp().await).await.unwrap()
}

pub(crate) async fn http1(door: &Door, name: &str) -> Http1 {
    Http1::new(tls(door, name, "http/1.1").await).await
}

pub(crate) async fn http2(door: &Door, name: &str) -> Http2 {
    Http2::new(tls(door, name, "h2").await).await
}

/// A GET for a public name.
pub(crate) fn get(name: &str, path: &str) -> http::Request<Body> {
    http::Request::get(path).header("host", name).body(body("")).unwrap()
}

/// What a visitor of the name gets, on a new connection.
pub(crate) async fn visit(door: &Door, name: &str, path: &str) -> Answer {
    http1(door, name).await.ask(get(name, path)).await
}

/// Waits until visitors get this status.
pub(crate) async fn answers(door: &Door, name: &str, status: u16) {
    eventually(&format!("{name} answers {status}"), || async {
        visit(door, name, "/").await.status == status
    })
    .await;
}

/// A gateway attached to an operator, with probes that come in by its own port.
pub(crate) async fn proved_door(tunnels: Vec<snapshot::Tunnel>) -> (Door, Operator, Attachment) {
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let port = super::port_of(&["127.0.0.1"]);
    let mut plan = plan(tunnels);
    plan.options.listen = format!("127.0.0.1:{port}").parse().unwrap();
    plan.options.control_endpoint = Some(operator.endpoint().parse().unwrap());
    plan.snapshot.tunnels.as_mut().unwrap().service = format!("127.0.0.1:{port}");
    write_credentials(plan.directory.path(), &authority);
    std::fs::write(plan.directory.path().join("ca.crt"), plan.server_ca_pem()).unwrap();
    let door = plan.start().await;
    let (mut attachment, _) = operator.attached().await;
    attachment.send(&door.snapshot).await;
    attachment.acknowledged().await;
    (door, operator, attachment)
}

/// The next report of a tunnel that is like this.
pub(crate) async fn told(
    attachment: &mut Attachment,
    is_it: impl Fn(&control::TunnelReport) -> bool,
) -> control::TunnelReport {
    loop {
        if let control::report::Report::Tunnel(report) = attachment.report().await
            && is_it(&report)
        {
            return report;
        }
    }
}
