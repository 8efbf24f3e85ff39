//! The local cluster's life, by the real program: start, use, kill, start again, side by side, and nothing left behind.
//!
//! These need root and minutes, so `cargo xtask test` runs them in a tier of their own; a bare `cargo test` does not.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn well(arguments: &[&str]) -> String {
    let output = xtask(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

/// A cluster of this test, taken down whatever becomes of the test.
struct Cluster(&'static str);

impl Cluster {
    fn of(name: &'static str) -> Self {
        well(&["cluster", "down", "--name", name]);
        Self(name)
    }

    fn up(&self, more: &[&str]) -> String {
        well(&[&["cluster", "up", "--name", self.0], more].concat())
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        well(&[&["cluster", "run", "--name", self.0, "--", "kubectl"], arguments].concat())
    }

    fn down(&self) {
        well(&["cluster", "down", "--name", self.0]);
    }

    /// What stays of it. A client that an end by force has left alone notices a moment later that nobody is there.
    fn leftovers(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let found = self.look();
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Processes, by the paths that only this cluster's have in their arguments, and whatever else can stay.
    fn look(&self) -> Vec<String> {
        let (state, network) = (format!("/var/lib/portcullis/{}/", self.0), format!("portcullis-{}", self.0));
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            if arguments.contains(&state) || arguments.contains(&format!("/run/netns/{network} ")) {
                found.push(arguments);
            }
        }
        for mount in std::fs::read_to_string("/proc/self/mounts").unwrap().lines() {
            if mount.contains(&state) || mount.contains(&network) {
                found.push(mount.to_owned());
            }
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            for group in [hierarchy.path(), hierarchy.path().join(&network)] {
                if group.ends_with(&network) && group.exists() {
                    found.push(group.display().to_string());
                }
            }
        }
        for path in [state.trim_end_matches('/').to_owned(), format!("/run/netns/{network}")] {
            if Path::new(&path).exists() {
                found.push(path);
            }
        }
        found
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        xtask(&["cluster", "down", "--name", self.0]);
    }
}

#[test]
#[ignore = "starts a cluster: cargo xtask test --tier cluster"]
fn an_api_server_starts_answers_and_leaves_nothing() {
    let cluster = Cluster::of("life-api");
    cluster.up(&["--api-only"]);
    assert!(cluster.kubectl(&["get", "namespaces", "-o", "name"]).contains("namespace/kube-system"));
    assert!(cluster.up(&["--api-only"]).contains("is up already"));
    cluster.down();
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "starts a cluster: cargo xtask test --tier cluster"]
fn a_cluster_killed_at_any_moment_of_its_start_starts_again_and_leaves_nothing() {
    let cluster = Cluster::of("life-kill");
    for after in [20, 150, 400, 1_500, 4_000, 6_000] {
        let mut up = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["cluster", "up", "--name", cluster.0])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_millis(after);
        while Instant::now() < deadline && up.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        up.kill().unwrap();
        up.wait().unwrap();
        if after % 400 == 0 {
            cluster.up(&["--api-only"]);
            cluster.kubectl(&["get", "namespaces"]);
        }
        cluster.down();
        assert_eq!(cluster.leftovers(), Vec::<String>::new(), "killed after {after} ms");
    }
}

#[test]
#[ignore = "starts a cluster: cargo xtask test --tier cluster"]
fn clusters_run_side_by_side_and_the_end_of_one_is_not_the_others() {
    let (one, other) = (Cluster::of("life-one"), Cluster::of("life-other"));
    std::thread::scope(|scope| {
        scope.spawn(|| one.up(&[]));
        scope.spawn(|| other.up(&[]));
    });
    one.kubectl(&["create", "namespace", "only-here"]);
    one.down();
    assert_eq!(one.leftovers(), Vec::<String>::new());
    assert!(!other.kubectl(&["get", "namespaces", "-o", "name"]).contains("only-here"));
    let ready = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"];
    other.kubectl(&ready);
    other.kubectl(&["-n", "kube-system", "delete", "pods", "--all"]);
    other.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=240s"]);
}

#[test]
#[ignore = "starts a cluster: cargo xtask test --tier cluster"]
fn a_cluster_whose_component_died_is_started_anew() {
    let cluster = Cluster::of("life-dead");
    cluster.up(&["--api-only"]);
    let record = std::fs::read_to_string("/var/lib/portcullis/life-dead/components/kube-apiserver").unwrap();
    let pid = record.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(Command::new("sh").args(["-c", "kill -KILL $0", &pid]).status().unwrap().success());
    let said = cluster.up(&["--api-only"]);
    assert!(said.contains("taken down first"), "{said}");
    cluster.kubectl(&["get", "namespaces"]);
}

/// A registry within a cluster's network, where nodes find it as they would one of the cluster's owner; it ends with this.
struct Registry {
    child: Child,
    folder: PathBuf,
}

impl Registry {
    fn of(cluster: &Cluster) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-registry-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("registry.yaml");
        let store = folder.join("store").display().to_string();
        let configuration = format!(
            "version: '0.1'\nstorage: {{filesystem: {{rootdirectory: {store}}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n"
        );
        std::fs::write(&file, configuration).unwrap();
        // `cluster run` becomes the program: its end is ours to bring about.
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["cluster", "run", "--name", cluster.0, "--", "docker-registry", "serve"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, folder };
        let deadline = Instant::now() + Duration::from_mins(1);
        let ask = ["cluster", "run", "--name", cluster.0, "--", "curl", "-sf", "http://localhost:5000/v2/"];
        while !xtask(&ask).status.success() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            std::thread::park_timeout(Duration::from_millis(100));
        }
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[test]
#[ignore = "starts a cluster: cargo xtask test --tier cluster"]
fn the_demo_runs_on_a_cluster_that_it_did_not_make_and_again_and_leaves_it_as_it_was() {
    let cluster = Cluster::of("life-theirs");
    cluster.up(&[]);
    let registry = Registry::of(&cluster);
    // All that the demo is told is what somebody with a cluster has: a kubeconfig's context and a registry.
    let own = env!("CARGO_BIN_EXE_xtask");
    let demo = ["demo", "--context", cluster.0, "--registry", "localhost:5000"];
    let within =
        |arguments: &[&str]| well(&[&["cluster", "run", "--name", cluster.0, "--"], arguments].concat());
    let there_before = cluster.kubectl(&["get", "namespaces,crds,clusterroles", "-o", "name"]);
    let first = within(&[&[own], demo.as_slice()].concat());
    for shown in ["\"x\": [", "web.demo.example.com", "client/alice", "certificate required"] {
        assert!(first.contains(shown), "{shown} is missing in {first}");
    }
    let pods = |namespace| {
        let name = "jsonpath={.items[*].metadata.uid} {.items[*].spec.containers[*].image}";
        cluster.kubectl(&["-n", namespace, "get", "pods", "-o", name])
    };
    let (operator, gateway) = (pods("portcullis-system"), pods("demo"));
    assert!(operator.contains("localhost:5000/portcullis-operator:dev-"), "{operator}");
    assert!(gateway.contains("localhost:5000/portcullis-gateway:dev-"), "{gateway}");
    within(&[&[own], demo.as_slice()].concat());
    assert_eq!(
        (pods("portcullis-system"), pods("demo")),
        (operator, gateway),
        "nothing is new: nobody is replaced"
    );

    // As the demo itself says at its end.
    let told: Vec<_> = first.lines().skip_while(|line| !line.starts_with("stop:")).take(3).collect();
    assert!(told.len() == 3 && told[1].contains("helm --kube-context"), "{first}");
    for line in told {
        let line = line.trim_start_matches("stop:").trim();
        within(&["sh", "-ec", &format!("cd {}/.. && {line}", env!("CARGO_MANIFEST_DIR"))]);
    }
    drop(registry);
    assert_eq!(cluster.kubectl(&["get", "namespaces,crds,clusterroles", "-o", "name"]), there_before);
}
