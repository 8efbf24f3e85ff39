//! Who may call which method: every method of the API, in every mode, with every kind of evidence, role and scope, on real
//! connections. What is expected is computed from the rules of the descriptors, apart from the gateway's own code.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use portcullis_contract::rules::{Evidence, METHODS, Method, Role, Scope};
use portcullis_contract::snapshot::{Client, Mode};

use crate::support::caller::Http2;
use crate::support::door::Plan;
use crate::support::idp::Idp;
use crate::support::signer::Signer;
use crate::support::{Door, eventually, pki};

/// What one piece of evidence says.
#[derive(Clone, Copy, Debug)]
struct Says {
    role: Option<Role>,
    /// None: it is held to no scopes.
    scopes: Option<&'static [&'static str]>,
}

const ROLES: [Option<Role>; 3] = [None, Some(Role::User), Some(Role::Admin)];
const SCOPES: [&[&str]; 8] = [
    &[],
    &["credential:read"],
    &["sandbox:read"],
    &["sandbox:read", "sandbox:write"],
    &["project:read", "tunnel:read"],
    &["tunnel:read", "tunnel:write"],
    &["identity:renew"],
    &["portcullis:all"],
];

/// What a caller shows.
#[derive(Clone, Copy, Debug, Default)]
struct Shows {
    certificate: Option<Says>,
    edge: Option<Says>,
    bearer: Option<Says>,
    /// A bearer token that nobody should believe.
    rubbish: bool,
}

fn every_evidence() -> Vec<Says> {
    let scopes = SCOPES.iter().map(|scopes| Some(*scopes));
    ROLES.iter().flat_map(|role| scopes.clone().map(|scopes| Says { role: *role, scopes })).collect()
}

fn every_show(mode: Mode) -> Vec<Shows> {
    let unscoped: Vec<Says> = ROLES.iter().map(|role| Says { role: *role, scopes: None }).collect();
    let mut shows = vec![Shows::default(), Shows { rubbish: true, ..Shows::default() }];
    for bearer in every_evidence() {
        shows.push(Shows { bearer: Some(bearer), ..Shows::default() });
    }
    for edge in &unscoped {
        shows.push(Shows { edge: Some(*edge), ..Shows::default() });
        shows.push(Shows { edge: Some(*edge), rubbish: true, ..Shows::default() });
    }
    for certificate in every_evidence().into_iter().chain(unscoped) {
        shows.push(Shows { certificate: Some(certificate), ..Shows::default() });
        shows.push(Shows { certificate: Some(certificate), rubbish: true, ..Shows::default() });
        for role in ROLES {
            let bearer = Some(Says { role, scopes: Some(&["credential:read"]) });
            shows.push(Shows { certificate: Some(certificate), bearer, ..Shows::default() });
        }
    }
    // Without TLS there is no certificate to show, and without one no connection with mutual TLS. An edge's token counts
    // behind an edge.
    shows.retain(|shows| match mode {
        Mode::MutualTls => shows.certificate.is_some() && shows.edge.is_none(),
        Mode::Edge => true,
        Mode::Plaintext => shows.certificate.is_none() && shows.edge.is_none(),
    });
    shows
}

/// What should become of a call, written from the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Unauthenticated,
    Denied,
    Allowed,
}

fn expected(method: &Method, shows: Shows) -> Expected {
    let evidence: Vec<Says> = [shows.certificate, shows.edge, shows.bearer].into_iter().flatten().collect();
    if shows.rubbish || evidence.is_empty() {
        return Expected::Unauthenticated;
    }
    let rule = method.rule.unwrap();
    let evidence = match rule.evidence {
        Evidence::Bearer => evidence,
        Evidence::Certificate => shows.certificate.into_iter().collect(),
        other => panic!("{other:?}: a new kind of evidence needs a place in this test"),
    };
    let suffices = |says: &Says| {
        let has_role = says.role >= rule.role;
        let has_scope = match (rule.scope, says.scopes) {
            (Scope::Any, _) | (_, None) => true,
            (Scope::All, Some(scopes)) => scopes.contains(&"portcullis:all"),
            (Scope::Named(scope), Some(scopes)) => {
                scopes.contains(&scope) || scopes.contains(&"portcullis:all")
            }
        };
        has_role && has_scope
    };
    if evidence.iter().any(suffices) { Expected::Allowed } else { Expected::Denied }
}

fn client_name(says: Says) -> String {
    let role = says.role.map_or("none", Role::as_str);
    let scopes =
        says.scopes.map_or("free".to_owned(), |scopes| format!("s{}", scopes.join("-").replace(':', "-")));
    format!("{role}-{scopes}")
}

fn client(says: Says) -> Client {
    Client {
        name: client_name(says),
        user: client_name(says),
        roles: says.role.iter().map(|role| role.as_str().to_owned()).collect(),
        scopes: says.scopes.map(|scopes| scopes.iter().map(ToString::to_string).collect()),
    }
}

fn token(idp: &Idp, signer: &Signer, says: Says) -> String {
    let roles: Vec<String> = says.role.iter().map(|role| format!("door-{}", role.as_str())).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    signer.token(&idp.claims("someone", &roles, &says.scopes.unwrap_or_default().join(" ")))
}

async fn connect(door: &Door, mode: Mode, shows: Shows) -> Http2 {
    match (mode, shows.certificate) {
        (Mode::Plaintext, _) => Http2::new(door.tcp().await).await,
        (_, None) => door.http2_anonymous().await,
        (_, Some(says)) => door.http2_of(&pki::client(&door.client_ca, &client_name(says))).await,
    }
}

/// The gRPC status of a call with an empty message.
async fn call(caller: &mut Http2, method: &str, fields: &[(&str, String)]) -> u16 {
    let frame = Full::new(Bytes::from_static(&[0; 5])).map_err(|never| match never {}).boxed();
    let mut request = Request::post(method)
        .header("host", "door.example")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    let answer = caller.ask(request.body(frame).unwrap()).await;
    let status = answer.headers.get("grpc-status").or_else(|| answer.trailers.get("grpc-status"));
    status.unwrap().to_str().unwrap().parse().unwrap()
}

/// The operator answers for it.
const IDENTITIES: &str = "/portcullis.gateway.v1.Identities/";

/// What is answered while the keys of an issuer are not there.
const UNAVAILABLE: u16 = 14;

#[tokio::test]
async fn every_method_answers_every_caller_in_every_mode_as_its_rule_says() {
    let signer = Signer::ed("a");
    let idp = Idp::new(&signer).await;
    let mut cases = 0;
    let mut outcomes = BTreeSet::new();
    for mode in [Mode::MutualTls, Mode::Edge, Mode::Plaintext] {
        let mut plan = Plan::new(Vec::new());
        plan.snapshot.mode = mode;
        plan.snapshot.oidc = Some(idp.oidc());
        plan.snapshot.edge = (mode == Mode::Edge).then(|| idp.edge());
        let certificates: Vec<Says> =
            every_show(mode).into_iter().filter_map(|shows| shows.certificate).collect();
        let mut clients: Vec<Client> = certificates.into_iter().map(client).collect();
        clients.sort_by(|a, b| a.name.cmp(&b.name));
        clients.dedup_by(|a, b| a.name == b.name);
        plan.snapshot.clients = clients;
        let door = plan.start().await;
        for shows in every_show(mode) {
            let mut fields = Vec::new();
            if let Some(says) = shows.edge {
                fields.push(("cf-access-jwt-assertion", token(&idp, &signer, says)));
            }
            match shows.bearer {
                _ if shows.rubbish => fields.push(("authorization", "Bearer rubbish".to_owned())),
                Some(says) => {
                    fields.push(("authorization", format!("Bearer {}", token(&idp, &signer, says))));
                }
                None => {}
            }
            let mut caller = connect(&door, mode, shows).await;
            if !fields.is_empty() {
                // The issuer's keys may still be on their way.
                eventually("the keys are there", || async {
                    call(&mut caller.clone(), METHODS[0].path, &fields).await != UNAVAILABLE
                })
                .await;
            }
            for method in METHODS {
                let code = call(&mut caller, method.path, &fields).await;
                let outcome = match code {
                    16 => Expected::Unauthenticated,
                    7 => Expected::Denied,
                    // There is no driver behind most of them: they answer all the same, which is what is asked here.
                    0 | 12 => Expected::Allowed,
                    // Nor is there an operator.
                    UNAVAILABLE if method.path.starts_with(IDENTITIES) => Expected::Allowed,
                    other => panic!("{mode:?} {shows:?} {}: gRPC status {other}", method.path),
                };
                assert_eq!(outcome, expected(method, shows), "{mode:?} {shows:?} {}", method.path);
                outcomes.insert(outcome as u8);
                cases += 1;
            }
        }
    }
    assert_eq!(outcomes.len(), 3, "each outcome came up");
    assert!(cases > 2_000, "{cases} cases");
}
