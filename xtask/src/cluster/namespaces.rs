//! The cluster's namespaces: a network that has a name, and processes and mounts that live as long as the first process.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cluster::lock::Lock;
use crate::cluster::process::{Process, RECORD_AND_RUN};
use crate::cluster::{ADDRESS, Cluster, SERVICES};
use crate::go::Module;
use crate::{command, wait};

/// What the first process does before it becomes `pause`: private folders over those that containerd, kubelet and the
/// network plugins hard-code, so that clusters do not meet in them and nothing stays in them.
const ARRANGE: &str = r#"
set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 portcullis /run
mount --bind "$1/kubelet" /var/lib/kubelet
mount --bind "$1/cni-cache" /var/lib/cni
mount --bind "$1/var-log" /var/log
: >"$1/arranged"
exec "$2""#;

impl Cluster {
    /// The file that names the first process.
    fn record(&self) -> PathBuf {
        self.state().join("first-process")
    }

    /// The process outside that holds the cluster's first process.
    pub(super) fn holder(&self) -> Option<Process> {
        Process::recorded(&self.record())
    }

    /// Every component that was started, as it is seen from outside.
    pub(super) fn components(&self) -> Vec<Process> {
        let records = fs::read_dir(self.state().join("components")).into_iter().flatten().flatten();
        records.filter_map(|record| Process::recorded(&record.path())).collect()
    }

    /// Makes the namespaces.
    pub(super) fn make_namespaces(&self, lock: &Lock) -> Result<()> {
        let state = self.state();
        for folder in ["pki", "logs", "components", "kubelet", "cni-cache", "var-log"] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        command::run(Command::new("chmod").arg("700").arg(&state))?;
        for mount_point in ["/var/lib/kubelet", "/var/lib/cni"] {
            fs::create_dir_all(mount_point).with_context(|| format!("failed to make {mount_point}"))?;
        }
        let name = self.netns();
        command::run(Command::new("ip").args(["netns", "add", &name]))?;
        let network = format!("--net=/run/netns/{name}");
        // Service addresses are rewritten on their way out. No interface gets an IPv6 address by itself: such addresses would
        // come and go with the pods, and a browser in here begins anew with each.
        let arrange = format!(
            "set -e; ip link set lo up; ip addr add {ADDRESS}/32 dev lo; ip route add {SERVICES} dev lo src {ADDRESS}; \
             echo 1 >/proc/sys/net/ipv4/ip_forward; \
             for off in /proc/sys/net/ipv6/conf/default/disable_ipv6; do [ ! -e $off ] || echo 1 >$off; done"
        );
        command::run(Command::new("nsenter").args([&network, "sh", "-c", &arrange]))?;

        let pause = Module::Pause.programs()?.join("pause");
        let log = self.logs().join("first-process.log");
        Command::new("sh")
            .args(["-c", RECORD_AND_RUN])
            .arg(self.record())
            .args(["nsenter", &network])
            .args([
                "unshare",
                "--mount",
                "--propagation=private",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", ARRANGE, "sh"])
            .args([&state, &pause])
            .process_group(0)
            .stdin(lock.lent()?)
            .stdout(File::create(&log).context("failed to make a log")?)
            .stderr(File::create(&log).context("failed to make a log")?)
            .spawn()
            .context("failed to start the first process")?;
        wait::until_true("the first process", Duration::from_secs(10), || state.join("arranged").exists())
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())
    }

    /// A command inside all of the namespaces.
    pub(super) fn inside(&self, program: &std::path::Path) -> Result<Command> {
        let Some(holder) = self.holder().filter(Process::alive) else {
            bail!("cluster '{}' has no first process any more", self.name())
        };
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net=/run/netns/{}", self.netns()))
            .arg(format!("--mount=/proc/{}/ns/mnt", holder.pid()))
            .arg(format!("--pid=/proc/{}/ns/pid_for_children", holder.pid()))
            .arg("--")
            .arg(program)
            .env("PATH", command::search_path(&[]));
        Ok(inside)
    }

    /// Starts a component in the background, with its log.
    pub(super) fn start(
        &self,
        name: &'static str,
        program: &std::path::Path,
        arguments: &[String],
    ) -> Result<Component> {
        let log = self.logs().join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
        let child = self
            .inside(program)?
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("failed to share a log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        Process::record(child.id(), &self.state().join("components").join(name))?;
        Ok(Component { name, child, log })
    }
}

/// A component that this run started.
#[derive(Debug)]
pub(super) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Fails with the end of its log if it has ended.
    pub(super) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait().context("failed to look at a component")? {
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        format!("{}\n(all of it: {})", command::tail(&String::from_utf8_lossy(&said), 20), self.log.display())
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}
