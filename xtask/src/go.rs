//! The Go programs that a cluster is made of, built from the modules pinned in `xtask/cluster/go`.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{cache, command, say, workspace};

/// The toolchain that Kubernetes 1.36 wants; Go fetches it as a module where the machine's own is of another minor.
const TOOLCHAIN: &str = "go1.26.8";

/// One Go module of ours, which pins one set of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// API server, controller manager, scheduler, kubelet, kube-proxy, kubectl.
    Kubernetes,
    /// The API server's store.
    Etcd,
    /// Cluster DNS.
    CoreDns,
    /// The chart's installer.
    Helm,
    /// The one before it, which many use still; as `helm3`.
    Helm3,
    /// The process that holds namespaces open.
    Pause,
    /// Clients and backends that nobody here wrote: `go-httpbin`, `grpcurl`, `grpc-health-probe`.
    Tools,
    /// The gRPC project's own client and server for interoperability tests.
    Interop,
    /// What Flux makes of an object.
    Kstatus,
    /// What Argo CD makes of an object.
    Argo,
    /// What Tilt makes of the Tiltfile.
    Tilt,
    /// The OpenTelemetry project's collector of traces.
    Collector,
    /// cert-manager's controllers of issuers that hold a key.
    CertManager,
}

impl Module {
    const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
            Self::Pause => "pause",
            Self::Tools => "tools",
            Self::Interop => "interop",
            Self::Kstatus => "kstatus",
            Self::Argo => "argo",
            Self::Tilt => "tilt",
            Self::Collector => "collector",
            Self::CertManager => "certmanager",
        }
    }

    fn sources(self) -> PathBuf {
        workspace::root().join("xtask/cluster/go").join(self.name())
    }

    /// The folder with this module's programs, built now if they never were.
    pub(crate) fn programs(self) -> Result<PathBuf> {
        let toolchain = toolchain()?;
        cache::built(&self.cached_as(&toolchain)?, |folder| self.build(folder, &toolchain))
    }

    /// The folder with this module's programs, if they are built.
    pub(crate) fn programs_if_built(self) -> Result<Option<PathBuf>> {
        let folder = cache::folder()?.join(self.cached_as(&toolchain()?)?);
        Ok(folder.is_dir().then_some(folder))
    }

    fn cached_as(self, toolchain: &str) -> Result<String> {
        let mut parts = vec![toolchain.as_bytes().to_vec(), std::env::consts::ARCH.into()];
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.sources().join(file);
            if path.exists() {
                parts.push(
                    std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?,
                );
            }
        }
        Ok(format!("{}-{}", self.name(), cache::key(parts.iter().map(Vec::as_slice))))
    }

    /// Main packages whose names say too little or are taken, and what their programs are called instead.
    const fn renamed(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Etcd => &[("server", "etcd")],
            Self::Helm3 => &[("helm", "helm3")],
            Self::Interop => &[("server", "grpc-interop-server"), ("client", "grpc-interop-client")],
            _ => &[],
        }
    }

    fn build(self, folder: &Path, toolchain: &str) -> Result<()> {
        let mut step = say::step(format!("Go programs: {} (once; minutes with nothing cached)", self.name()));
        let flags = if self == Self::Kubernetes {
            kubernetes_flags(&self.sources(), toolchain)?
        } else {
            String::new()
        };
        // Some are programs of ours around somebody's library; of others the go.mod names what is built.
        let what = if self.sources().join("main.go").exists() { "." } else { "tool" };
        let mut child = go(&self.sources(), toolchain)
            .env("GOBIN", folder)
            .args(["install", "-v", "-trimpath", "-ldflags", &format!("-s -w {flags}"), what])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start go")?;
        let said = child.stderr.take().context("go has no stderr")?;
        let (mut compiled, mut last) = (0, Vec::new());
        for line in BufReader::new(said).lines() {
            let line = line.context("failed to read what go says")?;
            compiled += usize::from(!line.contains(' '));
            step.progress(&format!("{compiled} packages compiled, {line}"));
            last.push(line);
        }
        if !child.wait().context("failed to wait for go")?.success() {
            bail!("go install of {} failed:\n{}", self.name(), command::tail(&last.join("\n"), 20));
        }
        for (package, program) in self.renamed() {
            let renamed = std::fs::rename(folder.join(package), folder.join(program));
            renamed.with_context(|| format!("failed to rename {program}"))?;
        }
        step.done();
        Ok(())
    }
}

/// What `kubectl version` and the nodes say that they are.
fn kubernetes_flags(sources: &Path, toolchain: &str) -> Result<String> {
    let version = command::output(go(sources, toolchain).args([
        "list",
        "-m",
        "-f",
        "{{.Version}}",
        "k8s.io/kubernetes",
    ]))?;
    let version = version.trim();
    let minor = version.split('.').nth(1).context("a Kubernetes version without a minor")?;
    let set = [
        ("k8s.io/component-base/version.gitVersion", version),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", minor),
        ("k8s.io/client-go/pkg/version.gitVersion", version),
    ];
    Ok(set.map(|(name, value)| format!("-X {name}={value}")).join(" "))
}

/// The toolchain to build with: the machine's own where its minor fits.
fn toolchain() -> Result<String> {
    let own = command::output(Command::new("go").args(["env", "GOVERSION"]).current_dir("/"))
        .context("Go is needed to build the cluster's programs: install Go 1.26, or use a cluster of yours with --context")?;
    let minor = |version: &str| version.trim().rsplit_once('.').map(|(minor, _)| minor.to_owned());
    Ok(if minor(&own) == minor(TOOLCHAIN) { own.trim().to_owned() } else { TOOLCHAIN.to_owned() })
}

/// Go, for something that builds nothing.
pub(crate) fn command(folder: &Path) -> Result<Command> {
    Ok(go(folder, toolchain()?))
}

fn go(folder: &Path, toolchain: impl AsRef<OsStr>) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", toolchain)
        .env("GOFLAGS", "-mod=readonly -buildvcs=false");
    go
}
