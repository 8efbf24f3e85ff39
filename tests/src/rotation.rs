//! A rotation as it is seen from outside, and stock programs that come all the while. End-to-end tests only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Api;
use portcullis_api::{AuthorityStatus, Gateway, RotationPhase};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::door::{Door, text};

/// Whatever a phase waits for is there by then: the kubelet takes a minute or two to bring a Secret.
pub const PHASE: Duration = Duration::from_mins(8);

/// Waits until the authority is as wished, and prints the phases that it goes through.
pub async fn until(door: &Door, wish: impl Fn(&AuthorityStatus) -> bool) -> AuthorityStatus {
    let gateways: Api<Gateway> = Api::namespaced(door.client.clone(), &door.namespace);
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

/// Rotates by hand, to the end; the authority after it.
pub async fn rotate(door: &Door, last: &AuthorityStatus) -> AuthorityStatus {
    begin(door, last).await;
    let ended =
        |ca: &AuthorityStatus| ca.phase == RotationPhase::Stable && ca.generation == last.generation + 1;
    let new = until(door, ended).await;
    assert_ne!(new.fingerprint, last.fingerprint);
    new
}

/// Asks for the next authority after this one.
pub async fn begin(door: &Door, last: &AuthorityStatus) {
    let rotate = format!("portcullis.dev/rotate=to-{}", last.generation + 1);
    door.kubectl(&["annotate", "--overwrite", "gateway", "door", &rotate], None).await;
}

/// `curl` and `grpcurl` come in turns until this is over, each time with what is in bob's Secret by then, or in the folder
/// where it is mounted: how often, and what failed.
pub async fn come_by_tools(
    door: &Door,
    mounted: Option<PathBuf>,
    over: CancellationToken,
) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    while !over.is_cancelled() {
        let bundle = match &mounted {
            Some(folder) => folder.clone(),
            None => door.bundle("bob").await,
        };
        // Whoever reads while the kubelet puts another one in its place may hold the certificate of one and the key of the
        // other.
        let mount = || std::fs::read_link(bundle.join("..data")).ok();
        let before = mount();
        let came = comes_by_tool(door, count, &bundle).await;
        if before == mount() {
            failed.extend(came.err());
        }
        count += 1;
    }
    (count, failed)
}

/// Where the backend was not reached, `curl` asks once more: what is looked at here is the way in.
async fn comes_by_tool(door: &Door, number: usize, bundle: &Path) -> Result<(), String> {
    let (tool, output) = if number.is_multiple_of(2) {
        ("curl", door.curl(Some(bundle), "/status/200", &["--fail", "--retry", "1"]).await)
    } else {
        ("grpcurl", door.grpcurl(bundle, "portcullis.gateway.v1.Gateway/WhoAmI").await)
    };
    if output.status.success() { Ok(()) } else { Err(format!("{tool}: {}", text(&output.stderr))) }
}
