//! The pods: the gateway's container without any credential of the cluster, under the overlay of the spec.

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, Lifecycle, LifecycleHandler, ObjectFieldSelector,
    PodSpec, PodTemplateSpec, SecretVolumeSource, SleepAction, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_contract::files;
use serde_json::Value;

use crate::children::pods::{matching, mount, one_by_one, pod_security, port, probe, spread};
use crate::children::{Error, Maker};
use crate::gateway::validate::pods::restricted;
use crate::gateway::validate::{Accepted, Pods};
use crate::names;
use crate::settings::Settings;

mod drivers;
mod public;
mod roots;

/// What the gateway's own container is called; the overlay reaches it by this name.
pub const CONTAINER: &str = "gateway";

/// How long a pod that is going still takes connections before it drains. kube-proxy takes a second or so to send them
/// elsewhere, a load balancer outside a few.
const GOING_SECONDS: i64 = 5;

/// The Deployment.
pub fn deployment(
    maker: &Maker<'_>,
    accepted: &Accepted,
    pods: &Pods,
    settings: &Settings,
) -> Result<Value, Error> {
    let mut template = template(maker, accepted, pods, settings);
    if let Some(overlay) = &pods.overlay {
        template.merge_from(overlay.clone());
        // Whatever the overlay says, the Deployment must find its own pods.
        template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default()
            .extend(names::labels(maker.name()));
    }
    maker.finish(&Deployment {
        metadata: maker.metadata(maker.name().to_owned()),
        spec: Some(DeploymentSpec {
            replicas: Some(accepted.replicas),
            selector: matching(names::selector(maker.name())),
            strategy: Some(one_by_one()),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn template(maker: &Maker<'_>, accepted: &Accepted, pods: &Pods, settings: &Settings) -> PodTemplateSpec {
    let mut gateway = container(accepted, pods, settings);
    let traced = settings.trace_variables("portcullis.gateway", maker.namespace(), maker.name());
    gateway.env.get_or_insert_default().extend(traced);
    let mut containers = vec![gateway];
    containers.extend(drivers::containers(pods));
    let mut volumes = volumes(maker);
    volumes.extend(roots::volumes(accepted));
    volumes.extend(public::volumes(accepted));
    volumes.extend(drivers::volumes(pods));
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(names::labels(maker.name())), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(40),
            security_context: Some(pod_security()),
            containers,
            volumes: Some(volumes),
            topology_spread_constraints: Some(vec![spread(names::selector(maker.name()))]),
            ..PodSpec::default()
        }),
    }
}

fn container(accepted: &Accepted, pods: &Pods, settings: &Settings) -> Container {
    let mut mounts = vec![mount("config", files::CONFIG_DIR), mount("tls", files::TLS_DIR)];
    mounts.extend(roots::mounts(accepted));
    mounts.extend(public::mounts(accepted));
    mounts.extend(drivers::mounts(pods));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(accepted.image.clone()),
        args: Some(vec![format!("--control-endpoint={}", settings.control_endpoint)]),
        env: Some(vec![EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    // The whole reference is one field to the API server, its default included.
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        }]),
        ports: Some(vec![
            port("https", files::PORT),
            port("peers", files::PEER_PORT),
            port("health", files::HEALTH_PORT),
            port("metrics", files::METRICS_PORT),
        ]),
        readiness_probe: Some(probe("/readyz", 1)),
        liveness_probe: Some(probe("/healthz", 10)),
        security_context: Some(restricted()),
        // Until every node knows that the pod is going, connections still come: they are served, not refused.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: GOING_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn volumes(maker: &Maker<'_>) -> Vec<Volume> {
    vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::config_map(maker.name()),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tls".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::server_secret(maker.name())),
                // Readable by the group that the pod runs as, whatever uid the platform picks.
                default_mode: Some(0o444),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}
