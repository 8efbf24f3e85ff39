//! Container images FROM scratch, written without a builder: an archive that is an OCI layout and a `docker load` archive at
//! once. The same files give the same bytes.

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::cache;
use crate::image::tar::Tar;

pub(crate) mod tar;

/// One image of one layer.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// Name and tag, such as `localhost/pause:1`.
    pub(crate) reference: &'a str,
    /// The program's path in the image.
    pub(crate) entrypoint: &'a str,
    /// The program itself.
    pub(crate) program: &'a [u8],
    /// `uid:gid` that it runs as.
    pub(crate) user: &'a str,
    /// `org.opencontainers.image.*` labels.
    pub(crate) labels: &'a [(&'a str, &'a str)],
}

impl Image<'_> {
    /// The archive's bytes.
    pub(crate) fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let layer_digest = digest(&layer);
        let labels: serde_json::Map<_, _> =
            self.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": self.user, "Entrypoint": [self.entrypoint], "Env": ["PATH=/"], "WorkingDir": "/", "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        }))?;
        let config_digest = digest(&config);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", &config, &config_digest),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", &layer, &layer_digest)],
        }))?;
        let manifest_digest = digest(&manifest);

        let mut index = described("application/vnd.oci.image.manifest.v1+json", &manifest, &manifest_digest);
        let (_, tag) = self.reference.rsplit_once(':').context("an image's name ends with its tag")?;
        index["platform"] = json!({"architecture": architecture(), "os": "linux"});
        index["annotations"] =
            json!({"io.containerd.image.name": self.reference, "org.opencontainers.image.ref.name": tag});
        let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [index]}))?;
        let docker = serde_json::to_vec(&json!([{
            "Config": format!("blobs/sha256/{config_digest}"),
            "RepoTags": [self.reference],
            "Layers": [format!("blobs/sha256/{layer_digest}")],
        }]))?;

        let mut blobs = [(config_digest, config), (layer_digest, layer), (manifest_digest, manifest)];
        blobs.sort();
        let mut archive = Tar::default();
        archive.folder("blobs", 0o755)?;
        archive.folder("blobs/sha256", 0o755)?;
        for (name, bytes) in &blobs {
            archive.file(&format!("blobs/sha256/{name}"), 0o644, bytes)?;
        }
        archive.file("index.json", 0o644, &index)?;
        archive.file("manifest.json", 0o644, &docker)?;
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(archive.finish())
    }

    /// The root file system: the program, and what C libraries and kubelets look for.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Tar::default();
        layer.folder("etc", 0o755)?;
        layer.file("etc/group", 0o644, b"root:x:0:\nportcullis:x:65532:\n")?;
        layer.file("etc/passwd", 0o644, b"root:x:0:0::/:/\nportcullis:x:65532:65532::/:/\n")?;
        layer.file(self.entrypoint.trim_start_matches('/'), 0o755, self.program)?;
        layer.folder("tmp", 0o1777)?;
        Ok(layer.finish())
    }
}

/// This machine's architecture as image manifests call it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    cache::hex(&Sha256::digest(bytes))
}

fn described(media_type: &str, bytes: &[u8], digest: &str) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(program: &[u8]) -> Image<'_> {
        Image {
            reference: "localhost/thing:1",
            entrypoint: "/thing",
            program,
            user: "65532:65532",
            labels: &[("org.opencontainers.image.title", "thing")],
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(image(b"program").archive().unwrap(), image(b"program").archive().unwrap());
        assert_ne!(image(b"program").archive().unwrap(), image(b"another").archive().unwrap());
    }

    #[test]
    fn the_archive_holds_the_blobs_that_its_index_names() {
        let folder = std::env::temp_dir().join(format!("portcullis-image-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("image.tar");
        std::fs::write(&path, image(b"program").archive().unwrap()).unwrap();
        let unpack =
            std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&folder).status().unwrap();
        assert!(unpack.success(), "the system's tar reads it");
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        let named = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
        let manifest = std::fs::read(folder.join("blobs/sha256").join(named)).unwrap();
        assert_eq!(digest(&manifest), named);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            let named = blob["digest"].as_str().unwrap().trim_start_matches("sha256:");
            assert_eq!(digest(&std::fs::read(folder.join("blobs/sha256").join(named)).unwrap()), named);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
