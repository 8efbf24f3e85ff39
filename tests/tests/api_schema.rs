//! What the API server itself makes of a Gateway: what it refuses and what it says then, what it fills in, and how it
//! shows one.

use kube::Client;
use portcullis_tests::{apply, client, namespace};
use serde_json::{Value, json};

/// Offers a Gateway, or after `Tunnel ` a Tunnel, to the API server without keeping it; returns what it says.
async fn offer(client: &Client, namespace: &str, name: &str, spec: &str) -> Result<Value, String> {
    let (kind, plural, spec) = match spec.strip_prefix("Tunnel ") {
        Some(spec) => ("Tunnel", "tunnels", spec),
        None => ("Gateway", "gateways", spec),
    };
    let spec: Value = serde_norway::from_str(spec).expect("the test's YAML is YAML");
    let gateway = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    });
    let path = format!(
        "/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict"
    );
    let request = http::Request::post(path).header("content-type", "application/json");
    let answer = client.request(request.body(gateway.to_string().into_bytes()).unwrap()).await;
    answer.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("{other}"),
    })
}

/// A bad spec, and all that is said of it.
struct Case(&'static str, &'static str);

/// Beginnings of good specs, as the table names them.
const BEGINNINGS: [(&str, &str); 5] = [
    ("$TUNNEL", "Tunnel {gatewayRef: {name: door}, endpoint: 'localhost:80'"),
    ("$RAW", "Tunnel {gatewayRef: {name: door}, access: {auth: None}, endpoint: 'localhost:80'"),
    ("$BACKEND", "backends: [{name: api, match: {pathPrefix: /}, service: {name: api, port: 80}"),
    ("$EDGE", "access: {mode: Edge, edge: {generic: {issuer: 'https://a.example.com'}, audience: a"),
    ("$OIDC", "oidc: {issuer: 'https://a.example.com'"),
];

/// The table beside this file.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in include_str!("api_schema.txt").split("\n\n") {
        let entry = entry.trim();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        let (spec, said) = entry.split_once("\n  ").expect("a spec, and below it what is said of it");
        cases.push(Case(spec, said));
    }
    cases
}

#[tokio::test]
async fn a_bad_spec_is_refused_in_words_that_say_what_to_write_instead() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let mut wrong = Vec::new();
    let cases = cases();
    for Case(spec, said) in &cases {
        let expected = said.replace("\n  ", "\n");
        let begun = |spec: String, (name, beginning): &(&str, &str)| spec.replace(name, beginning);
        let spec = BEGINNINGS.iter().fold((*spec).to_owned(), begun);
        match offer(&client, &namespace, "door", &spec).await {
            Err(found) => {
                let found = found.replace("Gateway.portcullis.dev \"door\" is invalid: ", "");
                let found = found.replace("Tunnel.portcullis.dev \"door\" is invalid: ", "");
                if found != expected {
                    wrong.push(format!("{spec}\n  {found}"));
                }
            }
            Ok(taken) => wrong.push(format!("{spec}\n  was taken: {}", taken["spec"])),
        }
    }
    assert!(cases.len() > 120, "{} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn a_good_spec_at_the_edge_of_each_rule_is_taken() {
    let client = client().await;
    let namespace = namespace(&client).await;
    for spec in [
        "pki: {server: {duration: 1h, renewBefore: 5m}}",
        "pki: {server: {duration: 8760h, renewBefore: 8759h59m59s}}",
        "pki: {server: {dnsNames: [localhost, '*.example.com', a-b.c], ipAddresses: [192.0.2.7, '2001:db8::7']}}",
        "clients: [{name: 0, user: '!~', roles: ['!', a:b], duration: 36h30m}]",
        "backends: [{name: api, match: {grpcService: a.B}, sidecar: {port: 1}, timeouts: {connect: 1ms, request: 0s}}]",
        "backends: [{name: api, match: {pathPrefix: /a%20b}, sidecar: {port: 65535}, timeouts: {connect: 1h, request: 1.5s}}]",
        "{access: {trustedProxies: ['10.0.0.1/8', '::/0', 192.0.2.7/32], proxyProtocol: true}}",
        "{access: {mode: Plaintext, trustedProxies: [127.0.0.0/8]}}",
        "{access: {mode: Edge, edge: {cloudflare: {teamDomain: a-b.c}, audience: a, expiryGrace: 1h, clockSkew: 0s}}}",
        "{access: {mode: Edge, edge: {generic: {issuer: 'http://127.0.0.1:8080/a', jwksUri: 'https://a/keys?v=2'}, audience: a}}}",
        "oidc: {issuer: 'https://[2001:db8::7]:8443/realms/shop/', audience: 'https://door.example.com', jwksTtl: 1m, clockSkew: 60s}",
        "oidc: {issuer: 'http://localhost', audience: a, jwksTtl: 24h, scopes: [], scopesClaim: scp}",
        r"oidc: {issuer: 'https://a', audience: a, rolesClaim: 'https://a\.example\.com/roles.door', adminRole: 'CN=Door Admins,O=A', userClaim: 'a\\b'}",
        "clients: [{name: a, scopes: []}, {name: b, scopes: ['portcullis:all', 'a:b/c']}]",
        "backends: [{name: api, match: {pathPrefix: /}, sidecar: {port: 1}, auth: Optional, requires: [{methods: [GET, M-SEARCH]}, {role: 'a b', scopes: ['!']}]}]",
        "backends: [{name: api, match: {pathPrefix: /}, sidecar: {port: 1}, auth: None, requires: []}]",
        "drivers: {compute: {sidecar: {image: a, securityContext: {runAsUser: 1}}, socketPath: /run/portcullis/compute/a/b.sock}, credentials: {socketPath: /a}}",
        "{replicas: 0, service: {port: 65535}, image: a}",
        "service: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]}",
        "tunnels: {domain: a.b, allowedNamespaces: {from: Selector, selector: {}}}",
        "tunnels: {domain: a.b, maxTunnels: 1000, allowedNamespaces: {from: All}, certificateRef: {name: a}}",
        "tunnels: {domain: a.b, ports: ['1024', '65535-65535', '1024-65535']}",
        "Tunnel {gatewayRef: {name: a}, protocol: TCP, port: 65535, endpoint: 'a:1', access: {auth: None, sourceCIDRs: ['::/0']}}",
        "Tunnel {gatewayRef: {name: a}, protocol: TLS, label: a, endpoint: 'tcp://a:1', access: {auth: None, rateLimit: {requestsPerSecond: 1, burst: 1}}, upstream: {responseTimeout: 0m0s}}",
        "Tunnel {gatewayRef: {name: a, namespace: b}, endpoint: 'h2c://[::1]:1/', label: '0', connector: {replicas: 0}}",
        "Tunnel {gatewayRef: {name: a}, endpoint: A_b.c:65535, hostnames: ['*.Bücher.example.com.'], upstream: {connectTimeout: 1s, responseTimeout: 1440m}}",
    ] {
        let spec = spec.replace("name: 0", "name: '0'");
        let taken = offer(&client, &namespace, "door", &spec).await;
        assert!(taken.is_ok(), "{spec}: {taken:?}");
    }
    let longest = format!("a{}", "b".repeat(45));
    offer(&client, &namespace, &longest, "{}").await.unwrap();
}

#[tokio::test]
async fn a_name_too_long_for_its_children_is_refused() {
    let client = client().await;
    let namespace = namespace(&client).await;
    for name in [format!("a{}", "b".repeat(46)), "1door".to_owned(), "door.shop".to_owned()] {
        let said = offer(&client, &namespace, &name, "{}").await.unwrap_err();
        assert_eq!(
            said,
            format!(
                "Gateway.portcullis.dev \"{name}\" is invalid: <nil>: Invalid value: a Gateway's name becomes the name of its Service and pods: write at most 46 of a-z, 0-9 and '-', beginning with a letter, such as shop-door"
            )
        );
    }
}

#[tokio::test]
async fn two_clients_of_one_name_are_refused_by_server_side_apply_too() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let said = apply(&client, &namespace, "door", "clients: [{name: a}, {name: a}]").await.unwrap_err();
    assert!(said.to_string().contains(".spec.clients: duplicate entries for key [name=\"a\"]"), "{said}");
}
