use super::*;
use crate::config::tests::{config, config_with};
use portcullis_contract::rules::{METHODS, Rule};
use proptest::prelude::*;

const CI: &str = "spiffe://cluster.local/ns/shop/gateway/door/client/ci";

fn certificate(uri: &str) -> ClientCertificate {
    ClientCertificate::for_test(Ok(uri.to_owned()), 100, 200)
}

fn reason(certificate: &ClientCertificate, now: i64) -> DenialReason {
    decide(&Evidence { certificate: Some(certificate), ..Evidence::default() }, &config(), now)
        .unwrap_err()
        .reason
}

fn token(user: &str, roles: &[&str], scopes: Option<&[&str]>) -> Shown {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Shown::Believed(Arc::new(Identified {
        user: user.to_owned(),
        subject: format!("s-{user}"),
        issuer: "https://idp.example.com".to_owned(),
        expires_at: 180,
        issued_at: Some(100),
        grant: Grant { roles: texts(roles), scopes: scopes.map(texts), kind: Kind::Token },
    }))
}

#[test]
fn a_listed_client_is_who_the_snapshot_says() {
    let certificate = certificate(CI);
    let evidence = Evidence { certificate: Some(&certificate), ..Evidence::default() };
    let principal = decide(&evidence, &config(), 150).unwrap();
    assert_eq!(principal.user, "ci@shop");
    assert_eq!(principal.roles, ["user", "deployer"]);
    assert_eq!(principal.expires_at, 200);
    assert_eq!(principal.certificate.unwrap().identity, CI);
    assert_eq!(principal.proof, "client-certificate");
}

#[test]
fn every_other_certificate_is_denied_with_its_reason() {
    for (uri, expected) in [
        ("spiffe://cluster.local/ns/shop/gateway/door/client/eve", DenialReason::UnknownClient),
        ("spiffe://cluster.local/ns/shop/gateway/door", DenialReason::NotAClient),
        ("spiffe://cluster.local/ns/shop/gateway/other/client/ci", DenialReason::OtherGateway),
        ("spiffe://cluster.local/ns/other/gateway/door/client/ci", DenialReason::OtherGateway),
        ("spiffe://example.org/ns/shop/gateway/door/client/ci", DenialReason::OtherGateway),
        ("https://example.org/", DenialReason::NoIdentity),
    ] {
        assert_eq!(reason(&certificate(uri), 150), expected, "{uri}");
    }
    assert_eq!(reason(&certificate(CI), 99), DenialReason::NotYetValid);
    assert_eq!(reason(&certificate(CI), 201), DenialReason::Expired);
}

const SHOP: &str = "spiffe://corp.example/team/shop";

fn foreign(uri: &str, authority: &str) -> ClientCertificate {
    signed_by(Signer::Other(authority.into()), uri)
}

fn signed_by(signer: Signer, uri: &str) -> ClientCertificate {
    let mut certificate = certificate(uri);
    certificate.signer = signer;
    certificate
}

fn trusting(config: &mut Config) {
    let rights = |roles: &[&str]| crate::config::Rights {
        user: None,
        roles: roles.iter().map(ToString::to_string).collect(),
        scopes: Some(vec!["sandbox:read".to_owned()]),
    };
    let named = |uri: &str, roles: &[&str]| (uri.parse().unwrap(), rights(roles));
    config.client_authorities = vec![crate::config::ClientAuthority {
        name: "corp".into(),
        roots: Vec::new(),
        revoked: Arc::default(),
        identities: vec![
            named("spiffe://corp.example/team/shop", &["buyer"]),
            named("spiffe://corp.example/team/*", &["admin"]),
            named("spiffe://cluster.local/*/*/*/*/*/*", &["admin"]),
        ],
    }]
    .into();
}

#[test]
fn what_another_authority_has_signed_is_who_the_first_pattern_says_that_means_it() {
    let config = config_with(trusting);
    let decided = |certificate: &ClientCertificate| {
        decide(&Evidence { certificate: Some(certificate), ..Evidence::default() }, &config, 150)
    };
    let shop = decided(&foreign(SHOP, "corp")).unwrap();
    assert_eq!((shop.user.as_str(), shop.roles), (SHOP, vec!["buyer".to_owned()]));
    assert_eq!(decided(&foreign("spiffe://corp.example/team/ops", "corp")).unwrap().roles, ["admin"]);
    for (certificate, reason) in [
        (foreign("spiffe://corp.example/other", "corp"), DenialReason::UnknownClient),
        (foreign(SHOP, "gone"), DenialReason::UnknownClient),
        (foreign(CI, "corp"), DenialReason::OtherGateway),
        (certificate(SHOP), DenialReason::NoIdentity),
        (signed_by(Signer::Nobody, CI), DenialReason::UnknownClient),
    ] {
        assert_eq!(decided(&certificate).unwrap_err().reason, reason, "{certificate:?}");
    }
    let mut old = foreign(SHOP, "corp");
    old.not_after = 149;
    assert_eq!(decided(&old).unwrap_err().reason, DenialReason::Expired);
}

#[test]
fn a_serial_is_revoked_of_one_authority_alone() {
    let serials = || -> Arc<std::collections::BTreeSet<String>> { Arc::new(["01".to_owned()].into()) };
    let decided = |config: &Config, certificate: &ClientCertificate| {
        let evidence = Evidence { certificate: Some(certificate), ..Evidence::default() };
        decide(&evidence, config, 150).map(drop).map_err(|denial| denial.reason)
    };
    let of_ours = config_with(|it| {
        trusting(it);
        it.revoked = serials();
    });
    let of_theirs = config_with(|it| {
        trusting(it);
        let mut authorities = it.client_authorities.to_vec();
        authorities[0].revoked = serials();
        it.client_authorities = authorities.into();
    });
    assert_eq!(decided(&of_ours, &certificate(CI)), Err(DenialReason::Revoked));
    assert_eq!(decided(&of_ours, &foreign(SHOP, "corp")), Ok(()));
    assert_eq!(decided(&of_theirs, &certificate(CI)), Ok(()));
    assert_eq!(decided(&of_theirs, &foreign(SHOP, "corp")), Err(DenialReason::Revoked));
}

#[test]
fn nothing_shown_is_denied_in_every_mode() {
    for mode in [Mode::MutualTls, Mode::Edge, Mode::Plaintext] {
        let config = config_with(|it| it.mode = mode);
        let denial = decide(&Evidence::default(), &config, 150).unwrap_err();
        assert_eq!(denial.reason, DenialReason::NoEvidence, "{mode:?}");
    }
}

#[test]
fn with_mutual_tls_a_token_alone_opens_nothing() {
    let evidence = Evidence { bearer: token("alice", &["admin"], None), ..Evidence::default() };
    assert_eq!(decide(&evidence, &config(), 150).unwrap_err().reason, DenialReason::NoEvidence);
}

#[test]
fn at_a_public_name_a_token_says_who_visits_and_nothing_says_nobody() {
    let bearer = token("alice", &["user"], None);
    let visitor = Evidence { bearer, at_public_name: true, ..Evidence::default() };
    assert_eq!(decide(&visitor, &config(), 150).unwrap().user, "alice");
    let nobody = Evidence { at_public_name: true, ..Evidence::default() };
    assert_eq!(decide(&nobody, &config(), 150).unwrap_err().reason, DenialReason::NoEvidence);
}

#[test]
fn the_certificate_opens_the_door_and_the_bearer_token_says_who_is_asking() {
    let certificate = certificate(CI);
    let evidence = Evidence {
        certificate: Some(&certificate),
        bearer: token("alice", &["buyer"], Some(&["sandbox:read"])),
        edge: Shown::Nothing,
        ..Evidence::default()
    };
    let principal = decide(&evidence, &config(), 150).unwrap();
    assert_eq!((principal.user.as_str(), principal.proof), ("alice", "client-certificate+bearer-token"));
    assert_eq!(principal.roles, ["buyer", "user", "deployer"]);
    assert_eq!(principal.expires_at, 180, "the first of them to end");
    assert_eq!(principal.scopes(), None, "the certificate is held to none");
}

#[test]
fn a_token_that_is_not_believed_or_has_expired_denies_whatever_else_is_shown() {
    let certificate = certificate(CI);
    for fault in TokenFault::ALL {
        let refused = || Shown::Refused(*fault);
        let bearer = Evidence {
            certificate: Some(&certificate),
            bearer: refused(),
            edge: token("a", &["admin"], None),
            ..Evidence::default()
        };
        let edge = Evidence {
            certificate: Some(&certificate),
            edge: refused(),
            bearer: token("a", &["admin"], None),
            ..Evidence::default()
        };
        for evidence in [bearer, edge] {
            assert_eq!(decide(&evidence, &config(), 150).unwrap_err().reason, DenialReason::Token(*fault));
        }
    }
    let evidence =
        Evidence { certificate: Some(&certificate), bearer: token("a", &[], None), ..Evidence::default() };
    assert_eq!(
        decide(&evidence, &config(), 181).unwrap_err().reason,
        DenialReason::Token(TokenFault::Expired)
    );
}

#[test]
fn a_certificate_that_was_revoked_opens_nothing_whatever_else_is_shown() {
    let certificate = certificate(CI);
    let config = config_with(|it| it.revoked = Arc::new([certificate.serial.clone()].into()));
    for bearer in [Shown::Nothing, token("alice", &["admin"], None)] {
        let evidence = Evidence { certificate: Some(&certificate), bearer, ..Evidence::default() };
        assert_eq!(decide(&evidence, &config, 150).unwrap_err().reason, DenialReason::Revoked);
    }
    let other = config_with(|it| it.revoked = Arc::new(["ff".to_owned()].into()));
    let evidence = Evidence { certificate: Some(&certificate), ..Evidence::default() };
    assert!(decide(&evidence, &other, 150).is_ok());
}

#[test]
fn tokens_of_a_revoked_subject_are_refused_if_they_were_issued_before_or_do_not_say_when() {
    let revoked = |subject: &str, before| {
        config_with(|it| {
            it.mode = Mode::Edge;
            let revoked_subjects = [(subject.to_owned(), before)].into();
            it.oidc = Some(crate::config::Oidc { revoked_subjects, ..crate::config::tests::oidc() });
        })
    };
    let decided = |config: &Config, issued_at| {
        let Shown::Believed(token) = token("alice", &["user"], None) else { unreachable!() };
        let bearer = Shown::Believed(Arc::new(Identified { issued_at, ..Identified::clone(&token) }));
        decide(&Evidence { bearer, ..Evidence::default() }, config, 150).map(drop).map_err(|it| it.reason)
    };
    let denied = Err(DenialReason::Token(TokenFault::Revoked));
    assert_eq!(decided(&revoked("s-alice", 120), Some(119)), denied);
    assert_eq!(decided(&revoked("s-alice", 120), None), denied);
    assert_eq!(decided(&revoked("s-alice", 120), Some(120)), Ok(()));
    assert_eq!(decided(&revoked("s-bob", 120), Some(119)), Ok(()));
}

/// What may be in the evidence of a case.
#[derive(Clone, Debug)]
struct Case {
    certificate: Option<usize>,
    edge: Option<(Vec<&'static str>, Option<Vec<&'static str>>)>,
    bearer: Option<(Vec<&'static str>, Option<Vec<&'static str>>)>,
}

const CLIENTS: [&str; 3] = ["ci", "boss", "held"];
const ROLES: [&str; 3] = ["admin", "user", "buyer"];
const SCOPES: [&str; 5] =
    ["sandbox:read", "sandbox:write", "credential:read", "identity:renew", "portcullis:all"];

fn clients(config: &mut Config) {
    let client =
        |name: &str, roles: &[&str], scopes: Option<Vec<String>>| portcullis_contract::snapshot::Client {
            name: name.to_owned(),
            user: name.to_owned(),
            roles: roles.iter().map(ToString::to_string).collect(),
            scopes,
        };
    config.clients.insert("boss".to_owned(), client("boss", &["admin"], None));
    config
        .clients
        .insert("held".to_owned(), client("held", &["user"], Some(vec!["sandbox:read".to_owned()])));
}

fn rights() -> impl Strategy<Value = Option<(Vec<&'static str>, Option<Vec<&'static str>>)>> {
    let some = |of: &'static [&'static str]| proptest::sample::subsequence(of, 0..=of.len());
    proptest::option::of((some(&ROLES), proptest::option::of(some(&SCOPES))))
}

prop_compose! {
    fn case()(certificate in proptest::option::of(0..CLIENTS.len()), edge in rights(), bearer in rights()) -> Case {
        Case { certificate, edge, bearer }
    }
}

/// Everything that the evidence of a case permits: methods of the API, and backends that require something.
fn permitted(case: &Case, config: &Config) -> Vec<bool> {
    let shown = |rights: &Option<(Vec<&str>, Option<Vec<&str>>)>| match rights {
        Some((roles, scopes)) => token("someone", roles, scopes.as_deref()),
        None => Shown::Nothing,
    };
    let certificate = case.certificate.map(|client| {
        certificate(&format!("spiffe://cluster.local/ns/shop/gateway/door/client/{}", CLIENTS[client]))
    });
    let evidence = Evidence {
        certificate: certificate.as_ref(),
        edge: shown(&case.edge),
        bearer: shown(&case.bearer),
        ..Evidence::default()
    };
    let principal = decide(&evidence, config, 150);
    let may = |rule: &Rule| principal.as_ref().is_ok_and(|principal| principal.allows(rule).is_ok());
    let meets = |role: &str, scope: &str| {
        let requirement = portcullis_contract::snapshot::Requirement {
            role: Some(role.to_owned()),
            scopes: vec![scope.to_owned()],
            methods: Vec::new(),
        };
        principal.as_ref().is_ok_and(|principal| principal.meets(&[requirement], &http::Method::GET).is_ok())
    };
    let methods = METHODS.iter().filter_map(|method| method.rule.as_ref()).map(may);
    let backends = ROLES.iter().flat_map(|role| SCOPES.iter().map(move |scope| (role, scope)));
    methods.chain(backends.map(|(role, scope)| meets(role, scope))).collect()
}

fn is_within(less: &[bool], more: &[bool]) -> bool {
    less.iter().zip(more).all(|(less, more)| *more || !*less)
}

proptest! {
    #[test]
    fn taking_evidence_away_never_widens_rights(case in case(), mode in 0..3_usize) {
        let mode = [Mode::MutualTls, Mode::Edge, Mode::Plaintext][mode];
        let mut config = config_with(|it| it.mode = mode);
        clients(&mut config);
        let all = permitted(&case, &config);
        for less in [
            Case { certificate: None, ..case.clone() },
            Case { edge: None, ..case.clone() },
            Case { bearer: None, ..case.clone() },
        ] {
            prop_assert!(is_within(&permitted(&less, &config), &all), "{less:?}");
        }
    }

    #[test]
    fn taking_a_role_or_a_scope_away_never_widens_rights(case in case(), lost in 0..8_usize) {
        let mut config = config_with(|it| it.mode = Mode::Edge);
        clients(&mut config);
        let lost = ROLES.iter().chain(&SCOPES).nth(lost).copied().unwrap_or_default();
        let mut less = case.clone();
        for (roles, scopes) in [&mut less.edge, &mut less.bearer].into_iter().flatten() {
            roles.retain(|role| *role != lost);
            if let Some(scopes) = scopes {
                scopes.retain(|scope| *scope != lost);
            }
        }
        prop_assert!(is_within(&permitted(&less, &config), &permitted(&case, &config)), "{less:?}");
    }

    #[test]
    fn the_same_token_has_the_same_rights_by_every_mode_and_every_way_in(rights in rights()) {
        let edge = Case { certificate: None, edge: rights.clone(), bearer: None };
        let bearer = Case { certificate: None, edge: None, bearer: rights };
        let by = |mode, case: &Case| permitted(case, &config_with(|it| it.mode = mode));
        prop_assert_eq!(by(Mode::Edge, &edge), by(Mode::Edge, &bearer));
        prop_assert_eq!(by(Mode::Edge, &bearer), by(Mode::Plaintext, &bearer));
        // A certificate without roles only opens the door.
        let mut config = config();
        config.clients.get_mut("ci").unwrap().roles.clear();
        config.clients.get_mut("ci").unwrap().scopes = Some(Vec::new());
        let through = Case { certificate: Some(0), ..bearer.clone() };
        let alone = by(Mode::Edge, &bearer);
        let of_nobody = permitted(&Case { bearer: None, ..through.clone() }, &config);
        let expected: Vec<bool> = alone.iter().zip(&of_nobody).map(|(token, door)| *token || *door).collect();
        prop_assert_eq!(permitted(&through, &config), expected);
    }

    #[test]
    fn removing_a_client_never_widens_rights(case in case(), removed in 0..CLIENTS.len()) {
        let mut before = config();
        clients(&mut before);
        let mut after = config();
        clients(&mut after);
        after.clients.remove(CLIENTS[removed]);
        prop_assert!(is_within(&permitted(&case, &after), &permitted(&case, &before)));
    }
}
