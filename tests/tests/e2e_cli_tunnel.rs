//! From a port of this machine to a public name that answers, by the real command line and the gateway's API alone.

use std::process::Stdio;
use std::time::Instant;

use portcullis_tests::command::Home;
use portcullis_tests::door::Door;
use portcullis_tests::tunnel::{code, service, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SPEC: &str = "
tunnels: {domain: t.example.com}
clients: [{name: laptop, user: alice, roles: [user], scopes: ['tunnel:read', 'tunnel:write', 'project:read']}]
";

/// `tunnel listen -o json`, and the events that it prints.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<Value>,
}

impl Listening {
    fn begin(home: &Home, arguments: &[&str]) -> Self {
        let arguments = [&["tunnel", "listen", "-o", "json"], arguments].concat();
        let mut command = home.portcullis(&arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// The next event of this kind; those before it are kept.
    async fn until(&mut self, event: &str) -> Value {
        let waiting = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("no {event} after {:#?}", self.seen));
                let seen: Value = serde_json::from_str(&line).unwrap();
                self.seen.push(seen.clone());
                if seen["event"] == event {
                    return seen;
                }
            }
        };
        tokio::time::timeout(portcullis_tests::PATIENCE, waiting).await.expect(event)
    }

    async fn interrupt(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    }

    /// Ctrl-C, and what is said then.
    async fn stop(mut self) -> Value {
        self.interrupt().await;
        let stopped = self.until("stopped").await;
        assert!(self.child.wait().await.unwrap().success());
        stopped
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_lead_from_a_machine_that_knows_nothing_to_a_url_that_answers() {
    let door = Door::ready(SPEC).await;
    let (home, bundle) = (Home::new(), door.bundle("laptop").await);
    let began = Instant::now();
    home.well(&["gateway", "add", "--from-kube", &format!("{}/door", door.namespace)]).await;
    println!("gateway add: {:?}", began.elapsed());
    let (mut httpbin, port) = service().await;
    let (port, began) = (port.to_string(), Instant::now());
    let mut listening = Listening::begin(&home, &["--endpoint", &port, "--public", "--label", "web"]);
    let url = listening.until("url").await;
    println!("tunnel listen to its URL: {:?}; first byte after {} ms", began.elapsed(), url["firstByteMs"]);
    assert_eq!(url["url"], "https://web.t.example.com");
    let steps: Vec<_> =
        listening.seen.iter().filter(|it| it["event"] == "done").map(|it| &it["step"]).collect();
    assert_eq!(steps, ["accepted", "programmed", "connected", "reachable"], "{:#?}", listening.seen);
    assert_eq!(listening.seen[0]["created"], true);

    let name = "web.t.example.com";
    assert_eq!(code(&door, &bundle, name, "/status/204?secret=1").await, "204");
    let request = listening.until("request").await;
    assert_eq!(
        (&request["method"], &request["path"], &request["status"]),
        (&json!("GET"), &json!("/status/204"), &json!(204)),
        "and nothing of what stands behind the question mark"
    );

    // What others are told meanwhile, which changes nothing.
    let listed = home.json(&["tunnel", "list"]).await;
    assert_eq!(listed["items"][0]["ready"], "True", "{listed}");
    let tunnel = listed["items"][0]["name"].as_str().unwrap().to_owned();
    let status = home.json(&["tunnel", "status", "--wait"]).await;
    assert_eq!((&status["createdBy"], &status["public"]), (&json!("alice"), &json!(true)), "{status}");
    let table = home.well(&["tunnel", "list"]).await;
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    let well = home.well(&["tunnel", "doctor"]).await;
    assert!(!well.contains("broken") && well.contains("name resolution"), "{well}");
    let projects = home.json(&["project", "list"]).await;
    assert_eq!(projects["items"][0]["name"], json!(door.namespace));
    assert!(home.fails(&["project", "switch", "elsewhere"], 3).await.contains(&door.namespace));

    // The hop that breaks is named.
    httpbin.0.kill().await.unwrap();
    until(&door.client, &door.namespace, &tunnel, ["Reachable", "False", "ProbeFailed"]).await;
    let broken = home.fails(&["tunnel", "doctor", &tunnel], 5).await;
    assert!(
        broken.contains("the hop endpoint is broken") && broken.contains("start the service"),
        "{broken}"
    );

    let stopped = listening.stop().await;
    assert!(stopped["requests"].as_u64().unwrap() >= 1, "{stopped}");
    until(&door.client, &door.namespace, &tunnel, ["Ready", "False", "Disabled"]).await;
    assert_eq!(code(&door, &bundle, name, "/").await, "503");

    // The same endpoint takes up the same Tunnel, with the name that it had.
    let mut again = Listening::begin(&home, &["--endpoint", &format!("localhost:{port}")]);
    let found = again.until("tunnel").await;
    assert_eq!(
        (&found["name"], &found["created"], &found["changed"]),
        (&json!(tunnel), &json!(false), &json!(true)),
        "{found}"
    );
    assert_eq!(again.until("done").await["message"], name);
    again.stop().await;

    home.well(&["tunnel", "update", "--label", "shop"]).await;
    let renamed = until(&door.client, &door.namespace, &tunnel, ["Accepted", "True", "Accepted"]).await;
    assert_eq!(renamed.status.unwrap().hostnames, ["shop.t.example.com"]);
    home.well(&["tunnel", "delete"]).await;
    assert_eq!(home.json(&["tunnel", "list"]).await["items"], json!([]));
    assert!(home.fails(&["tunnel", "status", &tunnel], 3).await.contains(&tunnel));
    assert!(home.fails(&["tunnel", "status"], 2).await.contains("no tunnel was listened for yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_in_the_background_is_found_again_and_shown_until_it_is_stopped() {
    let door = Door::ready(SPEC).await;
    let home = Home::new();
    home.well(&["gateway", "add", "--from-kube", &format!("{}/door", door.namespace)]).await;
    let (_httpbin, port) = service().await;
    let endpoint = port.to_string();
    let listen = ["tunnel", "listen", "--detach", "--endpoint", &endpoint, "--public", "--label", "web"];
    let first = home.json(&listen).await;
    let pid = first["pid"].as_u64().unwrap();
    // Whatever this test comes to, nothing of it lives on.
    let stop = || std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success();
    let looked = async {
        assert_eq!(first["url"], "https://web.t.example.com", "{first}");
        assert_eq!(
            code(&door, &door.bundle("laptop").await, "web.t.example.com", "/status/204").await,
            "204"
        );
        let again = home.json(&listen).await;
        assert_eq!(again, first, "a second run finds it");
        let shown = home.json(&["tunnel", "list"]).await;
        assert_eq!(shown["items"][0]["process"]["pid"], json!(pid), "{shown}");
        let told = home.well(&["tunnel", "status"]).await;
        assert!(told.contains(&format!("process {pid} on this machine")) && told.contains(".log"), "{told}");
        let log = std::fs::read_to_string(first["log"].as_str().unwrap()).unwrap();
        assert!(log.contains("https://web.t.example.com"), "{log}");
    };
    let looked = std::panic::AssertUnwindSafe(looked);
    let outcome = futures::FutureExt::catch_unwind(looked).await;
    assert!(stop());
    if let Err(why) = outcome {
        std::panic::resume_unwind(why);
    }
    let name = first["name"].as_str().unwrap();
    until(&door.client, &door.namespace, name, ["Ready", "False", "Disabled"]).await;
    let began = Instant::now();
    while home.json(&["tunnel", "list"]).await["items"][0].get("process").is_some() {
        assert!(began.elapsed() < portcullis_tests::PATIENCE, "the process has not ended");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_in_words_with_a_code_of_its_own() {
    let door = Door::ready(SPEC).await;
    let home = Home::new();
    let unchosen = home.fails(&["tunnel", "list"], 3).await;
    assert!(unchosen.contains("gateway add"), "{unchosen}");
    home.well(&["gateway", "add", "--from-kube", &format!("{}/door", door.namespace)]).await;
    let wrong = home.fails(&["tunnel", "listen", "--endpoint", "ftp://localhost:21"], 2).await;
    assert!(wrong.contains("such as 3000"), "{wrong}");
    // Visitors cannot say who they are where the Gateway believes nobody's tokens.
    let closed = home.fails(&["tunnel", "listen", "--endpoint", "1"], 7).await;
    assert!(closed.contains("spec.oidc") && closed.contains("--public"), "{closed}");
    let outside =
        ["tunnel", "listen", "--endpoint", "1", "--public", "--hostname", "www.elsewhere.example.com"];
    let outside = home.fails(&outside, 7).await;
    assert!(outside.contains("t.example.com"), "{outside}");
    // What came to nothing leaves nothing.
    assert_eq!(home.json(&["tunnel", "list"]).await["items"], json!([]));
    assert!(home.fails(&["tunnel", "update", "nothing"], 2).await.contains("nothing to change"));
    assert!(home.fails(&["tunnel", "delete", "nothing"], 3).await.contains("nothing"));
    // Nobody learns more of a stranger's project than that it is none of theirs.
    let foreign = home.fails(&["tunnel", "list", "--project", "kube-system"], 4).await;
    assert!(foreign.contains("its own namespace only"), "{foreign}");
}
