//! What the operator was told at its start and needs in every plan.

use k8s_openapi::api::core::v1::EnvVar;

/// Settings of the whole operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's image where the spec names none.
    pub gateway_image: String,
    /// The image of connectors in this cluster, where a Tunnel names none.
    pub connector_image: Option<String>,
    /// Where gateways find the operator: `https://HOST:PORT`.
    pub control_endpoint: String,
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Where pods send traces to; nowhere without it.
    pub traces: Option<Traces>,
}

/// Where traces go, and how many of them.
#[derive(Clone, Debug)]
pub struct Traces {
    /// A collector that takes OTLP by gRPC, such as `http://collector.monitoring:4317`.
    pub endpoint: String,
    /// The part of those that begin in a pod that is kept, `0` to `1`.
    pub ratio: Option<String>,
}

impl Settings {
    /// What the pods are told of it, by OpenTelemetry's own variables. `service` is what they are called in traces.
    pub fn trace_variables(&self, service: &str, namespace: &str, name: &str) -> Vec<EnvVar> {
        let Some(Traces { endpoint, ratio }) = &self.traces else { return Vec::new() };
        let about = format!("k8s.namespace.name={namespace},{service}={name}");
        let mut variables =
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone()), ("OTEL_RESOURCE_ATTRIBUTES", about)];
        if let Some(ratio) = ratio {
            variables.push(("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()));
            variables.push(("OTEL_TRACES_SAMPLER_ARG", ratio.clone()));
        }
        let variable = |(name, value): (&str, String)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        };
        variables.into_iter().map(variable).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_told_where_traces_go_and_how_many_only_where_there_are_some() {
        let told = |traces: Option<Traces>| {
            let settings = Settings { traces, ..crate::gateway::golden::settings() };
            let variables = settings.trace_variables("portcullis.gateway", "shop", "door");
            variables.into_iter().map(|it| format!("{}={}", it.name, it.value.unwrap())).collect::<Vec<_>>()
        };
        assert!(told(None).is_empty());
        let endpoint = "http://collector:4317".to_owned();
        let about = [
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317",
            "OTEL_RESOURCE_ATTRIBUTES=k8s.namespace.name=shop,portcullis.gateway=door",
        ];
        assert_eq!(told(Some(Traces { endpoint: endpoint.clone(), ratio: None })), about);
        let some = told(Some(Traces { endpoint, ratio: Some("0.1".to_owned()) }));
        assert_eq!(
            some[2..],
            ["OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"]
        );
    }
}
