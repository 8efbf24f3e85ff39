//! The operator with exactly the rights of the chart: they are enough, none is idle, and a missing one is told in words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use portcullis_api::Gateway;
use portcullis_contract::control::call::Request;
use portcullis_contract::gateway::{
    CreateTunnelRequest, DeleteTunnelRequest, ListTunnelsRequest, TunnelAccess, UpdateTunnelRequest,
    VisitorAuth,
};
use portcullis_operator::clock::SystemClock;
use portcullis_operator::options::Options;
use portcullis_operator::world::Kind;
use portcullis_tests::cert_manager;
use portcullis_tests::chart::{self, HELM};
use portcullis_tests::door::{run, tool};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, ready_pod};
use portcullis_tests::{
    PATIENCE, apply, client, config, delete, is, message, namespace, tunnel, until, until_child,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

const SPEC: &str = "clients: [{name: alice}]";

/// The rules of the manifest: those for the whole cluster, and those for the operator's own namespace.
fn manifest() -> (Vec<PolicyRule>, Vec<PolicyRule>) {
    let objects = chart::objects(include_str!("../../manifests/install.yaml"));
    let rules = |kind: &str| {
        let found = chart::object(&objects, kind, "portcullis-operator");
        serde_json::from_value(found["rules"].clone()).unwrap()
    };
    (rules("ClusterRole"), rules("Role"))
}

/// Lets the ServiceAccount of an operator in a namespace do what the rules say, and no more.
async fn grant(client: &Client, namespace: &str, wide: &[PolicyRule], own: &[PolicyRule]) {
    let params = PatchParams::apply("admin").force();
    let subject =
        json!([{ "kind": "ServiceAccount", "name": "portcullis-operator", "namespace": namespace }]);
    let role = |kind: &str, rules: &[PolicyRule]| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": namespace }, "rules": rules })
    };
    let binding = |kind: &str, to: &str| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": to, "name": namespace },
            "subjects": subject })
    };
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.patch(namespace, &params, &Patch::Apply(role("ClusterRole", wide))).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let bound = binding("ClusterRoleBinding", "ClusterRole");
    bindings.patch(namespace, &params, &Patch::Apply(bound)).await.unwrap();
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.patch(namespace, &params, &Patch::Apply(role("Role", own))).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.patch(namespace, &params, &Patch::Apply(binding("RoleBinding", "Role"))).await.unwrap();
    until_known(client, namespace, None, wide).await;
    until_known(client, namespace, Some(namespace), own).await;
}

/// Waits until the API server knows of the rules of an operator in a namespace, for the whole cluster or for one: it does a
/// moment after they were made.
async fn until_known(client: &Client, operator: &str, of: Option<&str>, rules: &[PolicyRule]) {
    let first = |list: Option<&Vec<String>>| list.and_then(|it| it.first()).cloned().unwrap_or_default();
    let (rule, all) = (&rules[0], first(rules[0].resources.as_ref()));
    let (resource, part) = all.split_once('/').unwrap_or((&all, ""));
    let review = json!({
        "metadata": {},
        "spec": {
            "user": format!("system:serviceaccount:{operator}:portcullis-operator"),
            "resourceAttributes": {
                "verb": rule.verbs[0],
                "group": first(rule.api_groups.as_ref()),
                "resource": resource,
                "subresource": part,
                "name": first(rule.resource_names.as_ref()),
                "namespace": of.unwrap_or_default(),
            },
        },
    });
    let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
    let (reviews, began): (Api<SubjectAccessReview>, _) = (Api::all(client.clone()), Instant::now());
    loop {
        let said = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap_or_default();
        if said.allowed {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{rule:?} is never known: {said:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes a verb on a resource out of the rules.
fn without(rules: &[PolicyRule], verb: &str, resource: &str) -> Vec<PolicyRule> {
    let split = rules.iter().flat_map(|rule| {
        let resources = rule.resources.clone().unwrap_or_default();
        resources.into_iter().map(|it| PolicyRule { resources: Some(vec![it]), ..rule.clone() })
    });
    let mut rules: Vec<PolicyRule> = split.collect();
    let hit = rules.iter_mut().find(|rule| rule.resources.as_ref().unwrap()[0] == resource).unwrap();
    assert!(hit.verbs.iter().any(|it| it == verb));
    hit.verbs.retain(|it| it != verb);
    rules
}

/// An operator that is its ServiceAccount and nothing else.
async fn operator(namespace: &str) -> Operator {
    operator_of(namespace, namespace).await
}

/// The same, which looks after a namespace that may be another than its own.
async fn operator_of(namespace: &str, watched: &str) -> Operator {
    let mut config: Config = config().await;
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:portcullis-operator"));
    config.auth_info.impersonate_groups =
        Some(vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()]);
    let watch = |options: &mut Options| options.watch_namespaces = vec![watched.to_owned()];
    Operator::start_as(config, namespace, watch, Arc::default(), Arc::new(SystemClock))
}

/// All that becomes of a Gateway and a Tunnel in a namespace, from their birth on; the operator may be in another one. The
/// Gateway takes the Tunnels of these namespaces.
async fn live(client: &Client, namespace: &str, operator: &Operator, its: &str, allowed: &str) {
    let tunnels = format!("{{domain: t.example.com, allowedNamespaces: {allowed}}}");
    let born = format!("{{clients: [{{name: alice}}, {{name: bob}}], tunnels: {tunnels}}}");
    apply(client, namespace, "door", &born).await.unwrap();
    ready_pod(client, namespace, "door", "door-1").await;
    until(client, namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let host = format!("portcullis-operator.{its}.svc");
    let shows = Credentials { host, ..Credentials::of(client, namespace, "door").await };
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(client, namespace, "door", is("Ready", "True", "Ready")).await;
    let web = "{gatewayRef: {name: door}, endpoint: 'web:80', access: {auth: None}, connector: {}}";
    tunnel::apply(client, namespace, "web", web).await;
    until_child(client, namespace, Kind::Deployment, "web-connector", |it| it.is_some()).await;
    tunnel::until(client, namespace, "web", ["Accepted", "True", "Accepted"]).await;
    until_child(client, namespace, Kind::PodDisruptionBudget, "web-connector", |it| it.is_some()).await;
    if its == namespace {
        called(client, namespace, &mut replica).await;
    }
    apply(client, namespace, "door", SPEC).await.unwrap();
    until_child(client, namespace, Kind::Secret, "door-client-bob", |it| it.is_none()).await;
    // Nobody answers here, and nobody needs to.
    cert_manager::install(client).await;
    apply(client, namespace, "asks", "pki: {ca: {issuerRef: {name: corp}}}").await.unwrap();
    let began = Instant::now();
    while cert_manager::requests(client, namespace).await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "nothing is ever asked of cert-manager");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (kind, name) in [
        (Kind::Secret, "door-server"),
        (Kind::ConfigMap, "door-config"),
        (Kind::Service, "door"),
        (Kind::Deployment, "door"),
        (Kind::PodDisruptionBudget, "door"),
    ] {
        delete(client, namespace, kind, name).await;
        until_child(client, namespace, kind, name, |it| it.is_some()).await;
    }
}

#[tokio::test]
async fn the_rights_of_the_manifest_are_enough_for_a_whole_life_and_none_of_them_is_idle() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (wide, own) = manifest();
    grant(&client, &namespace, &wide, &own).await;
    let operator = operator(&namespace).await;
    live(&client, &namespace, &operator, &namespace, "{from: Selector, selector: {}}").await;
    // The lease is renewed, not only made.
    let lease = "coordination.k8s.io/leases".to_owned();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let began = Instant::now();
    while !operator.script.asked().contains(&("update".to_owned(), lease.clone())) {
        assert!(began.elapsed() < PATIENCE, "the lease is never renewed");
        pace.tick().await;
    }
    let script = operator.script.clone();
    operator.stop().await;
    assert_eq!(script.forbidden(), Vec::<String>::new());

    let asked = script.asked();
    let granted: BTreeSet<_> = wide.iter().chain(&own).flat_map(rights).collect();
    let idle: Vec<_> = granted.difference(&asked).filter(|right| !is_for_later(right)).collect();
    assert!(idle.is_empty(), "granted and never used: {idle:#?}");
}

#[tokio::test]
async fn with_watch_namespaces_the_operator_lives_without_a_right_beyond_them() {
    let client = client().await;
    let (own, watched) = (namespace(&client).await, namespace(&client).await);
    let values = format!("{{watchNamespaces: [{watched}], rbac: {{userRoles: false}}}}");
    let rights = ["template", "portcullis", "--show-only", "templates/rbac.yaml"];
    let rights = HELM.done(&own, &rights, &values).await;
    let beyond: Vec<_> = chart::objects(&rights)
        .into_iter()
        .filter(|it| ![own.as_str(), &watched].map(Value::from).contains(&it["metadata"]["namespace"]))
        .collect();
    assert!(beyond.is_empty(), "{beyond:#?}");
    run(tool("kubectl").args(["apply", "--server-side", "-f", "-"]), Some(&rights)).await;
    for role in chart::objects(&rights).iter().filter(|it| it["kind"] == "Role") {
        let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone()).unwrap();
        until_known(&client, &own, role["metadata"]["namespace"].as_str(), &rules).await;
    }
    let operator = operator_of(&own, &watched).await;
    live(&client, &watched, &operator, &own, "{}").await;
    let script = operator.script.clone();
    operator.stop().await;
    assert_eq!(script.forbidden(), Vec::<String>::new());
}

#[tokio::test]
async fn a_gateway_that_selects_by_labels_that_the_operator_may_not_read_stops_no_other() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (wide, own) = manifest();
    grant(&client, &namespace, &without(&wide, "list", "namespaces"), &own).await;
    let selects = "tunnels: {domain: t.example.com, allowedNamespaces: {from: Selector, selector: {}}}";
    apply(&client, &namespace, "selects", selects).await.unwrap();
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let web = "{gatewayRef: {name: selects}, endpoint: 'web:80', access: {auth: None}}";
    tunnel::apply(&client, &namespace, "web", web).await;
    let operator = operator(&namespace).await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    until(&client, &namespace, "selects", is("CertificatesReady", "True", "Issued")).await;
    tunnel::until(&client, &namespace, "web", ["Accepted", "False", "NotAllowed"]).await;
    assert_eq!(operator.page("/readyz").await, (200, "ok\n".to_owned()));
    operator.stop().await;
}

/// What callers of the Gateway's API ask for: by the Gateway's roles, then by the API server's word.
async fn called(client: &Client, namespace: &str, replica: &mut Replica) {
    let create = |name: &str| CreateTunnelRequest {
        name: name.into(),
        endpoint: "a:1".into(),
        access: Some(TunnelAccess { auth: VisitorAuth::None.into(), ..TunnelAccess::default() }),
        ..CreateTunnelRequest::default()
    };
    let user = &["user"];
    replica.call("alice", user, Request::CreateTunnel(create("theirs"))).await.unwrap();
    // What stands in the way is looked at.
    let taken = replica.call("alice", user, Request::CreateTunnel(create("web"))).await.unwrap_err();
    assert_eq!(taken.0, Code::AlreadyExists, "{}", taken.1);
    let off = UpdateTunnelRequest { name: "theirs".into(), enabled: Some(false), ..Default::default() };
    replica.call("alice", user, Request::UpdateTunnel(off)).await.unwrap();
    let gone = DeleteTunnelRequest { name: "theirs".into(), ..Default::default() };
    replica.call("alice", user, Request::DeleteTunnel(gone)).await.unwrap();
    let asked = "{tunnels: {domain: t.example.com, authorization: Kubernetes}}";
    apply(client, namespace, "door", asked).await.unwrap();
    let began = Instant::now();
    let list =
        || Request::ListTunnels(ListTunnelsRequest { namespace: namespace.into(), ..Default::default() });
    while replica.call("alice", user, list()).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "the API server is never asked");
    }
}

/// Every verb of a rule on each of its resources.
fn rights(rule: &PolicyRule) -> Vec<(String, String)> {
    let (groups, resources) = (rule.api_groups.iter().flatten(), rule.resources.iter().flatten());
    let names: Vec<_> =
        groups.flat_map(|group| resources.clone().map(move |it| format!("{group}/{it}"))).collect();
    rule.verbs.iter().flat_map(|verb| names.iter().map(|it| (verb.clone(), it.clone()))).collect()
}

/// Rights that the operator never asks for by name in this life, with the reason.
fn is_for_later((verb, resource): &(String, String)) -> bool {
    const CHILDREN: [&str; 6] = [
        "/secrets",
        "/configmaps",
        "/services",
        "apps/deployments",
        "policy/poddisruptionbudgets",
        "cert-manager.io/certificaterequests",
    ];
    let child = CHILDREN.contains(&resource.as_str());
    match verb.as_str() {
        // The API server asks for it on the operator's behalf.
        "update" => ["portcullis.dev/gateways/finalizers", "portcullis.dev/tunnels/finalizers"]
            .contains(&resource.as_str()),
        // A server-side apply that makes an object is a PATCH, and is asked for create too. Get is to look at what
        // stands in the way of a child, delete for one that outlives its place.
        "create" | "get" | "delete" => child,
        // This operator looks after one namespace, and need not ask which there are.
        "list" => resource == "/namespaces",
        _ => false,
    }
}

#[tokio::test]
async fn a_write_that_is_not_allowed_is_told_with_verb_and_object_until_it_is() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (wide, own) = manifest();
    grant(&client, &namespace, &without(&wide, "patch", "deployments"), &own).await;
    let operator = operator(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let expected = format!(
        "failed to apply Deployment {namespace}/door: deployments.apps \"door\" is forbidden: User \"system:serviceaccount:{namespace}:portcullis-operator\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"{namespace}\""
    );
    let is_told = |gateway: &Gateway| {
        is("Accepted", "False", "Forbidden")(gateway) && message(gateway, "Accepted") == expected
    };
    let gateway = until(&client, &namespace, "door", is_told).await;
    assert!(is("Ready", "False", "Forbidden")(&gateway), "{gateway:#?}");
    grant(&client, &namespace, &wide, &own).await;
    until(&client, &namespace, "door", is("Accepted", "True", "Accepted")).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_list_that_is_not_allowed_is_told_by_readyz_and_the_operator_lives_on() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (wide, own) = manifest();
    grant(&client, &namespace, &without(&wide, "list", "secrets"), &own).await;
    let operator = operator(&namespace).await;
    let page = |wish: String| {
        let operator = &operator;
        async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            loop {
                let (code, text) = operator.page("/readyz").await;
                if text.lines().any(|line| line == wish) {
                    break (code, text);
                }
                pace.tick().await;
            }
        }
    };
    let said = format!(
        "secrets in {namespace}: failed to perform initial object list: secrets is forbidden: User \"system:serviceaccount:{namespace}:portcullis-operator\" cannot list resource \"secrets\" in API group \"\" in the namespace \"{namespace}\""
    );
    let (code, text) = tokio::time::timeout(PATIENCE, page(said)).await.unwrap();
    assert_eq!(code, 503);
    assert!(text.starts_with("not ready:\n"), "{text}");
    assert_eq!(operator.page("/healthz").await, (200, "ok\n".to_owned()));
    apply(&client, &namespace, "door", SPEC).await.unwrap();

    grant(&client, &namespace, &wide, &own).await;
    let (code, _) = tokio::time::timeout(PATIENCE, page("ok".to_owned())).await.unwrap();
    assert_eq!(code, 200);
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    operator.stop().await;
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
