//! Tunnels whose visitors speak no HTTP: handshakes that are for the endpoint, and ports. Bytes arrive as they were sent, an
//! end of one direction is that direction's alone, and one that is none looks like none.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_contract::snapshot::{self, RateLimit};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::tunnel::{
    Connector, WEB, get, http, http2, on_port, passed_on, plan, proved_door, tcp, told, tunnel, visit,
};
use crate::support::{Backend, Door, Endpoint, eventually, nobody, pki, port_of, soon};

/// A port that is free, and will be the tunnel's.
fn free_port() -> u16 {
    port_of(&["127.0.0.1", "127.0.0.2"])
}

/// Connects to a tunnel's port as soon as it is listened on.
async fn connect(door: &Door, port: u16) -> TcpStream {
    let address = SocketAddr::new(door.address.ip(), port);
    eventually("the port is listened on", || async { TcpStream::connect(address).await.is_ok() }).await;
    TcpStream::connect(address).await.unwrap()
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    soon("the end of a stream", stream.read_to_end(&mut all)).await.map(|_| all)
}

/// A gateway with one tunnel on a port, and a connector for it.
async fn on_a_port(endpoint: &Endpoint) -> (Door, u16, Connector) {
    let port = free_port();
    let door = plan(vec![on_port("db", port, endpoint.address)]).start().await;
    let connector = Connector::start(&door, "db", &tcp(endpoint.address)).await;
    (door, port, connector)
}

#[tokio::test]
async fn a_visitor_of_a_tls_tunnel_shakes_hands_with_the_endpoint_itself() {
    let authority = pki::authority("endpoint");
    let shown = pki::server(&authority);
    let endpoint = Endpoint::with_tls(&shown, |stream| async move {
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await;
    let web = Backend::echo().await;
    let door = plan(vec![passed_on("db", endpoint.address), tunnel("web", &http(web.address))]).start().await;
    let _db = Connector::start(&door, "db", &tcp(endpoint.address)).await;
    let _web = Connector::start(&door, "web", &http(web.address)).await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        // The gateway's own authority is not among the roots.
        let config = pki::client_config_of(&authority, None, "any", versions);
        let name = ServerName::try_from("DB.t.example.com").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, door.tcp().await).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let sent = vec![7; 3_000_000];
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (received, ()) = tokio::join!(read_all(&mut read), writing);
        assert!(received.unwrap() == sent);
    }
    door.counted("portcullis_gateway_passed_total{result=\"carried\"}", 2.0).await;
    door.counted("portcullis_gateway_passed_bytes_total{direction=\"in\"}", 6_000_000.0).await;
    door.counted("portcullis_gateway_passed_bytes_total{direction=\"out\"}", 6_000_000.0).await;
    // Other names are answered as before, and no connection for them carries a request for that one.
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
    assert_eq!(http2(&door, WEB).await.ask(get("db.t.example.com", "/")).await.status, 421);
}

#[tokio::test]
async fn a_handshake_arrives_as_it_was_sent_in_however_many_pieces_it_came() {
    let endpoint = Endpoint::echo().await;
    let door = plan(vec![passed_on("db", endpoint.address)]).start().await;
    let _connector = Connector::start(&door, "db", &tcp(endpoint.address)).await;
    let hello = hello("db.t.example.com");
    for piece in [1, 7, 100, hello.len()] {
        let mut stream = door.tcp().await;
        for bytes in hello.chunks(piece) {
            stream.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.write_all(b"and what follows").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(
            read_all(&mut stream).await.unwrap(),
            [&hello, &b"and what follows"[..]].concat(),
            "{piece}"
        );
    }
}

/// The first message of a handshake.
fn hello(name: &str) -> Vec<u8> {
    let config = pki::client_config(&pki::authority("any"), None, "any");
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut bytes = Vec::new();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() {
    // Answers when it has heard all.
    let after = Endpoint::new(|mut stream| async move {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        stream.write_all(format!("heard {heard}").as_bytes()).await.unwrap();
    })
    .await;
    let (door, port, _connector) = on_a_port(&after).await;
    let mut stream = connect(&door, port).await;
    stream.write_all(b"all of it").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await.unwrap(), b"heard all of it");

    // Says all that it will at once, and listens on.
    let (words, mut heard) = tokio::sync::mpsc::channel(1);
    let before = Endpoint::new(move |mut stream| {
        let words = words.clone();
        async move {
            stream.write_all(b"greeting").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            words.send(text).await.unwrap();
        }
    })
    .await;
    let (door, port, _connector) = on_a_port(&before).await;
    let mut stream = connect(&door, port).await;
    // What `connect` tried with was a visitor too.
    assert_eq!(soon("a visitor", heard.recv()).await.unwrap(), "");
    assert_eq!(read_all(&mut stream).await.unwrap(), b"greeting");
    stream.write_all(b"late words").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(soon("the words", heard.recv()).await.unwrap(), "late words");
    eventually("nothing is left open", || async {
        door.metric("portcullis_gateway_connections_open").await < 1.5
    })
    .await;
}

#[tokio::test]
async fn an_end_that_is_none_does_not_look_like_one_on_either_side() {
    let resets = Endpoint::new(|mut stream| async move {
        stream.write_all(b"half of i").await.unwrap();
        let mut first = [0];
        if stream.read_exact(&mut first).await.is_ok() {
            stream.set_zero_linger().unwrap();
        }
    })
    .await;
    let (door, port, connector) = on_a_port(&resets).await;
    let mut stream = connect(&door, port).await;
    let mut heard = [0; 9];
    soon("the half", stream.read_exact(&mut heard)).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert!(read_all(&mut stream).await.is_err(), "a reset is no end");
    // Nor is the connector's death.
    let mut stream = connect(&door, port).await;
    soon("the half", stream.read_exact(&mut heard)).await.unwrap();
    drop(connector);
    assert!(read_all(&mut stream).await.is_err(), "a connector's death is no end");

    let (ended, mut ends) = tokio::sync::mpsc::channel(2);
    let listens = Endpoint::new(move |mut stream| {
        let ended = ended.clone();
        async move { ended.send(stream.read_to_end(&mut Vec::new()).await.is_ok()).await.unwrap() }
    })
    .await;
    let (door, port, _connector) = on_a_port(&listens).await;
    let mut stream = connect(&door, port).await;
    assert!(soon("the first visitor's end", ends.recv()).await.unwrap(), "it closed properly");
    stream.write_all(b"half of i").await.unwrap();
    door.counted("portcullis_gateway_passed_bytes_total{direction=\"in\"}", 9.0).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert!(!soon("the end", ends.recv()).await.unwrap(), "a reset is no end");
}

/// What a visitor who begins with a handshake for that name is told: the alert.
async fn alert(door: &Door, name: &str) -> Vec<u8> {
    let mut stream = door.tcp().await;
    stream.write_all(&hello(&format!("{name}.t.example.com"))).await.unwrap();
    read_all(&mut stream).await.unwrap()
}

#[tokio::test]
async fn whoever_is_turned_away_is_told_as_much_as_tls_can_tell_and_counted() {
    let (_held, nobody) = nobody();
    let echo = Endpoint::echo().await;
    let mut off = passed_on("off", echo.address);
    off.enabled = false;
    let mut away = passed_on("away", echo.address);
    away.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
    let mut often = passed_on("often", echo.address);
    often.access.rate_limit = Some(RateLimit { requests_per_second: 1, burst: 1 });
    let port = free_port();
    let mut closed = on_port("closed", port, echo.address);
    closed.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
    let tunnels =
        vec![off, away, often, closed, passed_on("dead", nobody), passed_on("offline", echo.address)];
    let door = plan(tunnels).start().await;
    let _dead = Connector::start(&door, "dead", &tcp(nobody)).await;
    let _often = Connector::start(&door, "often", &tcp(echo.address)).await;
    let mut first = door.tcp().await;
    first.write_all(&hello("often.t.example.com")).await.unwrap();
    door.counted("portcullis_gateway_passed_total{result=\"carried\"}", 1.0).await;
    for (name, said, counted) in
        [("off", 112, "off"), ("away", 49, "address"), ("dead", 80, "endpoint"), ("offline", 80, "offline")]
    {
        let counter = format!("portcullis_gateway_passed_total{{result=\"{counted}\"}}");
        let before = door.metric(&counter).await;
        assert_eq!(alert(&door, name).await, [0x15, 3, 3, 0, 2, 2, said], "{name}");
        door.counted(&counter, before + 1.0).await;
    }
    // One a second is let through, and hears the echo of its own greeting.
    let counter = "portcullis_gateway_passed_total{result=\"often\"}";
    eventually("whoever comes too often is told", || async {
        let mut stream = door.tcp().await;
        stream.write_all(&hello("often.t.example.com")).await.unwrap();
        let mut begins = [0; 7];
        soon("an answer", stream.read_exact(&mut begins)).await.unwrap();
        begins == [0x15, 3, 3, 0, 2, 2, 80]
    })
    .await;
    door.counted(counter, 1.0).await;
    let mut stream = connect(&door, port).await;
    assert!(read_all(&mut stream).await.is_err(), "it is reset");
    // A name that no tunnel has is the gateway's own to answer, as before.
    assert_ne!(alert(&door, "none").await[0], 0x15);
}

#[tokio::test]
async fn a_port_is_listened_on_for_as_long_as_a_tunnel_holds_it() {
    let echo = Endpoint::echo().await;
    let port = free_port();
    let mut door = plan(Vec::new()).start().await;
    let held = |door: &mut Door, tunnels: Vec<snapshot::Tunnel>| {
        door.snapshot.tunnels.as_mut().unwrap().tunnels = tunnels;
        door.write_snapshot();
    };
    let address = SocketAddr::new(door.address.ip(), port);
    assert!(TcpStream::connect(address).await.is_err());
    held(&mut door, vec![on_port("db", port, echo.address)]);
    let mut stream = connect(&door, port).await;
    let _connector = Connector::start(&door, "db", &tcp(echo.address)).await;
    // Another tunnel's port leaves this one alone.
    let other = free_port();
    held(&mut door, vec![on_port("db", port, echo.address), on_port("other", other, echo.address)]);
    drop(connect(&door, other).await);
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    soon("an echo", stream.read_exact(&mut heard)).await.unwrap();
    // Who is visiting when it is released, or taken no more from there, is cut.
    let mut closed = on_port("db", port, echo.address);
    closed.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
    held(&mut door, vec![closed]);
    assert!(read_all(&mut stream).await.is_err(), "it is cut");
    held(&mut door, Vec::new());
    eventually("the port is free", || async { TcpListener::bind(address).await.is_ok() }).await;
    // One that somebody else listens on is tried again.
    let squatter = TcpListener::bind(address).await.unwrap();
    held(&mut door, vec![on_port("db", port, echo.address)]);
    drop(squatter);
    drop(connect(&door, port).await);
}

#[tokio::test]
async fn a_replica_that_stops_lets_visitors_finish_and_takes_no_new_ones() {
    let echo = Endpoint::echo().await;
    let (door, port, _connector) = on_a_port(&echo).await;
    let mut stream = connect(&door, port).await;
    let mut heard = [0; 5];
    stream.write_all(b"hello").await.unwrap();
    soon("an echo", stream.read_exact(&mut heard)).await.unwrap();
    door.stop.cancel();
    let address = SocketAddr::new(door.address.ip(), port);
    eventually("nobody new is taken", || async { TcpStream::connect(address).await.is_err() }).await;
    stream.write_all(b"again").await.unwrap();
    soon("an echo", stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"again");
    stream.shutdown().await.unwrap();
    assert!(read_all(&mut stream).await.unwrap().is_empty());
    door.close().await;
}

#[tokio::test]
async fn bytes_go_through_the_replica_that_has_the_connector() {
    let echo = Endpoint::echo().await;
    let port = free_port();
    let mut plan = plan(vec![on_port("db", port, echo.address), passed_on("tls", echo.address)]);
    let mut sibling = plan.sibling();
    sibling.options.listen = "127.0.0.2:0".parse().unwrap();
    let (first, second) = tokio::join!(plan.start(), sibling.start());
    let _db = Connector::start(&first, "db", &tcp(echo.address)).await;
    let _tls = Connector::start(&first, "tls", &tcp(echo.address)).await;
    let sent = vec![9; 1_000_000];
    let mut stream = connect(&second, port).await;
    let (mut read, mut write) = stream.split();
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(read_all(&mut read), writing);
    assert!(received.unwrap() == sent);
    let hello = hello("tls.t.example.com");
    let mut stream = second.tcp().await;
    stream.write_all(&hello).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await.unwrap(), hello);
    assert!(second.metric("portcullis_gateway_connectors").await < 0.5);
    // The replica between dies: that is no end either.
    let mut stream = connect(&second, port).await;
    let mut heard = [0; 5];
    stream.write_all(b"hello").await.unwrap();
    soon("an echo", stream.read_exact(&mut heard)).await.unwrap();
    first.stop.cancel();
    // It waits for this visitor until its drain time is over.
    stream.write_all(b"again").await.unwrap();
    soon("an echo", stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"again");
}

#[tokio::test]
async fn a_probe_comes_in_as_a_visitor_and_says_which_hop_broke() {
    // One that greets, and one that waits to be spoken to.
    let greets = Endpoint::new(|mut stream| async move {
        let _ = stream.write_all(b"220 hello\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let (_held, nobody) = nobody();
    let ports = [free_port(), free_port()];
    // Who may visit does not matter to a probe.
    let mut closed = passed_on("tls", greets.address);
    closed.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
    let mut shut = on_port("shut", ports[1], greets.address);
    shut.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
    let tunnels = vec![
        closed,
        on_port("db", ports[0], greets.address),
        shut,
        passed_on("dead", nobody),
        on_port("lost", 1, greets.address),
    ];
    let (door, _operator, mut attachment) = proved_door(tunnels).await;
    for (name, endpoint, hop) in [
        ("tls", greets.address, ""),
        ("db", greets.address, ""),
        ("shut", greets.address, ""),
        ("dead", nobody, "endpoint"),
    ] {
        let _connector = Connector::start(&door, name, &tcp(endpoint)).await;
        let probe = told(&mut attachment, |report| report.name == name && report.probe.is_some()).await;
        let probe = probe.probe.unwrap();
        assert_eq!((probe.passed, probe.hop.as_str()), (hop.is_empty(), hop), "{name}: {probe:?}");
        assert_eq!(probe.message.contains("start the service"), name == "dead", "{probe:?}");
    }
    assert!(door.metric("portcullis_gateway_passed_total{result=\"probe\"}").await >= 4.0);
    // Something else listens on the port.
    let squatter = port_of(&["127.0.0.1"]);
    let impostor = TcpListener::bind(("127.0.0.1", squatter)).await.unwrap();
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = impostor.accept().await {
            let _ = stream.write_all(b"\nportcullis-probe AAAA passed\n").await;
        }
    });
    let mut snapshot = door.snapshot.clone();
    snapshot.tunnels.as_mut().unwrap().tunnels = vec![on_port("lost", squatter, greets.address)];
    attachment.send(&snapshot).await;
    acknowledged(&mut attachment).await;
    let _connector = Connector::start(&door, "lost", &tcp(greets.address)).await;
    let probe = told(&mut attachment, |report| report.name == "lost" && report.probe.is_some()).await;
    let probe = probe.probe.unwrap();
    assert_eq!((probe.passed, probe.hop.as_str()), (false, "gateway"), "{probe:?}");
    assert!(probe.message.contains("cannot be listened on"), "{probe:?}");
    answering.abort();
}

/// Waits until a snapshot is served, whatever else is told meanwhile.
async fn acknowledged(attachment: &mut crate::support::operator::Attachment) {
    while !matches!(attachment.report().await, portcullis_contract::control::report::Report::Acknowledged(_))
    {
    }
}

#[tokio::test]
async fn who_says_that_it_is_a_probe_and_is_none_is_a_visitor() {
    let echo = Endpoint::echo().await;
    let (door, port, _connector) = on_a_port(&echo).await;
    for text in ["portcullis-probe 1.AAAA\n", "portcullis-probe ", "portcullis-probe \u{0}\n"] {
        let mut stream = connect(&door, port).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_all(&mut stream).await.unwrap(), text.as_bytes());
    }
    door.close().await;
}
