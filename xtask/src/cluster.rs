//! A whole Kubernetes cluster on this machine, in namespaces of its own.
//!
//! Every process of a cluster lives in one process namespace below one first process, with a mount and a network namespace of its
//! own. So the end of that first process is the end of all of it, containers and mounts included, whatever state they are in;
//! only the named network namespace, the cgroups and the state folder are left to remove. The network namespace also
//! keeps the machine's addresses, routes and packet filter as they are, and lets every cluster use the same addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::go::Module;
use crate::{cache, command};

pub(crate) mod cli;

mod certificates;
mod cgroups;
mod control_plane;
mod dns;
mod health;
mod lock;
mod namespaces;
mod node;
mod process;
mod teardown;
mod up;

pub(crate) use up::Extent;

/// API server, node and registry address: an alias on the namespace's own loopback.
pub(crate) const ADDRESS: &str = "10.255.0.1";
const NODE: &str = "node1";
const SERVICES: &str = "10.96.0.0/16";
/// For Services that ask for it; nothing goes there.
const SERVICES_V6: &str = "fd00:10:96::/112";
const DNS_ADDRESS: &str = "10.96.0.10";
const PODS: &str = "10.244.0.0/16";

/// Where clusters keep their state: short, because a Unix socket's path is limited to 107 bytes, and not in `/run`, which
/// is too small for images.
const STATES: &str = "/var/lib/portcullis";

/// A cluster by its name, whether it is up or not.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    name: String,
}

impl Cluster {
    /// The cluster of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            (1..=24).contains(&name.len())
                && name.chars().all(fits)
                && !name.starts_with('-')
                && !name.ends_with('-'),
            "a cluster's name is at most 24 of a-z, 0-9 and '-', not '{name}'"
        );
        Ok(Self { name: name.to_owned() })
    }

    /// Every cluster that left a state folder on this machine.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let entries = match fs::read_dir(STATES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("failed to read {STATES}"))?,
        };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names.iter().map(|name| Self::named(name)).collect()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig of its administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.pki().join("admin.kubeconfig")
    }

    /// The folder with its components' logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state().join("logs")
    }

    fn state(&self) -> PathBuf {
        Path::new(STATES).join(&self.name)
    }

    fn pki(&self) -> PathBuf {
        self.state().join("pki")
    }

    fn containerd_socket(&self) -> PathBuf {
        self.state().join("containerd.sock")
    }

    /// The name of its network namespace, and of its cgroup.
    fn netns(&self) -> String {
        format!("portcullis-{}", self.name)
    }

    /// A command in the cluster's network, with its kubeconfig and the programs that talk to it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let network = Path::new("/run/netns").join(self.netns());
        if !network.exists() {
            bail!("there is no cluster '{0}': start it with `cargo xtask cluster up --name {0}`", self.name);
        }
        let kubernetes = Module::Kubernetes.programs()?;
        let mut folders = vec![kubernetes];
        for module in [Module::Helm, Module::Tools] {
            folders.extend(module.programs_if_built()?);
        }
        let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net={}", network.display()))
            .arg("--")
            .arg(program)
            .env("PATH", command::search_path(&folders))
            .env("KUBECONFIG", self.kubeconfig());
        Ok(inside)
    }

    /// `kubectl` with these arguments.
    pub(crate) fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Command> {
        let mut kubectl = self.command("kubectl")?;
        kubectl.args(arguments);
        Ok(kubectl)
    }

    /// A folder for what runs beside the cluster, gone with it.
    pub(crate) fn guests_folder(&self) -> PathBuf {
        self.state().join("guests")
    }

    /// Starts a program that belongs to no cluster, inside of the namespaces, so that it ends with them.
    pub(crate) fn start_guest(&self, name: &'static str, program: &Path, arguments: &[String]) -> Result<()> {
        self.start(name, program, arguments).map(drop)
    }

    /// Puts image archives where the kubelet finds them.
    pub(crate) fn load(&self, archive: &Path) -> Result<()> {
        ensure!(self.containerd_socket().exists(), "cluster '{}' has no node to load images into", self.name);
        // It ends with us: without a containerd it would try for ever.
        command::run(
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "--", "ctr", "--address"])
                .arg(self.containerd_socket())
                .args(["--namespace", "k8s.io", "images", "import"])
                .arg(archive),
        )
        .with_context(|| format!("failed to load {}", archive.display()))
    }

    /// The same, unless the last archive of this name had the same bytes; says whether it was new.
    pub(crate) fn load_if_new(&self, archive: &Path) -> Result<bool> {
        let bytes = fs::read(archive).with_context(|| format!("failed to read {}", archive.display()))?;
        let folder = self.state().join("loaded");
        let mark = folder.join(archive.file_name().context("an archive without a name")?);
        let content = cache::key([bytes.as_slice()]);
        if fs::read_to_string(&mark).is_ok_and(|loaded| loaded == content) {
            return Ok(false);
        }
        self.load(archive)?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&mark, &content))
            .context("failed to note what was loaded")?;
        Ok(true)
    }
}

/// Whether a node on this machine could keep its pods in control groups of their own.
pub(crate) fn may_make_cgroups() -> bool {
    let trial = format!("portcullis-trial-{}", std::process::id());
    let made = cgroups::make(&trial).is_ok();
    cgroups::remove(&trial).is_ok() && made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_namespaces_and_folders_can_bear() {
        for name in ["portcullis", "test-api", "a", "0"] {
            assert_eq!(Cluster::named(name).unwrap().name(), name);
        }
        for name in ["", "-a", "a-", "A", "a/b", "..", "a b", "a-name-that-is-far-too-long"] {
            assert!(Cluster::named(name).is_err(), "{name}");
        }
    }
}
