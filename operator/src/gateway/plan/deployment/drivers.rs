//! Drivers that Portcullis brings: a container each, and a folder that it shares with the gateway for its socket.

use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount};
use portcullis_contract::snapshot::DriverKind;

use crate::children::pods::mount;
use crate::gateway::validate::Pods;
use crate::gateway::validate::pods::shared_folder;

fn volume(kind: DriverKind) -> String {
    format!("driver-{}", kind.as_str())
}

pub(super) fn containers(pods: &Pods) -> impl Iterator<Item = Container> {
    pods.sidecars.iter().map(|(kind, container)| Container {
        volume_mounts: Some(vec![VolumeMount {
            name: volume(*kind),
            mount_path: shared_folder(*kind),
            ..VolumeMount::default()
        }]),
        ..container.clone()
    })
}

pub(super) fn volumes(pods: &Pods) -> impl Iterator<Item = Volume> {
    pods.sidecars.iter().map(|(kind, _)| Volume {
        name: volume(*kind),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    })
}

/// A socket can be connected to through a mount that nothing can be written to.
pub(super) fn mounts(pods: &Pods) -> impl Iterator<Item = VolumeMount> {
    pods.sidecars.iter().map(|(kind, _)| mount(&volume(*kind), &shared_folder(*kind)))
}
