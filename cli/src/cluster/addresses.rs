//! Where a Service answers whoever is outside of the cluster, or on one of its nodes. Pure.

use http::Uri;
use k8s_openapi::api::core::v1::Service;

/// Its addresses at the endpoint's port, the most public first.
pub(super) fn of(service: &Service, endpoint: &Uri) -> Vec<Uri> {
    let (_, port) = crate::line::address(endpoint);
    let scheme = endpoint.scheme_str().unwrap_or("https");
    let spec = service.spec.clone().unwrap_or_default();
    let balancer = service.status.clone().and_then(|it| it.load_balancer).and_then(|it| it.ingress);
    let public = balancer.unwrap_or_default().into_iter().filter_map(|it| it.hostname.or(it.ip));
    let inside = spec.cluster_ip.filter(|it| it != "None" && !it.is_empty());
    public
        .chain(spec.external_ips.unwrap_or_default())
        .chain(inside)
        .filter_map(|host| {
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("{scheme}://{host}:{port}").parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(json: serde_json::Value) -> Service {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn public_addresses_come_before_the_cluster_s_own() {
        let service = service(serde_json::json!({
            "spec": { "clusterIP": "10.0.0.7", "externalIPs": ["192.0.2.9"] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "2001:db8::1" }, { "hostname": "lb.example.com" }] } }
        }));
        let endpoint = "https://door.shop.svc:8443".parse().unwrap();
        let found: Vec<_> =
            of(&service, &endpoint).iter().map(|it| it.authority().unwrap().to_string()).collect();
        assert_eq!(found, ["[2001:db8::1]:8443", "lb.example.com:8443", "192.0.2.9:8443", "10.0.0.7:8443"]);
    }

    #[test]
    fn a_headless_service_has_none() {
        let headless = service(serde_json::json!({ "spec": { "clusterIP": "None" } }));
        assert!(of(&headless, &"https://door.shop.svc".parse().unwrap()).is_empty());
    }
}
