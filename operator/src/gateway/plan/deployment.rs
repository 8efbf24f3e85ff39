//! The pods: the gateway's container without any credential of the cluster, under the overlay of the spec.

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SeccompProfile, SecretVolumeSource, SleepAction, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_contract::files;
use serde_json::Value;

use super::Error;
use super::metadata::Maker;
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
            .extend(names::labels(maker.gateway()));
    }
    maker.finish(&Deployment {
        metadata: maker.metadata(maker.gateway().to_owned()),
        spec: Some(DeploymentSpec {
            replicas: Some(accepted.replicas),
            selector: LabelSelector {
                match_labels: Some(names::selector(maker.gateway())),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn template(maker: &Maker<'_>, accepted: &Accepted, pods: &Pods, settings: &Settings) -> PodTemplateSpec {
    let mut containers = vec![container(accepted, pods, settings)];
    containers.extend(drivers::containers(pods));
    let mut volumes = volumes(maker);
    volumes.extend(roots::volumes(accepted));
    volumes.extend(public::volumes(accepted));
    volumes.extend(drivers::volumes(pods));
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(names::labels(maker.gateway())), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(40),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            containers,
            volumes: Some(volumes),
            topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                max_skew: 1,
                topology_key: "kubernetes.io/hostname".to_owned(),
                when_unsatisfiable: "ScheduleAnyway".to_owned(),
                label_selector: Some(LabelSelector {
                    match_labels: Some(names::selector(maker.gateway())),
                    ..LabelSelector::default()
                }),
                ..TopologySpreadConstraint::default()
            }]),
            ..PodSpec::default()
        }),
    }
}

fn container(accepted: &Accepted, pods: &Pods, settings: &Settings) -> Container {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
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

/// What the gateway reads and never writes.
fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        ..Probe::default()
    }
}

fn volumes(maker: &Maker<'_>) -> Vec<Volume> {
    vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::config_map(maker.gateway()),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tls".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::server_secret(maker.gateway())),
                // Readable by the group that the pod runs as, whatever uid the platform picks.
                default_mode: Some(0o444),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}
