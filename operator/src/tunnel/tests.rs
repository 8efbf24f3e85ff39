//! Who is accepted and which names each holds, and what a status says, one fact a case.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{Gateway, Tunnel, TunnelStatus};
use portcullis_contract::control::{Connection, Probe};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claims::Claims;
use super::observe::{Door, Observed};
use super::status::{Outcome, status};
use crate::control::tunnels::Evidence;
use crate::world::{Key, Namespaces};

fn gateway(tunnels: &Value) -> Gateway {
    serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Gateway",
        "metadata": { "name": "door", "namespace": "shop", "uid": "gateway" },
        "spec": { "tunnels": tunnels },
    }))
    .unwrap()
}

fn open() -> Value {
    json!({ "domain": "t.example.com", "allowedNamespaces": { "from": "All" } })
}

/// Tunnel `NAMESPACE/NAME`, `age` seconds younger than the first.
fn tunnel(namespace: &str, name: &str, age: u32, spec: &Value) -> Arc<Tunnel> {
    let mut object = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Tunnel",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "generation": 1,
            "creationTimestamp": format!("2026-03-01T12:{:02}:{:02}Z", age / 60, age % 60),
        },
        "spec": {
            "gatewayRef": { "name": "door", "namespace": "shop" }, "endpoint": "127.0.0.1:8080",
            "access": { "auth": "None" },
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn decide(
    gateway: Option<&Gateway>,
    tunnels: &[Arc<Tunnel>],
) -> BTreeMap<String, Result<Vec<String>, (String, String)>> {
    let claims = Claims::of(&Key::new("shop", "door"), gateway, tunnels, &Namespaces::default());
    let verdict = |uid: &str| match claims.verdict(uid).unwrap() {
        Ok(accepted) => Ok(accepted.hostnames.clone()),
        Err(rejected) => Err((rejected.reason.as_str().to_owned(), rejected.message.clone())),
    };
    tunnels.iter().filter_map(|it| it.metadata.uid.clone()).map(|uid| (uid.clone(), verdict(&uid))).collect()
}

#[test]
fn the_oldest_claim_to_a_name_wins_in_every_spelling() {
    let tunnels = [
        tunnel("shop", "late", 2, &json!({ "hostnames": ["WEB.T.example.com."] })),
        tunnel("shop", "first", 0, &json!({ "label": "web" })),
        tunnel("other", "later", 3, &json!({ "hostnames": ["web.t.example.com", "free.t.example.com"] })),
        tunnel("other", "free", 4, &json!({ "hostnames": ["free.t.example.com", "*.t.example.com"] })),
    ];
    let decided = decide(Some(&gateway(&open())), &tunnels);
    assert_eq!(decided["shop-first"], Ok(vec!["web.t.example.com".to_owned()]));
    let (reason, message) = decided["shop-late"].clone().unwrap_err();
    assert_eq!(reason, "HostnameConflict");
    assert!(message.contains("Tunnel shop/first"), "{message}");
    let (reason, message) = decided["other-later"].clone().unwrap_err();
    assert_eq!(reason, "HostnameConflict");
    assert!(message.contains("another namespace") && !message.contains("shop"), "{message}");
    // One that gets nothing holds nothing.
    assert_eq!(
        decided["other-free"],
        Ok(vec!["free.t.example.com".to_owned(), "*.t.example.com".to_owned()])
    );
}

#[test]
fn of_those_that_came_in_the_same_second_whoever_holds_the_name_keeps_it() {
    let claim = |name: &str| tunnel("shop", name, 0, &json!({ "label": "web" }));
    let mut held = Tunnel::clone(&claim("b"));
    let both = |held: &Tunnel| decide(Some(&gateway(&open())), &[claim("a"), Arc::new(held.clone())]);
    assert!(both(&held)["shop-a"].is_ok(), "neither is said to hold it: the names decide");
    held.status = Some(told(&claim("b"), &observed(&claim("b"), None)));
    let decided = both(&held);
    assert!(decided["shop-b"].is_ok() && decided["shop-a"].is_err(), "{decided:?}");
}

#[test]
fn what_a_gateway_does_not_take_is_refused_with_what_to_do() {
    let one = |spec: &Value| tunnel("shop", "web", 0, spec);
    let plain = json!({});
    let cases = vec![
        (None, one(&plain), "GatewayNotFound", "apply it"),
        (Some(gateway(&Value::Null)), one(&plain), "NotAllowed", "spec.tunnels with a domain"),
        (
            Some(gateway(&json!({ "domain": "t.example.com" }))),
            tunnel("other", "web", 0, &plain),
            "NotAllowed",
            "set the Gateway's",
        ),
        (
            Some(gateway(&open())),
            one(&json!({ "hostnames": ["web.example.com"] })),
            "Invalid",
            "below the Gateway's domain",
        ),
        (
            Some(gateway(&open())),
            one(&json!({ "hostnames": ["t.example.com"] })),
            "Invalid",
            "below the Gateway's domain",
        ),
        (
            Some(gateway(&open())),
            one(&json!({ "hostnames": ["a..t.example.com"] })),
            "Invalid",
            "is no host name",
        ),
        (
            Some(gateway(&open())),
            one(&json!({ "endpoint": "localhost" })),
            "Invalid",
            "http://localhost:8080",
        ),
        (Some(gateway(&open())), one(&json!({ "access": {} })), "Invalid", "access: {auth: None}"),
    ];
    for (gateway, tunnel, reason, says) in cases {
        let decided = decide(gateway.as_ref(), std::slice::from_ref(&tunnel));
        let (found, message) = decided.into_values().next().unwrap().unwrap_err();
        assert!(found == reason && message.contains(says), "{found}: {message}");
    }
}

#[test]
fn beyond_the_quota_the_oldest_stay() {
    let mut limited = open();
    limited["maxTunnels"] = json!(1);
    let tunnels = [tunnel("shop", "b", 1, &json!({})), tunnel("shop", "a", 0, &json!({}))];
    let decided = decide(Some(&gateway(&limited)), &tunnels);
    assert!(decided["shop-a"].is_ok());
    assert_eq!(decided["shop-b"].clone().unwrap_err().0, "QuotaExceeded");
}

#[test]
fn what_does_not_fit_into_the_configuration_or_the_certificate_is_refused_and_the_oldest_stay() {
    let names =
        |at: usize| -> Vec<String> { (0..16).map(|name| format!("a{name}.b{at}.t.example.com")).collect() };
    let many: Vec<_> = (0..10)
        .map(|at| {
            tunnel("shop", &format!("t{at}"), u32::try_from(at).unwrap(), &json!({ "hostnames": names(at) }))
        })
        .collect();
    let decided = decide(Some(&gateway(&open())), &many);
    let accepted = decided.values().filter(|verdict| verdict.is_ok()).count();
    assert_eq!(accepted, 6, "96 names that the wildcard does not cover, and no more than 100");
    assert_eq!(decided["shop-t9"].clone().unwrap_err().0, "QuotaExceeded");
    let long = |at: usize| format!("{}{at}", "x".repeat(50));
    let large: Vec<_> = (0..1000)
        .map(|at| {
            let names: Vec<String> =
                (0..16).map(|name| format!("{}-{name}.t.example.com", long(at))).collect();
            tunnel("shop", &format!("t{at}"), u32::try_from(at).unwrap(), &json!({ "hostnames": names }))
        })
        .collect();
    let claims =
        Claims::of(&Key::new("shop", "door"), Some(&gateway(&open())), &large, &Namespaces::default());
    let size: usize =
        claims.accepted().map(|tunnel| serde_json::to_string_pretty(tunnel).unwrap().len()).sum();
    assert!(size < 700 * 1024 && claims.accepted().count() > 300, "{size}");
}

proptest! {
    #[test]
    fn the_order_of_tunnels_changes_nothing_and_no_name_has_two_holders(
        claims in proptest::collection::vec((0_u32..5, proptest::collection::vec(0_u8..6, 0..3)), 1..8),
        seed in any::<u64>(),
    ) {
        let tunnels: Vec<_> = claims
            .iter()
            .enumerate()
            .map(|(at, (age, names))| {
                let names: std::collections::BTreeSet<_> = names.iter().map(|name| format!("n{name}.t.example.com")).collect();
                tunnel("shop", &format!("t{at}"), *age, &json!({ "hostnames": names }))
            })
            .collect();
        let mut shuffled = tunnels.clone();
        let length = shuffled.len();
        for at in 0..length {
            shuffled.swap(at, usize::try_from(seed >> (at % 60)).unwrap_or_default() % length);
        }
        let door = gateway(&open());
        let decided = decide(Some(&door), &tunnels);
        prop_assert_eq!(&decided, &decide(Some(&door), &shuffled));
        let mut held: Vec<String> = decided.into_values().filter_map(Result::ok).flatten().collect();
        let count = held.len();
        held.sort();
        held.dedup();
        prop_assert_eq!(held.len(), count);
    }
}

const NOW: &str = "2026-03-01T13:00:00Z";

fn probe(ago: i64, hop: &str) -> Probe {
    let now: Timestamp = NOW.parse().unwrap();
    Probe {
        at_ms: now.as_millisecond() - ago * 1000,
        passed: hop.is_empty(),
        hop: hop.to_owned(),
        message: if hop.is_empty() { String::new() } else { "what broke".to_owned() },
        latency_us: 4000,
    }
}

/// A Tunnel that is served by a ready replica, has a connector there, and this probe.
fn observed(tunnel: &Arc<Tunnel>, probe: Option<Probe>) -> Observed {
    let claims = Claims::of(
        &Key::new("shop", "door"),
        Some(&gateway(&open())),
        std::slice::from_ref(tunnel),
        &Namespaces::default(),
    );
    let verdict = claims.verdict(tunnel.metadata.uid.as_deref().unwrap()).cloned();
    let connection = Connection { connector: "c1".into(), transport: "tls".into(), ..Connection::default() };
    let evidence = Evidence { tunnel: None, connections: vec![connection], probe, carried: true };
    Observed {
        published: verdict.clone().and_then(Result::ok),
        verdict,
        replicas: vec![("door-0".to_owned(), true)],
        evidence: vec![("door-0".to_owned(), Arc::new(evidence))],
        settling: false,
        door: Some(Door { port: 443, tls: true, domain: "t.example.com".to_owned() }),
        children: BTreeMap::new(),
        settled: BTreeMap::new(),
        pods: BTreeMap::new(),
        authority: None,
    }
}

fn conditions(status: &TunnelStatus) -> Vec<String> {
    let say = |it: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{} {} {}", it.type_, it.status, it.reason)
    };
    status.conditions.iter().map(say).collect()
}

fn told(tunnel: &Tunnel, observed: &Observed) -> TunnelStatus {
    status(tunnel, observed, &Outcome::default(), NOW.parse().unwrap())
}

#[test]
fn ready_follows_from_a_probe_that_passed_and_from_nothing_less() {
    let web = tunnel("shop", "web", 0, &json!({ "label": "web" }));
    let proved = told(&web, &observed(&web, Some(probe(3590, ""))));
    assert_eq!(conditions(&proved)[3..], ["Reachable Unknown ProbeExpired", "Ready False ProbeExpired"]);
    let proved = told(&web, &observed(&web, Some(probe(5, ""))));
    assert_eq!(
        conditions(&proved),
        [
            "Accepted True Accepted",
            "Programmed True Programmed",
            "Connected True Connected",
            "Reachable True Reachable",
            "Ready True Ready"
        ]
    );
    assert_eq!(proved.url.as_deref(), Some("https://web.t.example.com"));
    assert_eq!(proved.time_to_first_byte.as_deref(), Some("3595.0s"));
    let unproved = told(&web, &observed(&web, None));
    assert_eq!(conditions(&unproved)[3..], ["Reachable Unknown Pending", "Ready False Pending"]);
    let mut alone = observed(&web, None);
    alone.evidence.clear();
    let alone = told(&web, &alone);
    assert_eq!(
        conditions(&alone)[2..],
        ["Connected False NoConnector", "Reachable Unknown Pending", "Ready False NoConnector"]
    );
    assert!(
        alone.conditions[2].message.contains("portcullis connector shop/web"),
        "{:?}",
        alone.conditions[2]
    );
}

#[test]
fn each_hop_that_breaks_is_named() {
    let web = tunnel("shop", "web", 0, &json!({}));
    for hop in ["dns", "tls", "gateway", "peer", "connector", "endpoint"] {
        let status = told(&web, &observed(&web, Some(probe(1, hop))));
        let broken = ["Reachable False ProbeFailed", "Ready False ProbeFailed", "Stalled True ProbeFailed"];
        assert_eq!(conditions(&status)[3..], broken);
        let message = &status.conditions[4].message;
        assert!(message.starts_with("at the ") && message.ends_with("what broke"), "{message}");
        assert_eq!(status.last_probe.unwrap().hop.as_deref(), Some(hop));
    }
}

#[test]
fn a_replica_that_is_behind_is_waited_for_once_and_what_others_change_later_is_no_doubt() {
    let web = tunnel("shop", "web", 0, &json!({}));
    let mut behind = observed(&web, Some(probe(1, "")));
    behind.replicas.push(("door-1".to_owned(), false));
    let first = told(&web, &behind);
    assert_eq!(conditions(&first)[1], "Programmed False GatewayNotProgrammed");
    let mut served = Tunnel::clone(&web);
    served.status = Some(told(&web, &observed(&web, Some(probe(1, "")))));
    assert_eq!(conditions(&told(&served, &behind))[1], "Programmed True Programmed");
    // A change of its own is doubt.
    served.metadata.generation = Some(2);
    assert_eq!(conditions(&told(&served, &behind))[1], "Programmed False GatewayNotProgrammed");
}

#[test]
fn a_replica_that_visitors_may_come_to_and_that_cannot_carry_them_is_named() {
    let web = tunnel("shop", "web", 0, &json!({}));
    let mut halved = observed(&web, Some(probe(1, "")));
    halved.replicas.push(("door-1".to_owned(), true));
    let status = told(&web, &halved);
    let broken = ["Reachable False ProbeFailed", "Ready False ProbeFailed", "Stalled True ProbeFailed"];
    assert_eq!(conditions(&status)[3..], broken);
    assert!(status.conditions[3].message.contains("door-1 has neither"), "{}", status.conditions[3].message);
    halved.evidence.push(("door-1".to_owned(), Arc::new(Evidence { carried: true, ..Evidence::default() })));
    assert_eq!(conditions(&told(&web, &halved))[4], "Ready True Ready");
}

#[test]
fn a_new_leader_takes_nothing_back_before_replicas_had_time_to_speak() {
    let web = tunnel("shop", "web", 0, &json!({}));
    let mut known = Tunnel::clone(&web);
    known.status = Some(told(&web, &observed(&web, Some(probe(1, "")))));
    let mut silent = observed(&web, None);
    silent.evidence.clear();
    silent.published = None;
    silent.settling = true;
    assert_eq!(told(&known, &silent), known.status.clone().unwrap());
    silent.settling = false;
    assert_eq!(conditions(&told(&known, &silent))[2], "Connected False NoConnector");
}

#[test]
fn the_time_of_a_probe_that_found_the_same_is_no_news_for_minutes() {
    let web = tunnel("shop", "web", 0, &json!({}));
    let mut known = Tunnel::clone(&web);
    known.status = Some(told(&web, &observed(&web, Some(probe(100, "")))));
    assert_eq!(told(&known, &observed(&web, Some(probe(1, "")))), known.status.clone().unwrap());
    let old = probe(301, "");
    let mut stale = known.status.clone().unwrap();
    stale.last_probe.as_mut().unwrap().time = Timestamp::from_millisecond(old.at_ms).unwrap().to_string();
    known.status = Some(stale);
    assert_ne!(told(&known, &observed(&web, Some(probe(0, "")))), known.status.clone().unwrap());
}

#[test]
fn what_is_off_is_not_ready_and_keeps_its_name() {
    let web = tunnel("shop", "web", 0, &json!({ "label": "web", "enabled": false }));
    let status = told(&web, &observed(&web, None));
    assert_eq!(conditions(&status)[3..], ["Reachable Unknown Disabled", "Ready False Disabled"]);
    assert_eq!(status.hostnames, ["web.t.example.com"]);
    // Visitors are told so by replicas, which have to know it first.
    let mut untold = observed(&web, None);
    untold.replicas[0].1 = false;
    assert_eq!(conditions(&told(&web, &untold))[4], "Ready False GatewayNotProgrammed");
}
