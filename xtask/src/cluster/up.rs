//! Starting a cluster, from whatever an earlier start left.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::health::Health;
use crate::cluster::lock::Lock;
use crate::cluster::namespaces::Component;
use crate::cluster::{Cluster, NODE, certificates, control_plane, dns, health, node, teardown};
use crate::go::Module;
use crate::{command, prerequisites, say, wait};

const LIMIT: Duration = Duration::from_secs(90);

/// How much of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// The store and the API server.
    ApiOnly,
    /// All of it, with a node that runs pods.
    Node,
}

impl Cluster {
    /// Starts it. One that is up and well is left alone; one that is half dead is taken down first.
    pub(crate) fn up(&self, extent: Extent) -> Result<()> {
        prerequisites::check(extent)?;
        let programs = Programs::built(extent)?;
        let lock = Lock::take(self)?;
        match health::of(self, extent, &programs.name()) {
            Health::Well => {
                say::note(format!("        cluster '{}' is up already", self.name()));
                return Ok(());
            }
            Health::Broken => {
                let step = say::step(format!(
                    "cluster '{}' is half dead or of another kind: taken down first",
                    self.name()
                ));
                teardown::remove(self)?;
                step.done();
            }
            Health::Absent => {}
        }
        let began = std::time::Instant::now();
        self.start_all(extent, &programs, &lock).with_context(|| {
            format!(
                "cluster '{0}' did not start; `cargo xtask cluster down --name {0}` removes what there is",
                self.name()
            )
        })?;
        fs::write(self.state().join("extent"), format!("{extent:?} {}", programs.name()))
            .context("failed to note it")?;
        say::note(format!("{}  cluster '{}' is up", say::seconds(began.elapsed()), self.name()));
        Ok(())
    }

    /// What was started, once it was all there.
    pub(super) fn extent(&self) -> Option<(Extent, String)> {
        let noted = fs::read_to_string(self.state().join("extent")).ok()?;
        let (extent, programs) = noted.split_once(' ')?;
        let extent =
            [Extent::ApiOnly, Extent::Node].into_iter().find(|known| format!("{known:?}") == extent)?;
        Some((extent, programs.to_owned()))
    }

    fn start_all(&self, extent: Extent, programs: &Programs, lock: &Lock) -> Result<()> {
        let step = say::step("namespaces and certificates");
        self.make_namespaces(lock)?;
        certificates::make(self)?;
        step.done();

        let step = say::step("API server");
        let mut running = control_plane::start_api(self, extent, &programs.etcd, &programs.kubernetes)?;
        if extent == Extent::Node {
            let mut containerd = node::start_runtime(self)?;
            node::load_images(self, &programs.images, &mut containerd)?;
            running.push(containerd);
        }
        self.until_ok("the API server", &mut running, "kube-apiserver", &["get", "--raw", "/readyz"])?;
        step.done();
        if extent == Extent::ApiOnly {
            return Ok(());
        }

        let step = say::step(format!("node {NODE}"));
        running.extend(control_plane::start_controllers(self, &programs.kubernetes)?);
        running.extend(node::start_node(self, &programs.kubernetes)?);
        dns::install(self)?;
        self.until_ok("the node", &mut running, "kubelet", &["get", "node", NODE])?;
        let ready = ["wait", "--for=condition=Ready", "node/node1", "--timeout=1s"];
        self.until_ok("the node", &mut running, "kubelet", &ready)?;
        step.done();

        let step = say::step("cluster DNS");
        let account = ["-n", "default", "get", "serviceaccount", "default"];
        self.until_ok("the first service account", &mut running, "kube-controller-manager", &account)?;
        let rollout = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=2s"];
        self.until_ok("cluster DNS", &mut running, "kubelet", &rollout)?;
        step.done();
        Ok(())
    }

    /// Waits until `kubectl` ends well; a component that ends meanwhile, or the one that is to blame, has the last word.
    fn until_ok(
        &self,
        what: &str,
        running: &mut [Component],
        blamed: &str,
        arguments: &[&str],
    ) -> Result<()> {
        let waited = wait::until(what, LIMIT, || {
            running.iter_mut().try_for_each(Component::still_runs)?;
            Ok(command::succeeds(&mut self.kubectl(arguments.iter().copied())?).then_some(()))
        });
        waited.with_context(|| {
            let blamed = running.iter().find(|component| component.name() == blamed);
            blamed.map_or_else(String::new, |component| {
                format!("{}:\n{}", component.name(), component.last_words())
            })
        })
    }
}

/// All that a cluster is started from.
struct Programs {
    kubernetes: PathBuf,
    etcd: PathBuf,
    images: Vec<PathBuf>,
}

impl Programs {
    fn built(extent: Extent) -> Result<Self> {
        Module::Pause.programs()?;
        Ok(Self {
            kubernetes: Module::Kubernetes.programs()?,
            etcd: Module::Etcd.programs()?,
            images: if extent == Extent::Node { dns::images()? } else { Vec::new() },
        })
    }

    /// Tells one build of the programs from another.
    fn name(&self) -> String {
        let folders = [&self.kubernetes, &self.etcd];
        folders.map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned()).join("+")
    }
}
