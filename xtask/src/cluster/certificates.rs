//! The cluster's own authorities, certificates and kubeconfigs, made with the openssl program.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cluster::{ADDRESS, Cluster};
use crate::command;

const AUTHORITIES: [&str; 3] = ["ca", "front-proxy-ca", "etcd-ca"];

const SERVER: &str = "serverAuth";
const CLIENT: &str = "clientAuth";
const BOTH: &str = "serverAuth,clientAuth";

/// File name, authority, subject, use, names.
const LEAVES: [(&str, &str, &str, &str, &str); 12] = [
    (
        "apiserver",
        "ca",
        "/CN=kube-apiserver",
        SERVER,
        "IP:127.0.0.1,IP:10.255.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
         DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local",
    ),
    ("etcd-server", "etcd-ca", "/CN=etcd", BOTH, "IP:127.0.0.1,DNS:localhost"),
    ("etcd-client", "etcd-ca", "/CN=apiserver-etcd-client", CLIENT, ""),
    ("front-proxy", "front-proxy-ca", "/CN=front-proxy-client", CLIENT, ""),
    ("kubelet-client", "ca", "/O=system:masters/CN=apiserver-kubelet-client", CLIENT, ""),
    ("admin", "ca", "/O=system:masters/CN=admin", CLIENT, ""),
    ("controller-manager", "ca", "/CN=system:kube-controller-manager", CLIENT, ""),
    ("scheduler", "ca", "/CN=system:kube-scheduler", CLIENT, ""),
    ("kube-proxy", "ca", "/CN=system:kube-proxy", CLIENT, ""),
    ("kubelet", "ca", "/O=system:nodes/CN=system:node:node1", CLIENT, ""),
    (
        "kubelet-server",
        "ca",
        "/O=system:nodes/CN=system:node:node1",
        SERVER,
        "IP:10.255.0.1,IP:127.0.0.1,DNS:node1",
    ),
    ("service-accounts", "ca", "/CN=service-accounts", CLIENT, ""),
];

/// Who gets a kubeconfig.
const USERS: [&str; 5] = ["admin", "controller-manager", "scheduler", "kube-proxy", "kubelet"];

/// Makes them all.
pub(super) fn make(cluster: &Cluster) -> Result<()> {
    let folder = &cluster.pki();
    at_once(&AUTHORITIES, |name| authority(folder, name))?;
    at_once(&LEAVES, |(name, authority, subject, usage, names)| {
        leaf(folder, name, authority, subject, usage, names)
    })?;
    // tokens are signed with a bare key
    command::run(openssl(folder).args([
        "pkey",
        "-in",
        "service-accounts.key",
        "-pubout",
        "-out",
        "service-accounts.pub",
    ]))?;
    for user in USERS {
        kubeconfig(folder, cluster.name(), user)?;
    }
    Ok(())
}

fn at_once<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = items.iter().map(|item| scope.spawn(move || work(item))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread that made certificates panicked"),
        })
    })
}

fn authority(folder: &Path, name: &str) -> Result<()> {
    let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign,cRLSign\n\
                      subjectKeyIdentifier=hash\n";
    certificate(folder, name, &format!("/CN={name}"), extensions, &[])
}

fn leaf(folder: &Path, name: &str, authority: &str, subject: &str, usage: &str, names: &str) -> Result<()> {
    let mut extensions = format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n\
         authorityKeyIdentifier=keyid\n"
    );
    if !names.is_empty() {
        extensions.extend(["subjectAltName=", names, "\n"]);
    }
    let (certificate_file, key_file) = (format!("{authority}.crt"), format!("{authority}.key"));
    certificate(folder, name, subject, &extensions, &["-CA", &certificate_file, "-CAkey", &key_file])
}

fn certificate(folder: &Path, name: &str, subject: &str, extensions: &str, issuer: &[&str]) -> Result<()> {
    let request = format!("{name}.cnf");
    let text = format!(
        "[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n{extensions}"
    );
    fs::write(folder.join(&request), text).context("failed to write a certificate request")?;
    let (certificate_file, key_file) = (format!("{name}.crt"), format!("{name}.key"));
    command::run(
        openssl(folder)
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "365",
            ])
            .args(["-config", &request, "-subj", subject, "-keyout", &key_file, "-out", &certificate_file])
            .args(issuer),
    )
}

fn kubeconfig(folder: &Path, cluster: &str, user: &str) -> Result<()> {
    let at = folder.display();
    let text = format!(
        r#"apiVersion: v1
kind: Config
clusters: [{{name: {cluster}, cluster: {{server: "https://{ADDRESS}:6443", certificate-authority: "{at}/ca.crt"}}}}]
users: [{{name: {user}, user: {{client-certificate: "{at}/{user}.crt", client-key: "{at}/{user}.key"}}}}]
contexts: [{{name: {cluster}, context: {{cluster: {cluster}, user: {user}}}}}]
current-context: {cluster}
"#
    );
    fs::write(folder.join(format!("{user}.kubeconfig")), text).context("failed to write a kubeconfig")
}

fn openssl(folder: &Path) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder);
    openssl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NODE;

    #[test]
    fn the_certificates_name_the_addresses_that_are_used() {
        for (name, ..) in LEAVES.iter().filter(|(.., names)| names.contains("IP:10.")) {
            let (.., names) = LEAVES.iter().find(|leaf| leaf.0 == *name).unwrap();
            assert!(names.contains(&format!("IP:{ADDRESS}")), "{name}");
        }
        assert!(
            LEAVES.iter().filter(|leaf| leaf.2.contains("system:node:")).all(|leaf| leaf.2.ends_with(NODE))
        );
    }
}
