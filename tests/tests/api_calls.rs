//! What callers of a Gateway's API ask of the operator, against a real API server; the replica is played by hand.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use portcullis_api::Tunnel;
use portcullis_contract::control::call::Request;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::control::{Connection, TunnelReport};
use portcullis_contract::gateway as api;
use portcullis_contract::gateway::{
    CreateTunnelRequest, DeleteTunnelRequest, GetTunnelRequest, ListProjectsRequest, ListTunnelsRequest,
    TunnelAccess, TunnelChange, TunnelHostnames, UpdateTunnelRequest, VisitorAuth, WatchTunnelsRequest,
};
use portcullis_tests::faults::{Fault, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Replica, attach_door, attached_door};
use portcullis_tests::{apply, client, namespace, tunnel};
use serde_json::json;
use tonic::Code;

const SPEC: &str = "{clients: [{name: alice}], tunnels: {domain: t.example.com}}";
const USER: &[&str] = &["user"];
const ADMIN: &[&str] = &["admin"];

/// A request to create a Tunnel that is open to everybody.
fn open(endpoint: &str) -> CreateTunnelRequest {
    let access = TunnelAccess { auth: VisitorAuth::None.into(), ..TunnelAccess::default() };
    CreateTunnelRequest { endpoint: endpoint.into(), access: Some(access), ..CreateTunnelRequest::default() }
}

async fn create(
    replica: &mut Replica,
    user: &str,
    request: CreateTunnelRequest,
) -> Result<(api::Tunnel, bool), (Code, String)> {
    match replica.call(user, USER, Request::CreateTunnel(request)).await? {
        Answer::Created(created) => Ok((created.tunnel.unwrap(), created.created)),
        other => panic!("{other:?}"),
    }
}

/// The names that somebody sees.
async fn list(replica: &mut Replica, user: &str, roles: &[&str]) -> Vec<String> {
    let request = Request::ListTunnels(ListTunnelsRequest::default());
    match replica.call(user, roles, request).await.unwrap() {
        Answer::Tunnels(page) => page.tunnels.into_iter().map(|it| it.name).collect(),
        other => panic!("{other:?}"),
    }
}

fn get(name: &str) -> Request {
    Request::GetTunnel(GetTunnelRequest { name: name.into(), ..GetTunnelRequest::default() })
}

fn delete(name: &str) -> Request {
    Request::DeleteTunnel(DeleteTunnelRequest { name: name.into(), ..DeleteTunnelRequest::default() })
}

fn update(name: &str, change: UpdateTunnelRequest) -> Request {
    Request::UpdateTunnel(UpdateTunnelRequest { name: name.into(), ..change })
}

async fn changed(replica: &mut Replica, user: &str, request: Request) -> Result<api::Tunnel, (Code, String)> {
    match replica.call(user, USER, request).await? {
        Answer::Tunnel(tunnel) => Ok(tunnel),
        other => panic!("{other:?}"),
    }
}

/// What became of a call that must be refused.
fn refused<T: std::fmt::Debug>(answer: Result<T, (Code, String)>, code: Code) -> String {
    let (said, message) = answer.unwrap_err();
    assert_eq!(said, code, "{message}");
    message
}

/// Reason and message of the Events about a Tunnel that speak of a user.
async fn events(client: &Client, namespace: &str, name: &str) -> Vec<(String, String)> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = api.list(&ListParams::default()).await.unwrap().items.into_iter();
    let about = events.filter(|it| it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(name)));
    let mut told: Vec<_> = about
        .filter_map(|it| Some((it.metadata.creation_timestamp?, it.reason?, it.note?)))
        .filter(|(_, reason, _)| reason.ends_with("ByUser"))
        .collect();
    told.sort();
    told.into_iter().map(|(_, reason, note)| (reason, note)).collect()
}

#[tokio::test]
async fn a_user_manages_its_own_tunnels_and_an_admin_all_of_them_and_each_change_is_told() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let (web, created) = create(&mut replica, "alice", open("127.0.0.1:8080")).await.unwrap();
    assert!(created);
    assert_eq!((web.namespace.as_str(), web.created_by.as_str()), (namespace.as_str(), "alice"));
    assert_eq!((web.endpoint.as_str(), web.protocol.as_str(), web.enabled), ("127.0.0.1:8080", "HTTP", true));
    assert_eq!(web.name.split('-').count(), 3, "a readable name: {}", web.name);
    assert!(web.conditions.len() == 5 && web.conditions.iter().all(|it| it.status == "Unknown"), "{web:?}");
    let there = tunnel::until(&client, &namespace, &web.name, ["Accepted", "True", "Accepted"]).await;
    assert_eq!(there.annotations()["portcullis.dev/created-by"], "alice");
    assert!(there.managed_fields().iter().any(|it| it.manager.as_deref() == Some("portcullis-api")));
    assert_eq!(there.spec.gateway_ref.namespace, None, "the Gateway's own namespace is not spelled out");
    tunnel::apply(
        &client,
        &namespace,
        "by-hand",
        "{gatewayRef: {name: door}, endpoint: 'a:1', access: {auth: None}}",
    )
    .await;
    tunnel::until(&client, &namespace, "by-hand", ["Accepted", "True", "Accepted"]).await;

    assert_eq!(list(&mut replica, "alice", USER).await, std::slice::from_ref(&web.name));
    assert!(list(&mut replica, "bob", USER).await.is_empty());
    let mut all = vec!["by-hand".to_owned(), web.name.clone()];
    all.sort();
    assert_eq!(list(&mut replica, "root", ADMIN).await, all);

    // What somebody else's is, is not there for bob: not to be read, changed or deleted.
    let off = UpdateTunnelRequest { enabled: Some(false), ..UpdateTunnelRequest::default() };
    let name = web.name.as_str();
    for request in [get(name), delete(name), update(name, off.clone()), get("by-hand"), get("nothing")] {
        let message = refused(replica.call("bob", USER, request).await, Code::NotFound);
        assert!(message.contains("there is no Tunnel"), "{message}");
    }
    refused(replica.call("alice", USER, delete("by-hand")).await, Code::NotFound);

    let now = changed(&mut replica, "alice", update(&web.name, off)).await.unwrap();
    assert!(!now.enabled && now.uid == web.uid);
    let Answer::Deleted(_) = replica.call("root", ADMIN, delete(&web.name)).await.unwrap() else { panic!() };
    assert!(list(&mut replica, "alice", USER).await.is_empty(), "whoever looks next does not see it");
    refused(replica.call("alice", USER, get(&web.name)).await, Code::NotFound);
    let api: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    assert!(api.get_opt(&web.name).await.unwrap().is_none());

    let through = format!("through Gateway {namespace}/door");
    let mut told = events(&client, &namespace, &web.name).await;
    told.sort();
    let expected = [
        ("ChangedByUser".to_owned(), format!("changed by alice {through}")),
        ("CreatedByUser".to_owned(), format!("created by alice {through}")),
        ("DeletedByUser".to_owned(), format!("deleted by root {through}")),
    ];
    assert_eq!(told, expected);
    operator.stop().await;
}

#[tokio::test]
async fn a_tunnel_is_created_once_for_each_user_endpoint_and_connector_and_then_nothing_is_written() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let asked = CreateTunnelRequest { connector: "laptop".into(), ..open("http://localhost:8080") };
    // Both at once: one of them finds what the other has created.
    let first = replica.ask("alice", USER, Request::CreateTunnel(asked.clone())).await;
    let again = CreateTunnelRequest { endpoint: "127.0.0.1:8080".into(), ..asked.clone() };
    let second = replica.ask("alice", USER, Request::CreateTunnel(again.clone())).await;
    let Answer::Created(one) = replica.answer(first).await.unwrap() else { panic!() };
    let Answer::Created(two) = replica.answer(second).await.unwrap() else { panic!() };
    let (web, same) = (one.tunnel.unwrap(), two.tunnel.unwrap());
    assert!(one.created != two.created && web.uid == same.uid, "{web:?} {same:?}");
    assert_eq!(same.connector, "laptop");
    // By another user, for another connector, endpoint or name it is another one.
    let mut uids = vec![web.uid.clone()];
    for (user, request) in [
        ("bob", asked.clone()),
        ("alice", CreateTunnelRequest { connector: "desktop".into(), ..asked.clone() }),
        ("alice", CreateTunnelRequest { endpoint: "localhost:9090".into(), ..asked.clone() }),
        ("alice", CreateTunnelRequest { name: "shop".into(), ..asked.clone() }),
    ] {
        let (other, created) = create(&mut replica, user, request).await.unwrap();
        assert!(created);
        uids.push(other.uid);
    }
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 5);
    // A name that is taken by another one.
    let taken = CreateTunnelRequest { name: "shop".into(), ..open("localhost:1") };
    refused(create(&mut replica, "alice", taken.clone()).await, Code::AlreadyExists);
    refused(create(&mut replica, "bob", taken).await, Code::AlreadyExists);

    let written = || {
        let writes = operator.script.writes().into_iter();
        writes.filter(|it| it.contains("/tunnels") && !it.ends_with("/status")).collect::<Vec<_>>()
    };
    let before = written();
    let (found, created) = create(&mut replica, "alice", again).await.unwrap();
    assert_eq!((found.uid, created), (web.uid, false));
    assert_eq!(list(&mut replica, "alice", USER).await.len(), 4);
    // Five that were created, and two that met what stood there.
    assert_eq!((before.len(), written()), (7, before), "asking and finding writes nothing");
    operator.stop().await;
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_finds_its_tunnel_when_it_is_asked_again() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    // How many writes it takes until the Tunnel's.
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    create(&mut replica, "alice", open("localhost:8080")).await.unwrap();
    let is_create = |write: &String| write.starts_with("POST") && write.ends_with("/tunnels");
    let number = operator.script.writes().iter().position(is_create).unwrap();
    operator.stop().await;

    for number in [number - 1, number, number + 1] {
        let namespace = portcullis_tests::namespace(&client).await;
        let operator = Operator::start_scripted(&namespace, Script::failing(number, Fault::AnswerLost)).await;
        let mut replica = attach_door(&client, &namespace, SPEC, &operator).await;
        let mut tries = 0;
        let found = loop {
            match create(&mut replica, "alice", open("localhost:8080")).await {
                Ok((found, _)) => break found,
                Err((code, message)) => assert_eq!(code, Code::Unavailable, "{message}"),
            }
            tries += 1;
            assert!(tries < 3, "it is lost once");
        };
        assert_eq!(list(&mut replica, "root", ADMIN).await, [found.name]);
        operator.stop().await;
    }
}

#[tokio::test]
async fn quotas_hold_for_the_gateway_and_for_each_user_also_for_those_who_ask_at_once() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let spec = "{tunnels: {domain: t.example.com, maxTunnels: 4, maxTunnelsPerUser: 2}}";
    let (operator, mut replica) = attached_door(&client, &namespace, spec).await;
    let mut calls = Vec::new();
    for number in 0..5 {
        let request = Request::CreateTunnel(open(&format!("localhost:{}", 8080 + number)));
        calls.push(replica.ask("alice", USER, request).await);
    }
    let (mut created, mut full) = (0, 0);
    for call in calls {
        let answer = replica.answer(call).await;
        match answer {
            Ok(_) => created += 1,
            Err((code, message)) => {
                assert_eq!(code, Code::ResourceExhausted, "{message}");
                assert!(message.contains("maxTunnelsPerUser"), "{message}");
                full += 1;
            }
        }
    }
    assert_eq!((created, full), (2, 3));
    // An admin is a user too, as far as that goes.
    for (user, port) in [("root", 1), ("root", 2)] {
        create(&mut replica, user, open(&format!("localhost:{port}"))).await.unwrap();
    }
    let message = refused(create(&mut replica, "bob", open("localhost:3")).await, Code::ResourceExhausted);
    assert!(message.contains("maxTunnels allows"), "{message}");
    // One that is gone makes room.
    let mine = list(&mut replica, "alice", USER).await;
    replica.call("alice", USER, delete(&mine[0])).await.unwrap();
    create(&mut replica, "bob", open("localhost:3")).await.unwrap();
    operator.stop().await;
}

#[tokio::test]
async fn what_the_api_server_finds_wrong_is_told_in_its_words_and_conflicts_as_what_they_are() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    for (request, words) in [
        (open("localhost"), "endpoint is http://HOST:PORT"),
        (CreateTunnelRequest { name: "Web".into(), ..open("a:1") }, "a-z"),
        (CreateTunnelRequest { protocol: "SMTP".into(), ..open("a:1") }, "supported values"),
        (CreateTunnelRequest { label: "a b".into(), ..open("a:1") }, "label is one label of a name"),
        (
            CreateTunnelRequest {
                label: "a".into(),
                hostnames: vec!["b.t.example.com".into()],
                ..open("a:1")
            },
            "write hostnames or label, not both",
        ),
    ] {
        let message = refused(create(&mut replica, "alice", request).await, Code::InvalidArgument);
        assert!(message.contains(words), "{message}");
    }
    let (web, _) = create(&mut replica, "alice", open("a:1")).await.unwrap();
    let bad = UpdateTunnelRequest { endpoint: Some("nowhere".into()), ..UpdateTunnelRequest::default() };
    let message =
        refused(changed(&mut replica, "alice", update(&web.name, bad)).await, Code::InvalidArgument);
    assert!(message.contains("endpoint is http://HOST:PORT"), "{message}");

    // What is given is changed, and the rest stays; a label takes the place of hostnames and the other way round.
    let hostnames = TunnelHostnames { hostnames: vec!["a.t.example.com".into(), "b.t.example.com".into()] };
    let change = UpdateTunnelRequest { hostnames: Some(hostnames.clone()), ..UpdateTunnelRequest::default() };
    let named = changed(&mut replica, "alice", update(&web.name, change)).await.unwrap();
    assert_eq!((named.hostnames, named.endpoint.as_str()), (hostnames.hostnames, "a:1"));
    let change = UpdateTunnelRequest { label: Some("shop".into()), ..UpdateTunnelRequest::default() };
    let labelled = changed(&mut replica, "alice", update(&web.name, change)).await.unwrap();
    assert_eq!((labelled.label.as_str(), labelled.hostnames.len()), ("shop", 0));
    let access = TunnelAccess {
        auth: VisitorAuth::None.into(),
        methods: vec!["GET".into()],
        ..TunnelAccess::default()
    };
    let change = UpdateTunnelRequest { access: Some(access.clone()), ..UpdateTunnelRequest::default() };
    let guarded = changed(&mut replica, "alice", update(&web.name, change)).await.unwrap();
    assert_eq!((guarded.access, guarded.label.as_str()), (Some(access), "shop"));
    // All that was said of access makes place.
    let access = TunnelAccess { auth: VisitorAuth::None.into(), ..TunnelAccess::default() };
    let change = UpdateTunnelRequest { access: Some(access.clone()), ..UpdateTunnelRequest::default() };
    let opened = changed(&mut replica, "alice", update(&web.name, change)).await.unwrap();
    assert_eq!(opened.access, Some(access));

    let stale = UpdateTunnelRequest {
        enabled: Some(false),
        resource_version: web.resource_version.clone(),
        ..UpdateTunnelRequest::default()
    };
    refused(changed(&mut replica, "alice", update(&web.name, stale)).await, Code::Aborted);
    refused(
        changed(&mut replica, "alice", update("", UpdateTunnelRequest::default())).await,
        Code::InvalidArgument,
    );
    let nothing =
        changed(&mut replica, "alice", update(&web.name, UpdateTunnelRequest::default())).await.unwrap();
    assert!(nothing.enabled);
    operator.stop().await;
}

#[tokio::test]
async fn a_connector_of_the_cluster_is_sent_elsewhere_by_admins_only() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let (web, _) = create(&mut replica, "alice", open("web:80")).await.unwrap();
    let patch = json!({ "spec": { "connector": { "replicas": 1 } } });
    let tunnels: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::default();
    tunnels.patch(&web.name, &params, &Patch::Merge(&patch)).await.unwrap();
    tunnel::until(&client, &namespace, &web.name, ["Accepted", "True", "Accepted"]).await;
    let elsewhere =
        UpdateTunnelRequest { endpoint: Some("kubernetes:443".into()), ..UpdateTunnelRequest::default() };
    let message = refused(
        changed(&mut replica, "alice", update(&web.name, elsewhere.clone())).await,
        Code::PermissionDenied,
    );
    assert!(message.contains("only an admin"), "{message}");
    let off = UpdateTunnelRequest { enabled: Some(false), ..UpdateTunnelRequest::default() };
    changed(&mut replica, "alice", update(&web.name, off)).await.unwrap();
    replica.call("root", ADMIN, update(&web.name, elsewhere)).await.unwrap();
    let there = tunnels.get(&web.name).await.unwrap();
    assert!(there.spec.endpoint == "kubernetes:443" && there.spec.connector.is_some());
    operator.stop().await;
}

#[tokio::test]
async fn namespaces_and_gateways_that_are_not_meant_are_out_of_reach_also_for_an_admin() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let elsewhere = CreateTunnelRequest { namespace: "default".into(), ..open("a:1") };
    for roles in [USER, ADMIN] {
        let request = Request::CreateTunnel(elsewhere.clone());
        refused(replica.call("root", roles, request).await, Code::PermissionDenied);
        let request =
            Request::ListTunnels(ListTunnelsRequest { namespace: "default".into(), ..Default::default() });
        refused(replica.call("root", roles, request).await, Code::PermissionDenied);
        let request = Request::GetTunnel(GetTunnelRequest { namespace: "default".into(), name: "x".into() });
        refused(replica.call("root", roles, request).await, Code::PermissionDenied);
    }
    let Answer::Projects(projects) =
        replica.call("alice", USER, Request::ListProjects(ListProjectsRequest {})).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(projects.projects, [api::Project { name: namespace.clone(), is_default: true }]);

    // A Tunnel of another Gateway of the same namespace, though it says that alice created it.
    apply(&client, &namespace, "other", "{tunnels: {domain: o.example.com}}").await.unwrap();
    let object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Tunnel",
        "metadata": { "name": "theirs", "annotations": { "portcullis.dev/created-by": "alice" } },
        "spec": { "gatewayRef": { "name": "other" }, "endpoint": "a:1", "access": { "auth": "None" } },
    });
    let tunnels: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply("admin");
    tunnels.patch("theirs", &params, &Patch::Apply(&object)).await.unwrap();
    tunnel::until(&client, &namespace, "theirs", ["Accepted", "True", "Accepted"]).await;
    for roles in [USER, ADMIN] {
        assert!(list(&mut replica, "alice", roles).await.is_empty());
        refused(replica.call("alice", roles, get("theirs")).await, Code::NotFound);
        refused(replica.call("alice", roles, delete("theirs")).await, Code::NotFound);
    }
    // Whoever has no name is nobody, whatever roles it brings.
    refused(replica.call("", ADMIN, get("theirs")).await, Code::PermissionDenied);
    // A Gateway that takes no Tunnels has none.
    apply(&client, &namespace, "door", "{clients: [{name: alice}]}").await.unwrap();
    let began = tokio::time::Instant::now();
    loop {
        match replica.call("alice", USER, get("x")).await {
            Err((Code::Unimplemented, _)) => break,
            other => assert!(began.elapsed() < portcullis_tests::PATIENCE, "{other:?}"),
        }
    }
    operator.stop().await;
}

#[tokio::test]
async fn a_long_list_comes_by_the_page_in_one_order() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    for number in 0..5 {
        create(&mut replica, "alice", open(&format!("localhost:{}", 8080 + number))).await.unwrap();
    }
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request =
            ListTunnelsRequest { page_size: 2, page_token: token.clone(), ..ListTunnelsRequest::default() };
        let Answer::Tunnels(page) = replica.call("alice", USER, Request::ListTunnels(request)).await.unwrap()
        else {
            panic!()
        };
        seen.extend(page.tunnels.into_iter().map(|it| it.name));
        token = page.next_page_token;
        pages += 1;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len(), &seen), (3, 5, &list(&mut replica, "alice", USER).await));
    let request = ListTunnelsRequest { page_token: "nonsense".into(), ..ListTunnelsRequest::default() };
    refused(replica.call("alice", USER, Request::ListTunnels(request)).await, Code::InvalidArgument);
    operator.stop().await;
}

/// The next events of a watch, as change and name.
async fn told(replica: &mut Replica, watch: u64) -> Vec<(TunnelChange, api::Tunnel)> {
    match replica.answer(watch).await.unwrap() {
        Answer::Events(told) => told.events.into_iter().map(|it| (it.change(), it.tunnel.unwrap())).collect(),
        other => panic!("{other:?}"),
    }
}

/// Events of a watch until one is as wished; that one comes last.
async fn told_until(
    replica: &mut Replica,
    watch: u64,
    wish: impl Fn(TunnelChange, &api::Tunnel) -> bool,
) -> Vec<(TunnelChange, api::Tunnel)> {
    let mut all = Vec::new();
    loop {
        for (change, tunnel) in told(replica, watch).await {
            let is_wished = wish(change, &tunnel);
            all.push((change, tunnel));
            if is_wished {
                return all;
            }
        }
    }
}

fn status(tunnel: &api::Tunnel, condition: &str) -> String {
    tunnel.conditions.iter().find(|it| it.r#type == condition).map(|it| it.status.clone()).unwrap_or_default()
}

#[tokio::test]
async fn whoever_watches_is_told_each_step_of_what_is_theirs_and_of_nothing_else() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let (old, _) = create(&mut replica, "alice", open("localhost:1")).await.unwrap();
    let watch = |name: &str| {
        Request::WatchTunnels(WatchTunnelsRequest { name: name.into(), ..WatchTunnelsRequest::default() })
    };
    let alice = replica.ask("alice", USER, watch("")).await;
    let [(TunnelChange::Added, there)] = &told(&mut replica, alice).await[..] else {
        panic!("what is there comes at once")
    };
    assert_eq!(there.uid, old.uid);
    let (web, _) = create(&mut replica, "alice", open("localhost:2")).await.unwrap();
    create(&mut replica, "bob", open("localhost:3")).await.unwrap();
    let programmed =
        |_: TunnelChange, it: &api::Tunnel| it.name == web.name && status(it, "Programmed") == "True";
    let steps = told_until(&mut replica, alice, programmed).await;
    let of_web: Vec<_> = steps.iter().filter(|(_, it)| it.name == web.name).collect();
    // Steps that come faster than they can be told are told as one.
    assert_eq!(of_web[0].0, TunnelChange::Added);
    assert!(of_web[1..].iter().all(|(change, _)| *change == TunnelChange::Modified), "{of_web:#?}");
    let versions: Vec<u64> = of_web.iter().map(|(_, it)| it.resource_version.parse().unwrap()).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "each is told once, in order: {versions:?}");
    assert!(steps.iter().all(|(_, it)| it.created_by == "alice"), "nothing of bob's: {steps:#?}");

    // What a replica says of a connector is a step too.
    let report = TunnelReport {
        namespace: namespace.clone(),
        name: web.name.clone(),
        uid: web.uid.clone(),
        connections: vec![Connection {
            connector: "c1".into(),
            transport: "tls".into(),
            ..Connection::default()
        }],
        carried: true,
        ..TunnelReport::default()
    };
    replica.tunnel(report).await;
    told_until(&mut replica, alice, |_, it| it.name == web.name && status(it, "Connected") == "True").await;

    replica.call("alice", USER, delete(&web.name)).await.unwrap();
    let last = told_until(&mut replica, alice, |change, _| change == TunnelChange::Deleted).await;
    assert_eq!(last.last().unwrap().1.uid, web.uid);

    // Somebody who watches one name, and does no more.
    let one = replica.ask("root", ADMIN, watch(&old.name)).await;
    assert_eq!(told(&mut replica, one).await[0].1.uid, old.uid);
    replica.cancel(one).await;
    replica.call("alice", USER, delete(&old.name)).await.unwrap();
    told_until(&mut replica, alice, |change, _| change == TunnelChange::Deleted).await;
    assert!(!replica.has_unread(one), "nobody watches there any more");
    // The watch is over when the Gateway takes no Tunnels any more.
    apply(&client, &namespace, "door", "{clients: [{name: alice}]}").await.unwrap();
    refused(replica.answer(alice).await, Code::Unimplemented);
    operator.stop().await;
}

/// Lets whoever the subject is do this with Tunnels of the namespace.
async fn bind(client: &Client, namespace: &str, name: &str, verbs: &[&str], subject: (&str, &str)) {
    let rbac = "rbac.authorization.k8s.io";
    let params = PatchParams::apply("admin").force();
    let role = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": { "name": name },
        "rules": [{ "apiGroups": ["portcullis.dev"], "resources": ["tunnels"], "verbs": verbs }] });
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.patch(name, &params, &Patch::Apply(&role)).await.unwrap();
    let binding = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": rbac, "kind": "Role", "name": name },
        "subjects": [{ "apiGroup": rbac, "kind": subject.0, "name": subject.1 }] });
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.patch(name, &params, &Patch::Apply(&binding)).await.unwrap();
}

/// RBAC knows of a new binding a moment after it was made.
async fn until_allowed(
    replica: &mut Replica,
    (user, roles): (&str, &[&str]),
    request: Request,
) -> Result<Answer, (Code, String)> {
    let began = tokio::time::Instant::now();
    loop {
        match replica.call(user, roles, request.clone()).await {
            Err((Code::PermissionDenied, why)) => {
                assert!(began.elapsed() < portcullis_tests::PATIENCE, "{why}");
            }
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn with_kubernetes_authorization_role_bindings_say_who_does_what_and_the_gateway_s_roles_do_not() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let spec = "{tunnels: {domain: t.example.com, authorization: Kubernetes}}";
    let (operator, mut replica) = attached_door(&client, &namespace, spec).await;
    let listing =
        || Request::ListTunnels(ListTunnelsRequest { namespace: namespace.clone(), ..Default::default() });
    let creating = || Request::CreateTunnel(open("localhost:8080"));
    // The Gateway's own admin is nobody to the API server.
    for request in [creating(), listing(), get("x"), delete("x")] {
        let message = refused(replica.call("root", ADMIN, request).await, Code::PermissionDenied);
        assert!(message.starts_with("root may not ") && message.contains("admin"), "{message}");
    }
    assert!(list(&mut replica, "root", ADMIN).await.is_empty());
    let projects = Request::ListProjects(ListProjectsRequest {});
    assert_eq!(
        replica.call("root", ADMIN, projects.clone()).await.unwrap(),
        Answer::Projects(api::ListProjectsResponse::default())
    );

    // Users by their name, and groups by their roles.
    bind(&client, &namespace, "writers", &["create", "get"], ("User", "alice")).await;
    bind(&client, &namespace, "readers", &["list", "watch", "delete"], ("Group", "auditors")).await;
    let Answer::Created(created) = until_allowed(&mut replica, ("alice", USER), creating()).await.unwrap()
    else {
        panic!()
    };
    let web = created.tunnel.unwrap();
    replica.call("alice", USER, get(&web.name)).await.unwrap();
    refused(replica.call("alice", USER, listing()).await, Code::PermissionDenied);
    // Not hers because she has created it, but because of what she is bound to.
    let message = refused(replica.call("alice", USER, delete(&web.name)).await, Code::PermissionDenied);
    assert!(message.contains("may not delete tunnels.portcullis.dev in the namespace"), "{message}");

    let auditor = ("carol", &["auditors"][..]);
    let Answer::Tunnels(seen) = until_allowed(&mut replica, auditor, listing()).await.unwrap() else {
        panic!()
    };
    assert_eq!(seen.tunnels.iter().map(|it| &it.uid).collect::<Vec<_>>(), [&web.uid]);
    assert_eq!(
        replica.call("carol", &["auditors"], projects).await.unwrap(),
        Answer::Projects(api::ListProjectsResponse {
            projects: vec![api::Project { name: namespace.clone(), is_default: true }]
        })
    );
    let watching = Request::WatchTunnels(WatchTunnelsRequest::default());
    let watch = replica.ask("carol", &["auditors"], watching.clone()).await;
    assert_eq!(told(&mut replica, watch).await[0].1.uid, web.uid);
    let blind =
        Request::WatchTunnels(WatchTunnelsRequest { namespace: namespace.clone(), ..Default::default() });
    refused(replica.call("alice", USER, blind).await, Code::PermissionDenied);
    refused(replica.call("carol", &["auditors"], get(&web.name)).await, Code::PermissionDenied);
    // A token makes nobody one of Kubernetes' own.
    for (user, roles) in [("mallory", &["system:masters"][..]), ("system:admin", &["auditors"][..])] {
        refused(replica.call(user, roles, delete(&web.name)).await, Code::PermissionDenied);
    }
    replica.call("carol", &["auditors"], delete(&web.name)).await.unwrap();
    told_until(&mut replica, watch, |change, _| change == TunnelChange::Deleted).await;

    // The same by kubectl: the API server asks the same question of the same person.
    let mut config = portcullis_tests::config().await;
    config.auth_info.impersonate = Some("alice".to_owned());
    config.auth_info.impersonate_groups = Some(vec!["user".to_owned(), "system:authenticated".to_owned()]);
    let alice: Api<Tunnel> = Api::namespaced(Client::try_from(config).unwrap(), &namespace);
    let spec =
        serde_json::from_value(json!({ "gatewayRef": { "name": "door" }, "endpoint": "a:1" })).unwrap();
    alice.create(&PostParams::default(), &Tunnel::new("by-kubectl", spec)).await.unwrap();
    assert!(matches!(
        alice.delete("by-kubectl", &kube::api::DeleteParams::default()).await,
        Err(kube::Error::Api(status)) if status.code == 403
    ));
    operator.stop().await;
}
