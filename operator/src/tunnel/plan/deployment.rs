//! The connector's pods: its bundle, and no credential of the cluster.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, SecretVolumeSource, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_contract::files;
use serde_json::Value;

use super::validate::Connector;
use crate::children::pods::{matching, mount, one_by_one, pod_security, port, probe, spread};
use crate::children::{Error, Maker};
use crate::gateway::validate::pods::restricted;
use crate::names;
use crate::settings::Settings;

/// What the connector's container is called.
const CONTAINER: &str = "connector";

pub(super) fn deployment(
    maker: &Maker<'_>,
    connector: &Connector,
    settings: &Settings,
) -> Result<Value, Error> {
    let selector = names::connector_selector(maker.name());
    let traced = settings.trace_variables("portcullis.tunnel", maker.namespace(), maker.name());
    let container = Container { env: (!traced.is_empty()).then_some(traced), ..container(connector) };
    maker.finish(&Deployment {
        metadata: maker.metadata(names::connector(maker.name())),
        spec: Some(DeploymentSpec {
            replicas: Some(connector.replicas),
            selector: matching(selector.clone()),
            strategy: Some(one_by_one()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(maker.labels()), ..ObjectMeta::default() }),
                spec: Some(PodSpec {
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    termination_grace_period_seconds: Some(40),
                    security_context: Some(pod_security()),
                    containers: vec![container],
                    volumes: Some(vec![Volume {
                        name: "tls".to_owned(),
                        secret: Some(SecretVolumeSource {
                            secret_name: Some(names::connector(maker.name())),
                            // Readable by the group that the pod runs as, whatever uid the platform picks.
                            default_mode: Some(0o444),
                            ..SecretVolumeSource::default()
                        }),
                        ..Volume::default()
                    }]),
                    topology_spread_constraints: Some(vec![spread(selector)]),
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn container(connector: &Connector) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(connector.image.clone()),
        args: Some(vec![
            "connector".to_owned(),
            connector.tunnel.to_string(),
            format!("--gateway={}", connector.gateway),
            format!("--credentials={}", files::CONNECTOR_TLS_DIR),
            format!("--endpoint={}", connector.endpoint),
            format!("--health-listen=[::]:{}", files::HEALTH_PORT),
            format!("--metrics-listen=[::]:{}", files::METRICS_PORT),
            "--log-format=json".to_owned(),
        ]),
        ports: Some(vec![port("health", files::HEALTH_PORT), port("metrics", files::METRICS_PORT)]),
        readiness_probe: Some(probe("/readyz", 2)),
        liveness_probe: Some(probe("/healthz", 10)),
        resources: connector.resources.clone(),
        security_context: Some(restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![mount("tls", files::CONNECTOR_TLS_DIR)]),
        ..Container::default()
    }
}
