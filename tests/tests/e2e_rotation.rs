//! The authority of a Gateway is rotated in a real cluster, while callers come without a pause with whatever bundle is in
//! their Secret, and connections stay open all the while; and stock programs go by what the kubelet mounts into a pod.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use portcullis_api::RotationPhase;
use portcullis_tests::PATIENCE;
use portcullis_tests::door::Door;
use portcullis_tests::leader;
use portcullis_tests::mutual::{Bundle, Caller, configured};
use portcullis_tests::process::Process;
use portcullis_tests::real::prometheus::Prometheus;
use portcullis_tests::replica::secret;
use portcullis_tests::rotation::{PHASE, begin, come_by_tools, rotate, until};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Nobody waits longer for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a replica stands still: half of what a handshake may take, which would be let go otherwise.
const STANDS: Duration = Duration::from_secs(5);
/// How long a connection that is kept is not asked, at most.
const PAUSE: Duration = Duration::from_secs(10);
const SPEC: &str = "
replicas: 2
clients: [{name: alice}, {name: bob}]
pki: {ca: {publishFor: 2s, retireAfter: 2s}}
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";

/// How much is done. `PORTCULLIS_ROTATIONS=3` is what is done by hand: then the operator is killed and a replica stands
/// still again and again, too.
struct Load {
    rotations: i64,
    /// New connections, at least.
    handshakes: usize,
    /// Those that come again and again, each time on a new connection.
    callers: usize,
    /// Those that are kept.
    connections: usize,
}

impl Load {
    fn wanted() -> Self {
        match std::env::var("PORTCULLIS_ROTATIONS").map(|it| it.parse().unwrap()) {
            Ok(rotations) => Self { rotations, handshakes: 100_000, callers: 16, connections: 1_000 },
            Err(_) => Self { rotations: 1, handshakes: 100, callers: 3, connections: 20 },
        }
    }
}

/// Comes with a bundle on a new connection, and is answered.
async fn visit(caller: &Caller, bundle: &Bundle) -> Result<(), String> {
    let visit = async {
        let stream = caller.tls(configured(bundle, b"http/1.1")).await;
        let stream = stream.map_err(|error| format!("no connection: {error}"))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let carried = tokio::spawn(connection);
        let answer = asked(|| sender.send_request(caller.request("/status/200"))).await;
        drop(sender);
        match answer {
            Ok(_) => Ok(()),
            // Whether the request was sent by then or not, the connection knows why it ended.
            Err(error) => Err(format!("{error}: {:?}", carried.await)),
        }
    };
    timeout(ANSWER, visit).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Asks, and is answered with 200. While the backend is not reached (502, and 504 by a replica that stood still meanwhile),
/// it is asked again on the same connection, and must be at last: what is looked at here is the way in.
async fn asked<F: Future<Output = hyper::Result<http::Response<Incoming>>>>(
    mut ask: impl FnMut() -> F,
) -> Result<http::Response<Incoming>, String> {
    loop {
        let answer = ask().await.map_err(|error| format!("no answer: {error}"))?;
        match answer.status().as_u16() {
            200 => return Ok(answer),
            502 | 504 => println!("the backend was not reached: asked again"),
            _ => return Err(format!("answered with {}", answer.status())),
        }
        drop(answer.into_body().collect().await);
        sleep(Duration::from_millis(200)).await;
    }
}

/// An HTTP/2 connection that is asked again and again; how often it was, or what became of it.
async fn stays(
    caller: Caller,
    mut sender: SendRequest<Empty<Bytes>>,
    pause: Duration,
    over: CancellationToken,
) -> Result<usize, String> {
    let mut count = 0;
    loop {
        let answer = timeout(ANSWER, asked(|| sender.send_request(caller.request("/bytes/100")))).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|error| format!("after {count} requests: {error}"))?;
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        count += 1;
        if over.run_until_cancelled(sleep(pause)).await.is_none() {
            return Ok(count);
        }
    }
}

/// Comes again and again, each time with what is in the Secret by then.
async fn comes(
    caller: Caller,
    bundle: watch::Receiver<Bundle>,
    count: Arc<AtomicUsize>,
    over: CancellationToken,
) -> Vec<String> {
    let mut failed = Vec::new();
    while !over.is_cancelled() {
        let bundle = bundle.borrow().clone();
        failed.extend(visit(&caller, &bundle).await.err());
        count.fetch_add(1, Ordering::SeqCst);
    }
    failed
}

/// Kills the operator that leads, and lets a replica stand still, in turns; how often.
async fn disturbs(door: Arc<Door>, over: CancellationToken) -> usize {
    let mut count = 0;
    while over.run_until_cancelled(sleep(Duration::from_secs(15))).await.is_some() {
        if count % 2 == 0 {
            leader::kill(&door.client).await;
        } else {
            let pods = door.pods().await;
            Process::of_pod(&pods[count / 2 % pods.len()]).stands(STANDS).await;
        }
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_rotated_under_load_without_a_failed_handshake_and_without_a_connection_that_is_cut()
{
    let load = Load::wanted();
    let door = Arc::new(Door::ready(SPEC).await);
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/status/200", "200").await;
    let caller = Caller::to(&door).await;
    let before: Bundle = secret(&door.client, &door.namespace, "door-client-alice").await;
    let first = until(&door, |ca| ca.phase == RotationPhase::Stable).await;

    let over = CancellationToken::new();
    let pause = (Duration::from_millis(100) * u32::try_from(load.connections).unwrap()).min(PAUSE);
    let mut held = JoinSet::new();
    for _ in 0..load.connections {
        let (sender, _) = caller.http2(configured(&before, b"h2")).await.unwrap();
        held.spawn(stays(caller.clone(), sender, pause, over.clone()));
    }
    let (bundles, bundle) = watch::channel(before.clone());
    let handshakes = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        callers.spawn(comes(caller.clone(), bundle.clone(), Arc::clone(&handshakes), over.clone()));
    }
    let fetched = {
        let (door, over) = (Arc::clone(&door), over.clone());
        tokio::spawn(async move {
            while over.run_until_cancelled(sleep(Duration::from_millis(100))).await.is_some() {
                bundles.send_replace(secret(&door.client, &door.namespace, "door-client-alice").await);
            }
        })
    };
    let tools = {
        let (door, over) = (Arc::clone(&door), over.clone());
        tokio::spawn(async move { come_by_tools(&door, None, over).await })
    };
    let disturbed = (load.rotations > 1).then(|| tokio::spawn(disturbs(Arc::clone(&door), over.clone())));

    let mut last = first.clone();
    for number in 1..=load.rotations {
        if number == load.rotations {
            // The last one comes once as many have come as were to.
            while handshakes.load(Ordering::SeqCst) < load.handshakes {
                sleep(Duration::from_millis(200)).await;
            }
        }
        last = rotate(&door, &last).await;
        println!("{} new connections by now", handshakes.load(Ordering::SeqCst));
    }
    // Whoever believes the server has still to show a certificate of the new one.
    let mut outdated = secret(&door.client, &door.namespace, "door-client-alice").await;
    outdated.extend(["tls.crt", "tls.key"].map(|name| (name.to_owned(), before[name].clone())));
    let began = Instant::now();
    loop {
        match visit(&caller, &outdated).await {
            // With TLS 1.3 a client learns of it once it has asked.
            Err(error) if error.contains("AlertReceived") => break,
            // Whoever comes at that very moment is closed on without a word.
            Err(error) => println!("the old certificate: {error}"),
            Ok(()) => {}
        }
        assert!(began.elapsed() < PHASE, "the old certificate is not refused");
        sleep(Duration::from_millis(200)).await;
    }
    over.cancel();
    fetched.await.unwrap();

    let mut failed: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    let (count, theirs) = tools.await.unwrap();
    failed.extend(theirs);
    let mut asked = 0;
    for kept in held.join_all().await {
        match kept {
            Ok(count) => asked += count,
            Err(error) => failed.push(format!("a connection from before: {error}")),
        }
    }
    if let Some(disturbed) = disturbed {
        println!("disturbed {} times", disturbed.await.unwrap());
    }
    let handshakes = handshakes.load(Ordering::SeqCst);
    println!(
        "{} rotations, {handshakes} new connections and {count} of curl and grpcurl, {} failed; {asked} requests on {} connections from before",
        last.generation - first.generation,
        failed.len(),
        load.connections
    );
    failed.iter().take(20).for_each(|failure| println!("failed: {failure}"));
    assert!(handshakes >= load.handshakes && count > 10 && asked > load.connections);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// How often Prometheus has looked, and whether it was answered every time.
async fn looked(prometheus: &Prometheus) -> (f64, bool) {
    let value = async |query: &str| prometheus.query(query).await.first().map_or(0.0, |(_, value)| *value);
    let count = value("count_over_time(up[1h])").await;
    (count, value("min_over_time(up[1h]) == bool 1").await > 0.5)
}

/// Waits until the kubelet has brought a file as it is wished, and Prometheus has looked with it.
async fn brought(prometheus: &Prometheus, file: &Path, wish: impl Fn(&str) -> bool) {
    let began = Instant::now();
    while !wish(&std::fs::read_to_string(file).unwrap()) {
        assert!(began.elapsed() < PHASE, "the kubelet does not bring {}", file.display());
        sleep(Duration::from_millis(200)).await;
    }
    let (before, _) = looked(prometheus).await;
    // The next look may have begun before.
    while looked(prometheus).await.0 < before + 2.0 {
        assert!(began.elapsed() < PHASE, "Prometheus does not look: {}", prometheus.failure().await);
        sleep(Duration::from_millis(200)).await;
    }
}

/// A pod of somebody's own that has bob's bundle mounted; the folder as that pod sees it.
async fn mounted(door: &Door) -> PathBuf {
    let name = format!("caller-{}", door.namespace);
    let pod = include_str!("../real/caller.yaml").replace("{{name}}", &name);
    door.kubectl(&["apply", "-f", "-"], Some(&pod)).await;
    door.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=180s"], None).await;
    Path::new("/proc").join(Process::of_pod(&name).0.to_string()).join("root/bundle")
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_a_mounted_bundle_go_through_a_rotation_without_a_failure() {
    let spec = |publish: &str, retire: &str| {
        format!(
            "clients: [{{name: bob}}]
pki: {{ca: {{publishFor: {publish}, retireAfter: {retire}}}}}
backends: [{{name: httpbin, match: {{pathPrefix: /}}, service: {{name: httpbin, port: 80}}}}]"
        )
    };
    let door = Arc::new(Door::ready(&spec("1h", "1h")).await);
    let bundle = mounted(&door).await;
    door.until_code(&bundle, "/status/200", "200").await;
    let address = format!("{}:443", door.address().await);
    // The backend answers with `answer 1`, which is a metric.
    let path = "/base64/YW5zd2VyIDEK";
    let prometheus = Prometheus::looking(&door.host(), &address, path, &bundle).await;
    let first = until(&door, |ca| ca.phase == RotationPhase::Stable).await;
    let before = std::fs::read_to_string(bundle.join("tls.crt")).unwrap();

    let over = CancellationToken::new();
    let tools = {
        let (door, bundle, over) = (Arc::clone(&door), bundle.clone(), over.clone());
        tokio::spawn(async move { come_by_tools(&door, Some(bundle), over).await })
    };
    begin(&door, &first).await;
    let roots = |count: usize| move |text: &str| text.matches("BEGIN CERTIFICATE").count() == count;
    brought(&prometheus, &bundle.join("ca.crt"), roots(2)).await;
    door.apply(&spec("1s", "1h")).await;
    brought(&prometheus, &bundle.join("tls.crt"), |text| text != before).await;
    door.apply(&spec("1s", "1s")).await;
    until(&door, |ca| ca.phase == RotationPhase::Stable && ca.generation > first.generation).await;
    brought(&prometheus, &bundle.join("ca.crt"), roots(1)).await;
    over.cancel();
    let (count, failed) = tools.await.unwrap();
    let (looks, always) = looked(&prometheus).await;
    println!("{count} of curl and grpcurl, {} failed; {looks} of Prometheus", failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 10, "{count} are too few to say anything");
    assert!(always, "Prometheus was not always answered: {}", prometheus.failure().await);

    // What it had open may have outlived all of it. With these pods gone, it comes anew.
    let pods = door.pods().await;
    let gone: Vec<_> = ["delete", "pod"].into_iter().chain(pods.iter().map(String::as_str)).collect();
    door.kubectl(&gone, None).await;
    door.until_ready().await;
    let began = Instant::now();
    while prometheus.query("up").await.first().is_none_or(|(_, up)| *up < 0.5) {
        assert!(began.elapsed() < PATIENCE, "{}", prometheus.failure().await);
        sleep(Duration::from_millis(200)).await;
    }
}
