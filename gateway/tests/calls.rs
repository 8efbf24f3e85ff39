//! Projects and tunnels of the API: what the gateway asks of the operator, in whose name, and what callers are told.

use portcullis_contract::control::call::Request as Asked;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::control::report::Report as Word;
use portcullis_contract::control::{Refusal, TunnelEvents};
use portcullis_contract::gateway::identities_client::IdentitiesClient;
use portcullis_contract::gateway::projects_client::ProjectsClient;
use portcullis_contract::gateway::tunnels_client::TunnelsClient;
use portcullis_contract::gateway::{
    CreateTunnelRequest, CreateTunnelResponse, DeleteTunnelRequest, DeleteTunnelResponse, GetTunnelRequest,
    ListProjectsRequest, ListProjectsResponse, ListTunnelsRequest, ListTunnelsResponse, Project,
    RenewCertificateRequest, RenewCertificateResponse, Tunnel, TunnelChange, TunnelEvent,
    UpdateTunnelRequest, WatchTunnelsRequest,
};
use tonic::Code;

use crate::support::door::Plan;
use crate::support::grpc::{Line, origin};
use crate::support::idp::Idp;
use crate::support::operator::{Attachment, Operator, write_credentials};
use crate::support::signer::Signer;
use crate::support::{Door, eventually, pki, soon, tunnel};

/// A gateway that takes Tunnels, with a replica that is attached and serves what it was told.
pub(crate) async fn attached(change: impl FnOnce(&mut Plan)) -> (Door, Operator, Attachment) {
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let mut plan = tunnel::plan(Vec::new());
    plan.options.control_endpoint = Some(operator.endpoint().parse().unwrap());
    write_credentials(plan.directory.path(), &authority);
    change(&mut plan);
    let door = plan.start().await;
    let (mut attachment, _) = operator.attached().await;
    let version = attachment.send(&door.snapshot).await;
    // What it depends on, it speaks of first.
    while !matches!(attachment.report().await, Word::Acknowledged(it) if it.version == version) {}
    (door, operator, attachment)
}

async fn tunnels(door: &Door) -> TunnelsClient<Line> {
    TunnelsClient::with_origin(Line::new(door.tls(&door.ci, "h2").await).await, origin())
}

fn web() -> Tunnel {
    Tunnel { namespace: "shop".into(), name: "web".into(), created_by: "ci@shop".into(), ..Tunnel::default() }
}

fn refusal(code: Code, message: &str) -> Answer {
    Answer::Refusal(Refusal { code: code as i32, message: message.to_owned() })
}

fn event(change: TunnelChange) -> TunnelEvent {
    TunnelEvent { change: change as i32, tunnel: Some(web()) }
}

#[tokio::test]
async fn every_method_is_carried_to_the_operator_in_the_caller_s_name_and_its_answer_back() {
    let (door, _operator, mut attachment) = attached(|_| {}).await;
    let (mut client, line) = (tunnels(&door).await, Line::new(door.tls(&door.ci, "h2").await).await);
    let create = CreateTunnelRequest { endpoint: "localhost:8080".into(), ..CreateTunnelRequest::default() };
    let update =
        UpdateTunnelRequest { name: "web".into(), enabled: Some(false), ..UpdateTunnelRequest::default() };
    let named = || GetTunnelRequest { namespace: "shop".into(), name: "web".into() };
    let project = Project { name: "shop".into(), is_default: true };
    let listed = ListTunnelsResponse { tunnels: vec![web()], next_page_token: String::new() };
    let created = CreateTunnelResponse { tunnel: Some(web()), created: true };
    let (asked_create, asked_update) = (create.clone(), update.clone());
    let answers = [
        (
            Asked::ListProjects(ListProjectsRequest {}),
            Answer::Projects(ListProjectsResponse { projects: vec![project.clone()] }),
        ),
        (Asked::ListTunnels(ListTunnelsRequest::default()), Answer::Tunnels(listed.clone())),
        (Asked::GetTunnel(named()), Answer::Tunnel(web())),
        (Asked::CreateTunnel(asked_create), Answer::Created(created.clone())),
        (Asked::UpdateTunnel(asked_update), Answer::Tunnel(web())),
        (Asked::DeleteTunnel(DeleteTunnelRequest::default()), Answer::Deleted(DeleteTunnelResponse {})),
    ];
    let operator = tokio::spawn(async move {
        for (asked, answer) in answers {
            let call = attachment.call().await;
            let caller = call.caller.unwrap();
            assert_eq!((caller.user.as_str(), caller.roles.join(",").as_str()), ("ci@shop", "user,deployer"));
            assert_eq!(call.request.unwrap(), asked);
            attachment.answer(call.id, answer).await;
        }
        attachment
    });
    let mut projects = ProjectsClient::with_origin(line, origin());
    let answer = projects.list_projects(ListProjectsRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.projects, [project]);
    assert_eq!(client.list_tunnels(ListTunnelsRequest::default()).await.unwrap().into_inner(), listed);
    assert_eq!(client.get_tunnel(named()).await.unwrap().into_inner(), web());
    assert_eq!(client.create_tunnel(create).await.unwrap().into_inner(), created);
    assert_eq!(client.update_tunnel(update).await.unwrap().into_inner(), web());
    client.delete_tunnel(DeleteTunnelRequest::default()).await.unwrap();
    soon("the operator has answered all", operator).await.unwrap();
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_in_the_operator_s_words_and_a_defect_does_not() {
    let (door, _operator, mut attachment) = attached(|_| {}).await;
    let mut client = tunnels(&door).await;
    for (said, heard, words) in [
        (Code::NotFound, Code::NotFound, "there is no Tunnel shop/web"),
        (Code::ResourceExhausted, Code::ResourceExhausted, "has as many"),
        (Code::Internal, Code::Internal, "see its log"),
        (Code::Ok, Code::Internal, "see its log"),
    ] {
        let mut asking = client.clone();
        let asked = tokio::spawn(async move { asking.get_tunnel(GetTunnelRequest::default()).await });
        let id = attachment.call().await.id;
        attachment.answer(id, refusal(said, if heard == Code::Internal { "secret" } else { words })).await;
        let status = soon("it is answered", asked).await.unwrap().unwrap_err();
        assert_eq!(status.code(), heard);
        assert!(status.message().contains(words) && !status.message().contains("secret"), "{status}");
    }
    // An answer to something else is no answer.
    let mut asking = client.clone();
    let asked = tokio::spawn(async move { asking.get_tunnel(GetTunnelRequest::default()).await });
    let id = attachment.call().await.id;
    attachment.answer(id, Answer::Deleted(DeleteTunnelResponse {})).await;
    assert_eq!(soon("it is answered", asked).await.unwrap().unwrap_err().code(), Code::Internal);
    // What is larger than any request of this API does not come near the session with the operator.
    let large = CreateTunnelRequest { endpoint: "x".repeat(100_000), ..CreateTunnelRequest::default() };
    assert_eq!(client.create_tunnel(large).await.unwrap_err().code(), Code::OutOfRange);
    assert!((door.metric("portcullis_gateway_control_connected").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_watch_tells_every_event_as_it_comes_and_is_cancelled_when_its_caller_goes() {
    let (door, _operator, mut attachment) = attached(|_| {}).await;
    let mut client = tunnels(&door).await;
    let mut events = client.watch_tunnels(WatchTunnelsRequest::default()).await.unwrap().into_inner();
    let id = attachment.call().await.id;
    let told = |changes: &[TunnelChange]| {
        Answer::Events(TunnelEvents { events: changes.iter().map(|it| event(*it)).collect() })
    };
    attachment.answer(id, told(&[TunnelChange::Added, TunnelChange::Modified])).await;
    attachment.answer(id, told(&[TunnelChange::Deleted])).await;
    for change in [TunnelChange::Added, TunnelChange::Modified, TunnelChange::Deleted] {
        assert_eq!(soon("an event", events.message()).await.unwrap(), Some(event(change)));
    }
    drop(events);
    assert_eq!(attachment.cancelled().await, id);
    // One that the operator ends, ends with its words.
    let mut events = client.watch_tunnels(WatchTunnelsRequest::default()).await.unwrap().into_inner();
    let id = attachment.call().await.id;
    attachment.answer(id, refusal(Code::PermissionDenied, "not any more")).await;
    let ended = soon("the end", events.message()).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::PermissionDenied, "not any more"));
}

#[tokio::test]
async fn with_the_operator_gone_whoever_waits_is_told_at_once_and_so_is_whoever_asks_then() {
    let (door, operator, mut attachment) = attached(|_| {}).await;
    let mut client = tunnels(&door).await;
    let mut events = client.watch_tunnels(WatchTunnelsRequest::default()).await.unwrap().into_inner();
    attachment.call().await;
    let mut asking = client.clone();
    let asked = tokio::spawn(async move { asking.get_tunnel(GetTunnelRequest::default()).await });
    attachment.call().await;
    drop((attachment, operator));
    assert_eq!(soon("it is told", asked).await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(soon("the watch ends", events.message()).await.unwrap_err().code(), Code::Unavailable);
    let status =
        soon("it is told at once", client.get_tunnel(GetTunnelRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("not attached to its operator"), "{status}");
}

#[tokio::test]
async fn a_gateway_that_takes_no_tunnels_says_so_and_asks_nobody() {
    let door = Plan::new(Vec::new()).start().await;
    let status = tunnels(&door).await.list_tunnels(ListTunnelsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("spec.tunnels"), "{status}");
}

/// A token that makes somebody admin counts with its own scopes, a certificate with the roles of its own.
#[tokio::test]
async fn a_role_counts_only_where_its_own_evidence_permits_the_method() {
    let signer = Signer::ed("a");
    let idp = Idp::new(&signer).await;
    let (door, _operator, mut attachment) = attached(|plan| plan.snapshot.oidc = Some(idp.oidc())).await;
    let line = Line::new(door.tls(&door.ci, "h2").await).await;
    let token = |scope: &str| signer.token(&idp.claims("alice", &["door-admin"], scope));
    for (scope, roles) in [("tunnel:read", "admin,user,deployer"), ("sandbox:read", "user,deployer")] {
        let client = TunnelsClient::with_origin(line.bearer(&token(scope)), origin());
        let request = GetTunnelRequest::default();
        let answered = async {
            let call = attachment.call().await;
            attachment.answer(call.id, refusal(Code::NotFound, "")).await;
            call.caller.unwrap()
        };
        let ask = async {
            // The issuer's keys may still be on their way.
            eventually("the keys are there", || async {
                client.clone().get_tunnel(request.clone()).await.unwrap_err().code() != Code::Unavailable
            })
            .await;
        };
        let ((), caller) = tokio::join!(ask, answered);
        assert_eq!((caller.user.as_str(), caller.subject.as_str()), ("alice", "id-of-alice"), "{scope}");
        assert_eq!(caller.roles.join(","), roles, "{scope}");
    }
}

#[tokio::test]
async fn a_renewal_goes_to_the_operator_with_the_certificate_that_the_handshake_has_proved() {
    let signer = Signer::ed("a");
    let idp = Idp::new(&signer).await;
    let (door, _operator, mut attachment) = attached(|plan| {
        plan.snapshot.tunnels = None;
        plan.snapshot.oidc = Some(idp.oidc());
    })
    .await;
    let line = Line::new(door.tls(&door.ci, "h2").await).await;
    let token = signer.token(&idp.claims("alice", &["door-admin"], "portcullis:all"));
    let asked = RenewCertificateRequest { certificate_request: b"a request".to_vec() };
    let answer = RenewCertificateResponse { serial: "0a".into(), ..RenewCertificateResponse::default() };
    // A token beside it says who is asking, and changes nothing of whose certificate it is.
    for (line, user) in [(line.clone(), "ci@shop"), (line.bearer(&token), "alice")] {
        let client = IdentitiesClient::with_origin(line, origin());
        let answered = async {
            let call = attachment.call().await;
            attachment.answer(call.id, Answer::Renewed(answer.clone())).await;
            call
        };
        let ask = async {
            eventually("the keys are there", || async {
                match client.clone().renew_certificate(asked.clone()).await {
                    Ok(renewed) => renewed.into_inner() == answer,
                    Err(status) => {
                        assert_eq!(status.code(), Code::Unavailable, "{status}");
                        false
                    }
                }
            })
            .await;
        };
        let ((), call) = tokio::join!(ask, answered);
        assert_eq!(call.request.unwrap(), Asked::RenewCertificate(asked.clone()));
        let caller = call.caller.unwrap();
        assert_eq!((caller.user.as_str(), caller.address.as_str()), (user, "127.0.0.1"));
        assert_eq!(caller.certificate, pki::chain(&door.ci)[0].to_vec());
    }
}

#[tokio::test]
async fn nobody_renews_without_a_certificate_that_may_whatever_token_comes_beside_it() {
    let signer = Signer::ed("a");
    let idp = Idp::new(&signer).await;
    let mut plan = Plan::new(Vec::new());
    plan.snapshot.mode = portcullis_contract::snapshot::Mode::Edge;
    plan.snapshot.oidc = Some(idp.oidc());
    plan.snapshot.edge = Some(idp.edge());
    plan.snapshot.clients[0].scopes = Some(vec!["tunnel:write".to_owned()]);
    let door = plan.start().await;
    let token = signer.token(&idp.claims("alice", &["door-admin"], "portcullis:all"));
    let with = Line::new(door.tls(&door.ci, "h2").await).await;
    let without = Line::new(door.tls_anonymous("h2").await).await;
    for (what, line, code) in [
        ("nothing", without.clone(), Code::Unauthenticated),
        ("a token alone", without.bearer(&token), Code::PermissionDenied),
        ("a certificate without the scope", with.clone(), Code::PermissionDenied),
        ("and a token that has it", with.bearer(&token), Code::PermissionDenied),
    ] {
        let client = IdentitiesClient::with_origin(line, origin());
        eventually(what, || async {
            let asked = RenewCertificateRequest::default();
            let status = client.clone().renew_certificate(asked).await.unwrap_err();
            assert!(status.code() == code || status.message().contains("keys"), "{what}: {status}");
            status.code() == code
        })
        .await;
    }
}
