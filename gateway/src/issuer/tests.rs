use serde_json::{Value, json};

use super::*;
use crate::signer::{Signer, jwks};
use http::HeaderValue;

const NOW: i64 = 1_000_000;

fn parameters() -> snapshot::Issuer {
    snapshot::Issuer {
        roles_claim: Some("roles".to_owned()),
        admin_role: Some("boss".to_owned()),
        ..snapshot::Issuer::of("https://idp.example.com", "door")
    }
}

fn claims(subject: &str) -> Value {
    json!({ "iss": "https://idp.example.com", "aud": "door", "sub": subject, "exp": NOW + 300, "roles": ["boss"] })
}

fn judge(issuer: &Issuer, token: &str) -> Shown {
    issuer.judge(&Ok(HeaderValue::from_str(token).unwrap()), NOW)
}

fn refused(issuer: &Issuer, token: &str) -> TokenFault {
    match judge(issuer, token) {
        Shown::Refused(fault) => fault,
        shown => panic!("not refused: {shown:?}"),
    }
}

#[test]
fn a_token_is_verified_once_and_remembered_until_it_ends() {
    let signer = Signer::ec("a");
    let issuer =
        Issuer::standing(&parameters(), Purpose::Access, Some(jwks(&[&signer]).to_string().as_bytes()))
            .unwrap();
    let token = signer.token(&claims("alice"));
    let (Shown::Believed(first), Shown::Believed(second)) = (judge(&issuer, &token), judge(&issuer, &token))
    else {
        panic!("not believed")
    };
    assert!(Arc::ptr_eq(&first, &second), "read anew");
    assert_eq!(
        (first.user.as_str(), first.grant.roles.as_slice()),
        ("alice", ["admin".to_owned(), "user".to_owned()].as_slice())
    );
    let late = issuer.judge(&Ok(HeaderValue::from_str(&token).unwrap()), first.expires_at + 1);
    assert_eq!(late, Shown::Refused(TokenFault::Expired));
}

#[test]
fn tokens_that_end_alike_are_not_taken_for_one_another() {
    let signer = Signer::ec("a");
    let issuer =
        Issuer::standing(&parameters(), Purpose::Access, Some(jwks(&[&signer]).to_string().as_bytes()))
            .unwrap();
    let token = signer.token(&claims("alice"));
    assert!(matches!(judge(&issuer, &token), Shown::Believed(_)));
    let (_, signature) = token.rsplit_once('.').unwrap();
    let other = signer.token(&claims("mallory"));
    let (message, _) = other.rsplit_once('.').unwrap();
    assert_eq!(refused(&issuer, &format!("{message}.{signature}")), TokenFault::Signature);
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let issuer =
        Issuer::standing(&parameters(), Purpose::Access, Some(jwks(&[&old]).to_string().as_bytes())).unwrap();
    let (of_old, of_new) = (old.token(&claims("alice")), new.token(&claims("alice")));
    assert!(matches!(judge(&issuer, &of_old), Shown::Believed(_)));
    assert_eq!(refused(&issuer, &of_new), TokenFault::UnknownKey);
    let before = issuer.generation();
    issuer.set_keys(jwks(&[&new, &old]).to_string().as_bytes());
    assert!(matches!(judge(&issuer, &of_old), Shown::Believed(_)));
    assert!(matches!(judge(&issuer, &of_new), Shown::Believed(_)));
    issuer.set_keys(jwks(&[&new]).to_string().as_bytes());
    assert_eq!(refused(&issuer, &of_old), TokenFault::UnknownKey);
    assert!(issuer.generation() > before);
}

#[test]
fn the_last_good_keys_go_on_when_the_issuer_answers_nonsense() {
    let signer = Signer::ec("a");
    let issuer =
        Issuer::standing(&parameters(), Purpose::Access, Some(jwks(&[&signer]).to_string().as_bytes()))
            .unwrap();
    issuer.set_keys(b"<html>");
    assert!(issuer.has_keys() && issuer.trouble().contains("no JSON"), "{}", issuer.trouble());
    assert!(matches!(judge(&issuer, &signer.token(&claims("alice"))), Shown::Believed(_)));
    issuer.set_keys(jwks(&[&signer]).to_string().as_bytes());
    assert_eq!(issuer.trouble(), "");
}

#[test]
fn without_keys_nothing_is_believed() {
    let issuer = Issuer::standing(&parameters(), Purpose::Access, None).unwrap();
    assert_eq!(refused(&issuer, &Signer::ec("a").token(&claims("alice"))), TokenFault::NoKeys);
    assert_eq!(
        issuer.judge(&Ok(HeaderValue::from_bytes(b"\xff").unwrap()), NOW),
        Shown::Refused(TokenFault::Malformed)
    );
}
