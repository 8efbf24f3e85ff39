//! Tunnels under load: what nobody here wrote on both ends, a gigabyte each way, and a thousand requests at once.

use std::convert::Infallible;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_tests::door::{Door, text, tool};
use portcullis_tests::ports;
use portcullis_tests::process::Process;
use portcullis_tests::tunnel::{Running, SPEC, connector, ready_web, service, visit};
use portcullis_tests::visitor::{Visitor, whole};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const WEB: &str = "web.t.example.com";
const GIGABYTE: usize = 1_000_000_000;
/// Cases of the gRPC project's interoperability tests that ask for nothing but a server: all kinds of calls, metadata both
/// ways, deadlines, cancellation, and errors that must come through as they are.
const CASES: [&str; 13] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_service",
];

#[tokio::test(flavor = "multi_thread")]
async fn grpc_of_all_kinds_goes_through_between_a_client_and_a_server_that_nobody_here_wrote() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let port = ports::free("127.0.0.1");
    let mut server = tool("grpc-interop-server");
    server
        .args(["-port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = Running(server.kill_on_drop(true).spawn().unwrap());
    let endpoint = format!("h2c://127.0.0.1:{port}");
    let _connector = connector(&door, "web", &bundle, &endpoint, &logs.path().join("log")).await;
    ready_web(&door, &endpoint, "").await;

    let address = door.address().await;
    for case in CASES {
        let mut client = tool("grpc-interop-client");
        client.args(["-use_tls", "-use_test_ca", "-server_port", "443", "-server_host", &address]);
        client.args(["-server_host_override", WEB, "-test_case", case]);
        client.arg("-ca_file").arg(bundle.join("ca.crt"));
        let output = tokio::time::timeout(Duration::from_mins(3), client.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{case}: {}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_goes_up_and_down_and_memory_stays_flat() {
    let door = Door::ready(SPEC).await;
    let (bundle, files) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(bulk(listener));
    let log = files.path().join("log");
    let running = connector(&door, "web", &bundle, &endpoint, &log).await;
    ready_web(&door, &endpoint, "").await;
    let mut processes = vec![Process(running.0.id().unwrap())];
    processes.extend(door.pods().await.iter().map(|pod| Process::of_pod(pod)));

    let file = files.path().join("gigabyte");
    std::fs::File::create(&file).unwrap().set_len(GIGABYTE as u64).unwrap();
    let before: Vec<_> = processes.iter().map(|it| it.peak_megabytes()).collect();
    for version in ["--http1.1", "--http2"] {
        let more = [version, "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}"];
        let down = text(&visit(&door, &bundle, WEB, "/down", &more).await.stdout);
        assert_eq!(down, format!("200 {GIGABYTE}"), "{version}: {}", said(&door, &log).await);
        uploaded(&door, &bundle, &file, version, &log).await;
    }
    for (process, before) in processes.iter().zip(before) {
        let after = process.peak_megabytes();
        println!("{process:?}: at most {before} MB before, {after} MB afterwards");
        assert!(
            after <= before + 40,
            "a process had {before} MB before two gigabytes each way, {after} MB since"
        );
    }
}

/// Sends a file, and has its size counted at the other end. A connector that has had no processor for seconds counts as gone;
/// then it is tried again, as the answer says.
async fn uploaded(door: &Door, bundle: &Path, file: &Path, version: &str, log: &Path) {
    let path = file.display().to_string();
    let mut tries = 3;
    loop {
        let up = visit(door, bundle, WEB, "/up", &[version, "--upload-file", &path]).await;
        let (answer, words) = (text(&up.stdout), text(&up.stderr));
        if answer == GIGABYTE.to_string() {
            return;
        }
        tries -= 1;
        let said = format!("{version}: {answer}\n{words}\n{}", said(door, log).await);
        assert!(tries > 0 && answer.contains("Try again"), "{said}");
        println!("{said}");
    }
}

/// What connector and replicas say of what they did.
async fn said(door: &Door, log: &Path) -> String {
    let replicas = door
        .kubectl(&["logs", "--prefix", "--tail=30", "--selector=portcullis.dev/gateway=door"], None)
        .await;
    format!("the connector:\n{}\nreplicas:\n{replicas}", std::fs::read_to_string(log).unwrap())
}

/// A gigabyte at `/down`; anything that is sent is counted.
async fn bulk(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(served);
    }
}

async fn answer(
    request: Request<Incoming>,
) -> hyper::Result<Response<impl Body<Data = Bytes, Error = BoxError> + use<>>> {
    const PIECE: usize = 50_000;
    if request.uri().path() == "/down" {
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let pieces = (0..GIGABYTE / PIECE).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone())));
        return Ok(Response::new(Either::Left(StreamBody::new(futures::stream::iter(pieces)))));
    }
    let (mut body, mut bytes) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Response::new(Either::Right(Full::new(Bytes::from(bytes.to_string())))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_are_answered_at_once() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (_httpbin, port) = service().await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let _connector = connector(&door, "web", &bundle, &endpoint, &logs.path().join("log")).await;
    ready_web(&door, &endpoint, "").await;
    let visitor = Visitor::of(&door, &bundle, WEB).await;
    let mut requests = JoinSet::new();
    let began = Instant::now();
    for _ in 0..10 {
        let connection = visitor.http2().await.unwrap();
        for _ in 0..100 {
            let (mut connection, request) = (connection.clone(), visitor.request("/delay/5"));
            requests.spawn(async move { whole(connection.send_request(request).await).await });
        }
    }
    let outcomes = requests.join_all().await;
    let well = outcomes.iter().filter(|outcome| matches!(outcome, Ok(status) if status.as_u16() == 200));
    let well = well.count();
    println!("a thousand answers after five seconds each took {:?}", began.elapsed());
    assert_eq!(
        well,
        1000,
        "{:?}",
        outcomes.iter().find(|it| !matches!(it, Ok(status) if status.is_success()))
    );
    // A hundred at a time, they would take fifty seconds.
    assert!(began.elapsed() < Duration::from_secs(45), "they wait for each other: {:?}", began.elapsed());
}
