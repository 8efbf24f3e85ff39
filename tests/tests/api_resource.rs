//! How the API server fills in, shows and splits a Gateway.

use kube::api::{Api, Patch, PatchParams};
use kube::{Client, discovery};
use portcullis_api::Gateway;
use portcullis_tests::operator::Operator;
use portcullis_tests::{apply, client, is, namespace, tunnel, until};
use serde_json::{Value, json};

/// The Gateways or Tunnels of a namespace as `kubectl get` is handed them.
async fn table(client: &Client, namespace: &str, plural: &str) -> Value {
    let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/{plural}");
    let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    client.request(request.body(Vec::new()).unwrap()).await.unwrap()
}

/// Columns of a table up to a priority (0: normal, 1: wide), and the cells of its only row.
fn shown(table: &Value, priority: i64) -> Vec<(String, Value)> {
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let shown = columns.zip(cells).filter(|(column, _)| column["priority"].as_i64().unwrap() <= priority);
    shown.map(|(column, cell)| (column["name"].as_str().unwrap().to_uppercase(), cell.clone())).collect()
}

#[tokio::test]
async fn a_minimal_spec_is_stored_with_every_default() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let spec = "
clients: [{name: alice}]
backends: [{name: api, match: {pathPrefix: /}, service: {name: api, port: 80}}]
";
    let gateway = apply(&client, &namespace, "door", spec).await.unwrap();
    let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/gateways/door");
    let stored: Value = client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    let expected = json!({
        "access": { "mode": "MutualTLS", "proxyProtocol": false },
        "pki": {
            "keyAlgorithm": "P256",
            "ca": { "duration": "87600h", "publishFor": "24h" },
            "publishTrust": false,
            "server": { "duration": "168h" },
        },
        "clients": [{ "name": "alice", "duration": "720h" }],
        "backends": [{
            "name": "api",
            "match": { "pathPrefix": "/" },
            "service": { "name": "api", "port": 80 },
            "timeouts": { "connect": "5s" },
            "forwardClientCertificate": false,
            "auth": "Required",
        }],
        "service": { "type": "ClusterIP", "port": 443 },
        "replicas": 2,
        "logLevel": "Info",
        "suspend": false,
    });
    assert_eq!(stored["spec"], expected);
    let understood = serde_json::to_value(&gateway.spec).unwrap();
    assert_eq!(understood, expected, "our own types say the same");
}

#[tokio::test]
async fn an_issuer_a_driver_and_an_edge_are_stored_with_every_default() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let spec = "
access: {mode: Edge, edge: {cloudflare: {teamDomain: example.cloudflareaccess.com}, audience: tag}}
oidc: {issuer: 'https://login.example.com', audience: door, caBundleRef: {name: roots}}
drivers: {compute: {sidecar: {image: driver}}}
";
    let gateway = apply(&client, &namespace, "door", spec).await.unwrap();
    let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/gateways/door");
    let stored: Value = client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    let edge = json!({
        "cloudflare": { "teamDomain": "example.cloudflareaccess.com" },
        "audience": "tag",
        "headerName": "Cf-Access-Jwt-Assertion",
        "cookieName": "CF_Authorization",
        "expiryGrace": "0s",
        "clockSkew": "60s",
    });
    let oidc = json!({
        "issuer": "https://login.example.com",
        "audience": "door",
        "scopes": ["openid"],
        "userClaim": "sub",
        "jwksTtl": "1h",
        "clockSkew": "60s",
        "caBundleRef": { "name": "roots", "key": "ca.crt" },
    });
    let expected = json!([edge, oidc, { "compute": { "sidecar": { "image": "driver" } } }]);
    let fields = |spec: &Value| json!([spec["access"]["edge"], spec["oidc"], spec["drivers"]]);
    assert_eq!(fields(&stored["spec"]), expected);
    let understood = serde_json::to_value(&gateway.spec).unwrap();
    assert_eq!(fields(&understood), expected, "our own types say the same");
}

#[tokio::test]
async fn a_minimal_tunnel_is_stored_with_every_default_and_shown_with_its_gateway() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let spec = "{gatewayRef: {name: door}, endpoint: 'localhost:8080', connector: {}}";
    let tunnel = tunnel::apply(&client, &namespace, "web", spec).await;
    let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/tunnels/web");
    let stored: Value = client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    let expected = json!({
        "gatewayRef": { "name": "door" },
        "protocol": "HTTP",
        "endpoint": "localhost:8080",
        "upstream": { "connectTimeout": "5s", "responseTimeout": "0s" },
        "enabled": true,
        "access": { "auth": "Required" },
        "connector": { "replicas": 2 },
    });
    assert_eq!(stored["spec"], expected);
    assert_eq!(serde_json::to_value(&tunnel.spec).unwrap(), expected, "our own types say the same");

    let table = table(&client, &namespace, "tunnels").await;
    let names = |priority| shown(&table, priority).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(0), ["NAME", "URL", "GATEWAY", "CONNECTIONS", "READY", "AGE"]);
    assert_eq!(names(1)[5..], ["REASON", "ENDPOINT", "FIRST-BYTE", "LAST-PROBE", "AGE"]);
    assert_eq!(shown(&table, 0)[2].1, "door");
    assert_eq!(shown(&table, 0)[4].1, "Unknown");

    let listed = client.list_api_group_resources("portcullis.dev/v1alpha1").await.unwrap();
    let listed = listed.resources.into_iter().find(|it| it.name == "tunnels").unwrap();
    assert_eq!(listed.short_names, Some(vec!["ptun".to_owned()]));
    assert_eq!(listed.categories, Some(vec!["portcullis".to_owned()]));
    assert!(listed.namespaced);
}

#[tokio::test]
async fn the_columns_tell_mode_endpoint_and_readiness_and_wide_ones_why_and_how_long() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", "clients: []").await.unwrap();
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    operator.stop().await;
    let expiry = gateway.status.unwrap().server_certificate.unwrap().not_after;
    let table = table(&client, &namespace, "gateways").await;
    let mut normal = shown(&table, 0);
    let age = normal.pop().unwrap();
    assert_eq!(age.0, "AGE");
    assert!(age.1.as_str().is_some_and(|age| age.ends_with(['s', 'm'])), "{age:?}");
    let endpoint = format!("https://door.{namespace}.svc:443");
    let row = |cells: &[(&str, &str)]| -> Vec<(String, Value)> {
        cells.iter().map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect()
    };
    assert_eq!(
        normal,
        row(&[("NAME", "door"), ("MODE", "MutualTLS"), ("ENDPOINT", &endpoint), ("READY", "False")])
    );
    let mut wide = shown(&table, 1);
    assert_eq!(wide.pop().unwrap().0, "AGE");
    assert_eq!(wide.pop().unwrap(), ("TUNNELS".to_owned(), Value::Null));
    let told: [(&str, &str); 3] =
        [("REASON", "ReplicasNotReady"), ("CERT-EXPIRY", &expiry), ("CA", "Stable")];
    assert_eq!(wide[4..], row(&told));
}

#[tokio::test]
async fn a_gateway_goes_by_its_short_name_and_stands_in_the_category() {
    let client = client().await;
    namespace(&client).await;
    let group = discovery::group(&client, portcullis_api::GROUP).await.unwrap();
    let (gateway, capabilities) = group.recommended_kind("Gateway").unwrap();
    assert_eq!(gateway.plural, "gateways");
    assert_eq!(gateway.version, "v1alpha1");
    assert!(capabilities.subresources.iter().any(|(it, _)| it.plural == "status"));
    let listed = client.list_api_group_resources("portcullis.dev/v1alpha1").await.unwrap();
    let listed = listed.resources.into_iter().find(|it| it.name == "gateways").unwrap();
    assert_eq!(listed.short_names, Some(vec!["pgw".to_owned()]));
    assert_eq!(listed.categories, Some(vec!["portcullis".to_owned()]));
    assert!(listed.namespaced);
}

#[tokio::test]
async fn whoever_writes_the_spec_does_not_write_the_status_and_the_other_way_round() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let before = apply(&client, &namespace, "door", "replicas: 3").await.unwrap();
    let api: Api<Gateway> = Api::namespaced(client.clone(), &namespace);
    let both = json!({ "spec": { "replicas": 5 }, "status": { "endpoint": "https://elsewhere:443" } });
    let after = api.patch("door", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!(after.spec.replicas, 5);
    assert_eq!(after.status, before.status, "the spec's writer leaves the status alone");
    assert_eq!(after.metadata.generation, Some(2));

    let both = json!({ "spec": { "replicas": 7 }, "status": { "endpoint": "https://door:443" } });
    let after = api.patch_status("door", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!(after.spec.replicas, 5, "the status's writer leaves the spec alone");
    assert_eq!(after.status.unwrap().endpoint.unwrap(), "https://door:443");
    assert_eq!(after.metadata.generation, Some(2), "a status is no new generation");
}
