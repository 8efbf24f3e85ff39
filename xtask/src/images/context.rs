//! How a cluster that is not ours comes by the images: loaded into it where it is on this machine, else through a registry.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::images::Archive;
use crate::{cache, command, say};

/// Where the images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `kind` and the cluster's name.
    Kind(String),
    /// `k3d` and the cluster's name.
    K3d(String),
    /// `minikube` and the profile's name.
    Minikube(String),
    /// A registry's host and prefix.
    Registry(String),
    /// The same, for images whose tags are versions.
    Released(String),
}

/// An image under two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Ours, as in manifests.
    pub(crate) reference: String,
    /// The cluster's.
    pub(crate) name: String,
}

impl Target {
    /// Recognised by how these tools name their contexts; `None` where nobody asked for any.
    pub(crate) fn of(context: Option<&str>, registry: Option<&str>) -> Result<Option<Self>> {
        if let Some(registry) = registry {
            return Ok(Some(Self::Registry(registry.trim_end_matches('/').to_owned())));
        }
        let Some(context) = context else { return Ok(None) };
        if let Some(name) = context.strip_prefix("kind-") {
            return Ok(Some(Self::Kind(name.to_owned())));
        }
        if let Some(name) = context.strip_prefix("k3d-") {
            return Ok(Some(Self::K3d(name.to_owned())));
        }
        if context == "minikube" || context.starts_with("minikube-") {
            return Ok(Some(Self::Minikube(context.to_owned())));
        }
        bail!(
            "'{context}' is neither kind (kind-…), k3d (k3d-…) nor minikube, so its nodes fetch images from a registry: \
             add --registry HOST/PREFIX"
        )
    }

    /// The name by which the cluster knows an image. In a registry its tag tells the content, so that no node takes an
    /// older image of the same name for it.
    fn name_of(&self, reference: &str, content: &str) -> String {
        match self {
            Self::Registry(registry) => {
                let name = reference.rsplit_once('/').map_or(reference, |(_, name)| name);
                format!("{registry}/{name}-{content}")
            }
            Self::Released(registry) => {
                let name = reference.rsplit_once('/').map_or(reference, |(_, name)| name);
                format!("{registry}/{name}")
            }
            _ => reference.to_owned(),
        }
    }

    /// A registry for a release.
    pub(crate) fn released(registry: &str) -> Self {
        Self::Released(registry.trim_end_matches('/').to_owned())
    }

    /// Hands the images over; says by which names the cluster knows them.
    pub(crate) fn take(&self, archives: &[Archive]) -> Result<Vec<Named>> {
        let mut names = Vec::new();
        for archive in archives {
            let name = self.name_of(&archive.reference, &archive.content()?);
            let step = say::step(format!("image {name} handed over"));
            match self {
                Self::Kind(cluster) => {
                    command::run(
                        Command::new("kind")
                            .args(["load", "image-archive", "--name", cluster])
                            .arg(&archive.path),
                    )?;
                }
                Self::K3d(cluster) => {
                    command::run(
                        Command::new("k3d")
                            .args(["image", "import", "--cluster", cluster])
                            .arg(&archive.path),
                    )?;
                }
                Self::Minikube(profile) => {
                    command::run(
                        Command::new("minikube")
                            .args(["--profile", profile, "image", "load"])
                            .arg(&archive.path),
                    )?;
                }
                Self::Registry(_) | Self::Released(_) => push(archive, &name)?,
            }
            step.done();
            names.push(Named { reference: archive.reference.clone(), name });
        }
        Ok(names)
    }
}

/// Pushes with whichever program is here; each has its own way to log in.
fn push(archive: &Archive, name: &str) -> Result<()> {
    let path = archive.path.display();
    // On this machine itself nobody listens in between; Docker knows that by itself.
    let plain = ["127.0.0.1:", "localhost:"].iter().any(|here| name.starts_with(here));
    if command::exists("skopeo") {
        let mut skopeo = Command::new("skopeo");
        skopeo.arg("copy").arg(format!("--dest-tls-verify={}", !plain));
        return command::run(skopeo.args([&format!("oci-archive:{path}"), &format!("docker://{name}")]));
    }
    if command::exists("buildah") {
        let storage = archive.path.with_extension("storage");
        let pushed = push_by_buildah(archive, name, plain, &storage);
        cache::remove(&storage)?;
        return pushed;
    }
    if command::exists("docker") {
        command::run(Command::new("docker").args(["load", "--input"]).arg(&archive.path))?;
        command::run(Command::new("docker").args(["tag", &archive.reference, name]))?;
        return command::run(Command::new("docker").args(["push", name]));
    }
    bail!("one of skopeo, buildah or docker is needed to push to a registry")
}

/// With storage that is thrown away and works wherever files do.
fn push_by_buildah(archive: &Archive, name: &str, plain: bool, storage: &Path) -> Result<()> {
    let buildah = || {
        let mut buildah = Command::new("buildah");
        buildah.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
        buildah.arg("--runroot").arg(storage.join("run"));
        buildah
    };
    let from = format!("oci-archive:{}", archive.path.display());
    let pulled = command::output(buildah().args(["pull", "--quiet", &from]))?;
    let id = pulled.trim().lines().last().context("buildah does not say what it pulled")?.to_owned();
    let tls = format!("--tls-verify={}", !plain);
    command::run(buildah().args(["push", &tls, &id, &format!("docker://{name}")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_recognised_by_its_name() {
        let of = |context| Target::of(Some(context), None).unwrap();
        assert_eq!(of("kind-a"), Some(Target::Kind("a".into())));
        assert_eq!(of("k3d-b"), Some(Target::K3d("b".into())));
        assert_eq!(of("minikube"), Some(Target::Minikube("minikube".into())));
        assert!(Target::of(Some("gke_project"), None).unwrap_err().to_string().contains("--registry"));
        assert_eq!(Target::of(None, None).unwrap(), None);
    }

    #[test]
    fn a_registry_wins_and_gives_the_images_names_that_tell_their_content() {
        let target = Target::of(Some("kind-a"), Some("registry.example/team/")).unwrap().unwrap();
        assert_eq!(
            target.name_of("localhost/portcullis-gateway:dev", "00ff"),
            "registry.example/team/portcullis-gateway:dev-00ff"
        );
        let kind = Target::Kind("a".into());
        assert_eq!(
            kind.name_of("localhost/portcullis-gateway:dev", "00ff"),
            "localhost/portcullis-gateway:dev"
        );
    }
}
