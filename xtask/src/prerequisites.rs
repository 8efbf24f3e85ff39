//! What the machine must have before a cluster can run on it, and what to do where it has not.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cluster::{self, Extent};
use crate::command;

/// Programs and the Debian packages that they come in.
const FOR_THE_API: [(&str, &str); 4] =
    [("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux"), ("openssl", "openssl")];
const FOR_A_NODE: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("setpriv", "util-linux"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("ethtool", "ethtool"),
    ("socat", "socat"),
];
const NETWORK_PLUGINS: &str = "containernetworking-plugins";

/// What the tests meet a Gateway with that nobody here wrote.
const FOR_THE_PARTS: [(&str, &str); 10] = [
    ("apache2", "apache2-bin"),
    ("nginx", "nginx"),
    ("chromium", "chromium"),
    ("certutil", "libnss3-tools"),
    ("java", "openjdk-17-jre-headless"),
    ("mvn", "maven"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
];
const MODULES_FOR_THE_PARTS: [(&str, &str); 2] = [
    ("/usr/lib/apache2/modules/mod_auth_openidc.so", "libapache2-mod-auth-openidc"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
];

/// Fails with the packages that the end-to-end tests lack. They are servers: installing one may start it.
pub(crate) fn check_parts() -> Result<()> {
    let programs = FOR_THE_PARTS.iter().filter(|(program, _)| !command::exists(program));
    let modules = MODULES_FOR_THE_PARTS.iter().filter(|(file, _)| !Path::new(file).exists());
    let mut packages: Vec<_> = programs.chain(modules).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    bail!(
        "the end-to-end tests meet a Gateway with servers and a browser that are not here: \
         apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Fails with all that is missing and how to come by it.
pub(crate) fn check(extent: Extent) -> Result<()> {
    let mut lacks = Vec::new();
    if let Err(why) = may_make_namespaces() {
        lacks.push(why.to_string());
    } else if extent == Extent::Node && !cluster::may_make_cgroups() {
        lacks.push(
            "control groups may not be made below /sys/fs/cgroup, where a node keeps its pods".to_owned(),
        );
    }
    let packages = missing_packages(extent);
    if !packages.is_empty() {
        lacks.push(format!(
            "Debian packages are missing: apt-get install --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    if !command::exists("go") {
        lacks.push("Go 1.26 is missing, which builds the cluster's programs".to_owned());
    }
    if lacks.is_empty() {
        return Ok(());
    }
    bail!(
        "no cluster can run on this machine as it is:\n  - {}\n\
         A cluster of yours will do instead: cargo xtask demo --context NAME (see `kubectl config get-contexts`)",
        lacks.join("\n  - ")
    )
}

/// The Debian packages whose programs are not here.
pub(crate) fn missing_packages(extent: Extent) -> Vec<&'static str> {
    let node = if extent == Extent::Node { FOR_A_NODE.as_slice() } else { &[] };
    let wanted = FOR_THE_API.iter().chain(node);
    let mut packages: Vec<_> =
        wanted.filter(|(program, _)| !command::exists(program)).map(|(_, package)| *package).collect();
    let plugins = ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"];
    if extent == Extent::Node && !plugins.iter().any(|plugin| Path::new(plugin).exists()) {
        packages.push(NETWORK_PLUGINS);
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Whether this user, on this machine, may make network, mount and process namespaces.
pub(crate) fn may_make_namespaces() -> Result<()> {
    if !is_root() {
        bail!("only root may make the namespaces that a cluster lives in (this is not root)");
    }
    // "0 0 4294967295": this user namespace is the machine's own
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if !users.split_whitespace().eq(["0", "0", "4294967295"]) {
        bail!("this root is one in a user namespace only (a rootless container?), where no node can run");
    }
    if !command::succeeds(Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"])) {
        bail!(
            "this root may not make network, mount and process namespaces (a container without privileges?)"
        );
    }
    Ok(())
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    command::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
