//! Roots of issuers, mounted from ConfigMaps that others write. A pod starts without them; the gateway reads the file
//! again whenever it asks the issuer, and says what is missing.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath, Volume, VolumeMount};
use portcullis_contract::files;

use crate::children::pods::mount;
use crate::gateway::validate::Accepted;

pub(super) fn volumes(accepted: &Accepted) -> impl Iterator<Item = Volume> {
    accepted.access.roots.iter().map(|roots| Volume {
        name: roots.volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: roots.source.name.clone(),
            items: Some(vec![KeyToPath {
                key: roots.source.key.clone(),
                path: files::ISSUER_CA.to_owned(),
                mode: None,
            }]),
            optional: Some(true),
            default_mode: None,
        }),
        ..Volume::default()
    })
}

pub(super) fn mounts(accepted: &Accepted) -> impl Iterator<Item = VolumeMount> {
    accepted.access.roots.iter().map(|roots| mount(roots.volume, roots.folder))
}
