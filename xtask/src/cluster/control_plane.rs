//! etcd, the API server, the controller manager and the scheduler: how each is called.

use std::path::Path;

use anyhow::Result;

use crate::cluster::namespaces::Component;
use crate::cluster::up::Extent;
use crate::cluster::{ADDRESS, Cluster, PODS, SERVICES, SERVICES_V6};

/// The store and the API server, which waits for the store by itself.
pub(super) fn start_api(
    cluster: &Cluster,
    extent: Extent,
    etcd: &Path,
    kubernetes: &Path,
) -> Result<Vec<Component>> {
    Ok(vec![
        cluster.start("etcd", &etcd.join("etcd"), &etcd_arguments(cluster))?,
        cluster.start(
            "kube-apiserver",
            &kubernetes.join("kube-apiserver"),
            &api_server_arguments(cluster, extent),
        )?,
    ])
}

/// What makes objects come true.
pub(super) fn start_controllers(cluster: &Cluster, kubernetes: &Path) -> Result<Vec<Component>> {
    let managing = kubernetes.join("kube-controller-manager");
    let scheduling = kubernetes.join("kube-scheduler");
    Ok(vec![
        cluster.start("kube-controller-manager", &managing, &controller_manager_arguments(cluster))?,
        cluster.start("kube-scheduler", &scheduling, &scheduler_arguments(cluster))?,
    ])
}

fn etcd_arguments(cluster: &Cluster) -> Vec<String> {
    let (pki, data) = (cluster.pki(), cluster.state().join("etcd"));
    let (pki, data) = (pki.display(), data.display());
    vec![
        "--name=etcd".into(),
        format!("--data-dir={data}"),
        "--unsafe-no-fsync".into(), // nothing here outlives the machine's power
        "--listen-client-urls=https://127.0.0.1:2379".into(),
        "--advertise-client-urls=https://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-cluster=etcd=http://127.0.0.1:2380".into(),
        format!("--cert-file={pki}/etcd-server.crt"),
        format!("--key-file={pki}/etcd-server.key"),
        "--client-cert-auth".into(),
        format!("--trusted-ca-file={pki}/etcd-ca.crt"),
    ]
}

fn api_server_arguments(cluster: &Cluster, extent: Extent) -> Vec<String> {
    let pki = cluster.pki();
    let pki = pki.display();
    let mut arguments = vec![
        format!("--bind-address={ADDRESS}"),
        format!("--advertise-address={ADDRESS}"),
        "--secure-port=6443".into(),
        "--endpoint-reconciler-type=lease".into(),
        "--etcd-servers=https://127.0.0.1:2379".into(),
        format!("--etcd-cafile={pki}/etcd-ca.crt"),
        format!("--etcd-certfile={pki}/etcd-client.crt"),
        format!("--etcd-keyfile={pki}/etcd-client.key"),
        format!("--client-ca-file={pki}/ca.crt"),
        format!("--tls-cert-file={pki}/apiserver.crt"),
        format!("--tls-private-key-file={pki}/apiserver.key"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={pki}/service-accounts.pub"),
        format!("--service-account-signing-key-file={pki}/service-accounts.key"),
        format!("--service-cluster-ip-range={SERVICES},{SERVICES_V6}"),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction,PodSecurity".into(),
        "--allow-privileged=true".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--kubelet-client-certificate={pki}/kubelet-client.crt"),
        format!("--kubelet-client-key={pki}/kubelet-client.key"),
        format!("--kubelet-certificate-authority={pki}/ca.crt"),
        format!("--requestheader-client-ca-file={pki}/front-proxy-ca.crt"),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={pki}/front-proxy.crt"),
        format!("--proxy-client-key-file={pki}/front-proxy.key"),
    ];
    if extent == Extent::ApiOnly {
        // nobody makes the default accounts that it would wait for
        arguments.push("--disable-admission-plugins=ServiceAccount".into());
    }
    arguments
}

fn controller_manager_arguments(cluster: &Cluster) -> Vec<String> {
    let pki = cluster.pki();
    let pki = pki.display();
    let mut arguments = as_component(cluster, "controller-manager");
    arguments.extend([
        "--use-service-account-credentials".into(),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--service-account-private-key-file={pki}/service-accounts.key"),
        format!("--cluster-signing-cert-file={pki}/ca.crt"),
        format!("--cluster-signing-key-file={pki}/ca.key"),
        format!("--client-ca-file={pki}/ca.crt"),
        format!("--requestheader-client-ca-file={pki}/front-proxy-ca.crt"),
        // its own 20 requests a second are far below what an operator under load gives it to do
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={PODS}"),
        format!("--service-cluster-ip-range={SERVICES}"),
    ]);
    arguments
}

fn scheduler_arguments(cluster: &Cluster) -> Vec<String> {
    as_component(cluster, "scheduler")
}

fn as_component(cluster: &Cluster, user: &str) -> Vec<String> {
    let kubeconfig = cluster.pki().join(format!("{user}.kubeconfig"));
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
    ]
}
