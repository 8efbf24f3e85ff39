//! The node: containerd, kubelet and kube-proxy, with a bridge for the pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::namespaces::Component;
use crate::cluster::{ADDRESS, Cluster, DNS_ADDRESS, NODE, PODS, cgroups};
use crate::{command, wait};

/// The container runtime.
pub(super) fn start_runtime(cluster: &Cluster) -> Result<Component> {
    let state = cluster.state();
    write(&state.join("cni/10-pods.conflist"), &pod_network(cluster))?;
    write(&state.join("containerd.toml"), &containerd_configuration(cluster, snapshotter(cluster)?)?)?;
    let arguments = [format!("--config={}", state.join("containerd.toml").display())];
    cluster.start("containerd", Path::new("containerd"), &arguments)
}

/// Waits for the runtime and gives it the images that the node itself needs.
pub(super) fn load_images(cluster: &Cluster, archives: &[PathBuf], containerd: &mut Component) -> Result<()> {
    let socket = cluster.containerd_socket();
    wait::until("containerd", Duration::from_secs(30), || {
        containerd.still_runs()?;
        let mut ask = std::process::Command::new("ctr");
        Ok((socket.exists() && command::succeeds(ask.arg("--address").arg(&socket).arg("version")))
            .then_some(()))
    })?;
    archives.iter().try_for_each(|archive| cluster.load(archive))
}

/// Kubelet and kube-proxy, once the API server answers.
pub(super) fn start_node(cluster: &Cluster, kubernetes: &Path) -> Result<Vec<Component>> {
    cgroups::make(&cluster.netns())?;
    let (state, pki) = (cluster.state(), cluster.pki());
    write(&state.join("resolv.conf"), &format!("nameserver {DNS_ADDRESS}\n"))?;
    write(&state.join("kubelet.yaml"), &kubelet_configuration(cluster))?;
    write(&state.join("kube-proxy.yaml"), &proxy_configuration(cluster))?;
    let kubelet = [
        format!("--config={}", state.join("kubelet.yaml").display()),
        format!("--kubeconfig={}", pki.join("kubelet.kubeconfig").display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={ADDRESS}"),
        "--v=2".to_owned(),
    ];
    let proxy = [format!("--config={}", state.join("kube-proxy.yaml").display())];
    Ok(vec![
        cluster.start("kubelet", &kubernetes.join("kubelet"), &kubelet)?,
        cluster.start("kube-proxy", &kubernetes.join("kube-proxy"), &proxy)?,
    ])
}

fn pod_network(cluster: &Cluster) -> String {
    let addresses = cluster.state().join("addresses");
    format!(
        r#"{{"cniVersion":"0.4.0","name":"pods","plugins":[
 {{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{{"type":"host-local","dataDir":"{}","ranges":[[{{"subnet":"10.244.0.0/24"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}},
 {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}
"#,
        addresses.display()
    )
}

/// `restrict_oom_score_adj`, and below `oomScoreAdj`, `maxOpenFiles` and `maxPerCore`: root in a container or a small virtual
/// machine may not raise its own limits.
fn containerd_configuration(cluster: &Cluster, snapshotter: &str) -> Result<String> {
    let plugins =
        ["/usr/lib/cni", "/opt/cni/bin"].into_iter().find(|folder| Path::new(folder).join("bridge").exists());
    let plugins =
        plugins.context("no CNI plugins: install the Debian package containernetworking-plugins")?;
    let (state, socket) = (cluster.state(), cluster.containerd_socket());
    let (state, socket) = (state.display(), socket.display());
    Ok(format!(
        r#"version = 2
root = "{state}/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{state}/cni"
"#
    ))
}

/// Layers by overlay where the file system below can carry it, which another overlay cannot.
fn snapshotter(cluster: &Cluster) -> Result<&'static str> {
    let trial = cluster.state().join("trial");
    for folder in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(trial.join(folder)).context("failed to try an overlay")?;
    }
    let mount = r#"cd "$0" && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && umount merged"#;
    let mut attempt = cluster.inside(Path::new("sh"))?;
    Ok(if command::succeeds(attempt.args(["-c", mount]).arg(&trial)) { "overlayfs" } else { "native" })
}

fn kubelet_configuration(cluster: &Cluster) -> String {
    let (pki, state, socket) = (cluster.pki(), cluster.state(), cluster.containerd_socket());
    let (pki, state, socket, group) = (pki.display(), state.display(), socket.display(), cluster.netns());
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {ADDRESS}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: "{pki}/ca.crt"}}}}
authorization: {{mode: Webhook}}
tlsCertFile: "{pki}/kubelet-server.crt"
tlsPrivateKeyFile: "{pki}/kubelet-server.key"
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
containerRuntimeEndpoint: "unix://{socket}"
resolvConf: "{state}/resolv.conf"
clusterDNS: [{DNS_ADDRESS}]
clusterDomain: cluster.local
configMapAndSecretChangeDetectionStrategy: Watch
syncFrequency: 5s
evictionHard: {{memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}}
imageGCHighThresholdPercent: 100
"#
    )
}

fn proxy_configuration(cluster: &Cluster) -> String {
    let kubeconfig = cluster.pki().join("kube-proxy.kubeconfig");
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 127.0.0.1
clientConnection: {{kubeconfig: "{}"}}
hostnameOverride: {NODE}
mode: nftables
clusterCIDR: {PODS}
conntrack: {{maxPerCore: 0}}
oomScoreAdj: 0
nodePortAddresses: ["{ADDRESS}/32"]
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
"#,
        kubeconfig.display()
    )
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
