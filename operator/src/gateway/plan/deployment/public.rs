//! The certificate for public names, mounted from a Secret that others write. A pod starts without it; visitors are shown
//! the gateway's own until it is there.

use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume, VolumeMount};
use portcullis_contract::files;

use crate::children::pods::mount;
use crate::gateway::validate::Accepted;

const VOLUME: &str = "public-tls";

fn secret(accepted: &Accepted) -> Option<&String> {
    accepted.tunnels.as_ref()?.certificate.as_ref()
}

pub(super) fn volumes(accepted: &Accepted) -> impl Iterator<Item = Volume> {
    secret(accepted).into_iter().map(|secret| Volume {
        name: VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.clone()),
            optional: Some(true),
            default_mode: Some(0o444),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    })
}

pub(super) fn mounts(accepted: &Accepted) -> impl Iterator<Item = VolumeMount> {
    secret(accepted).into_iter().map(|_| mount(VOLUME, files::PUBLIC_TLS_DIR))
}
