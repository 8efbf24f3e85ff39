//! The authority of a Gateway is rotated in a real cluster, while callers come without a pause with whatever bundle is in
//! their Secret, and one connection stays open all the while.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_api::{AuthorityStatus, Gateway, RotationPhase};
use portcullis_tests::door::{Door, text};
use portcullis_tests::replica::secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whatever a phase waits for is there by then: the kubelet takes a minute or two to bring a Secret.
const PHASE: Duration = Duration::from_mins(8);
/// Nobody waits longer for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Callers who come again and again, each time on a new connection.
const CALLERS: usize = 3;
const SPEC: &str = "
replicas: 2
clients: [{name: alice}, {name: bob}]
pki: {ca: {publishFor: 2s, retireAfter: 2s}}
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";

type Request = http::Request<Empty<Bytes>>;

/// Whoever comes with a bundle.
#[derive(Clone)]
struct Caller {
    host: String,
    address: String,
}

impl Caller {
    /// A handshake with a bundle: tls.crt, tls.key and ca.crt.
    async fn tls(&self, bundle: &Bundle, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        for root in certificates(&bundle["ca.crt"]) {
            roots.add(root).unwrap();
        }
        let key = PrivateKeyDer::from_pem_slice(bundle["tls.key"].as_bytes()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&bundle["tls.crt"]), key)
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(self.host.clone()).unwrap();
        let stream = TcpStream::connect((self.address.as_str(), 443)).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn request(&self, path: &str) -> Request {
        let uri = format!("https://{}{path}", self.host);
        http::Request::get(uri).header("host", &self.host).body(Empty::new()).unwrap()
    }

    /// Comes with a bundle, and is answered.
    async fn visit(&self, bundle: &Bundle) -> Result<(), String> {
        let visit = async {
            let stream =
                self.tls(bundle, b"http/1.1").await.map_err(|error| format!("no connection: {error}"))?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            let carried = tokio::spawn(connection);
            let answer = asked(|| sender.send_request(self.request("/status/200"))).await;
            drop(sender);
            match answer {
                Ok(_) => Ok(()),
                // Whether the request was sent by then or not, the connection knows why it ended.
                Err(error) => Err(format!("{error}: {:?}", carried.await)),
            }
        };
        timeout(ANSWER, visit).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

type Bundle = std::collections::BTreeMap<String, String>;

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// Asks, and is answered with 200. Where the backend was not reached (502), it is asked once more on the same connection,
/// and must be by then: what is looked at here is the way in.
async fn asked<F: Future<Output = hyper::Result<http::Response<Incoming>>>>(
    mut ask: impl FnMut() -> F,
) -> Result<http::Response<Incoming>, String> {
    let mut answer = ask().await.map_err(|error| format!("no answer: {error}"))?;
    if answer.status() == 502 {
        println!("the backend was not reached: asked again");
        drop(answer.into_body().collect().await);
        answer = ask().await.map_err(|error| format!("no answer: {error}"))?;
    }
    if answer.status() == 200 { Ok(answer) } else { Err(format!("answered with {}", answer.status())) }
}

/// An HTTP/2 connection that is asked again and again; how often it was, or what became of it.
async fn stays(
    caller: Caller,
    mut sender: http2::SendRequest<Empty<Bytes>>,
    over: Arc<AtomicBool>,
) -> Result<usize, String> {
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        let answer = timeout(ANSWER, asked(|| sender.send_request(caller.request("/bytes/100")))).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|error| format!("after {count} requests: {error}"))?;
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        count += 1;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(count)
}

async fn until(door: &Door, wish: impl Fn(&AuthorityStatus) -> bool) -> AuthorityStatus {
    let gateways: kube::Api<Gateway> = kube::Api::namespaced(door.client.clone(), &door.namespace);
    let (began, mut said) = (Instant::now(), String::new());
    loop {
        let ca = gateways.get("door").await.unwrap().status.unwrap().ca.unwrap();
        let now = format!("{:?}, waits for {:?}", ca.phase, ca.waiting_for);
        if now != said {
            println!("{:6.1} s: {now}", began.elapsed().as_secs_f64());
            said = now;
        }
        if wish(&ca) {
            return ca;
        }
        assert!(began.elapsed() < PHASE, "not as wished: {ca:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// `curl` and `grpcurl` with the bundle in the Secret; says what fails.
async fn with_tools(door: &Door, number: usize, failed: &mut Vec<String>) {
    let bundle: &Path = &door.bundle("bob").await;
    if number.is_multiple_of(2) {
        let code = door.code(bundle, "/status/200").await;
        if code != "200" {
            failed.push(format!("curl: {code}"));
        }
    } else {
        let who = door.grpcurl(bundle, "portcullis.gateway.v1.Gateway/WhoAmI").await;
        if !who.status.success() {
            failed.push(format!("grpcurl: {}", text(&who.stderr)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_rotated_under_load_without_a_failed_handshake_and_without_a_connection_that_is_cut()
{
    let door = Arc::new(Door::ready(SPEC).await);
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/status/200", "200").await;
    let caller = Caller { host: door.host(), address: door.address().await };
    let before: Bundle = secret(&door.client, &door.namespace, "door-client-alice").await;
    let first = until(&door, |ca| ca.phase == RotationPhase::Stable).await;

    let over = Arc::new(AtomicBool::new(false));
    let stream = caller.tls(&before, b"h2").await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let held = tokio::spawn(stays(caller.clone(), sender, Arc::clone(&over)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (door, caller, over) = (Arc::clone(&door), caller.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut count, mut failed) = (0, Vec::new());
                while !over.load(Ordering::SeqCst) {
                    let bundle = secret(&door.client, &door.namespace, "door-client-alice").await;
                    count += 1;
                    failed.extend(caller.visit(&bundle).await.err());
                }
                (count, failed)
            })
        })
        .collect();
    let tools = {
        let (door, over) = (Arc::clone(&door), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut count, mut failed) = (0, Vec::new());
            while !over.load(Ordering::SeqCst) {
                with_tools(&door, count, &mut failed).await;
                count += 1;
            }
            (count, failed)
        })
    };

    door.kubectl(&["annotate", "gateway", "door", "portcullis.dev/rotate=one"], None).await;
    let last =
        until(&door, |ca| ca.phase == RotationPhase::Stable && ca.generation == first.generation + 1).await;
    assert_ne!(last.fingerprint, first.fingerprint);
    // Whoever believes the server has still to show a certificate of the new one.
    let mut outdated = secret(&door.client, &door.namespace, "door-client-alice").await;
    outdated.extend(["tls.crt", "tls.key"].map(|name| (name.to_owned(), before[name].clone())));
    let refused = {
        let began = Instant::now();
        loop {
            match caller.visit(&outdated).await {
                Err(error) => break error,
                Ok(()) => assert!(began.elapsed() < PHASE, "the old certificate still opens the Gateway"),
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    println!("the old certificate: {refused}");
    // With TLS 1.3 a client learns of it once it has asked.
    assert!(refused.contains("no answer: ") && refused.contains("AlertReceived"), "{refused}");
    over.store(true, Ordering::SeqCst);

    let (mut handshakes, mut failed) = (0, Vec::new());
    for caller in callers {
        let (count, theirs) = caller.await.unwrap();
        handshakes += count;
        failed.extend(theirs);
    }
    let (count, theirs) = tools.await.unwrap();
    failed.extend(theirs);
    let asked = held.await.unwrap().unwrap();
    println!(
        "{handshakes} handshakes and {count} of curl and grpcurl, {} failed; {asked} requests on the connection from before",
        failed.len()
    );
    assert!(handshakes > 100 && count > 10 && asked > 50);
    assert!(failed.is_empty(), "{failed:#?}");
}
