//! The OpenID provider whose bearer tokens say who is asking.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::issuer::{
    CLAIM, CaBundleRef, ISSUER, ROLES_DIFFER, ROLES_NEED_A_CLAIM, Roles, SCOPES, SKEW, WORD,
};

/// An OpenID provider. Its access tokens say who is asking, in every mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(ROLES_NEED_A_CLAIM)
        .message("adminRole and userRole are looked for in rolesClaim: write rolesClaim too, such as groups or realm_access.roles"),
    validation = Rule::new(ROLES_DIFFER)
        .message("adminRole and userRole are the same, so that every user would be admin: write two roles, or leave one out")
)]
pub struct Oidc {
    /// What its tokens have in iss, to the letter; its discovery document is below it.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(ISSUER).message("issuer is an https URL without query and fragment, as the tokens have it in iss, such as https://login.example.com/realms/shop; http is taken for localhost alone"))]
    pub issuer: String,

    /// What the tokens must be for. Not the CLI's client id, unless the provider puts that into aud.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(WORD).message("audience is what the provider's access tokens have in aud, such as shop-door"))]
    pub audience: String,

    /// The client that the CLI logs in as. Without it, the audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(WORD).message("clientId is the id of a public client at the provider, such as portcullis-cli; leave it out where that is the audience"))]
    pub client_id: Option<String>,

    /// The scopes that the CLI asks for.
    #[serde(default = "openid", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(SCOPES).message("a scope is a word such as openid or tunnel:read: one a line, without blanks, quotes, brackets and backslashes"))]
    pub scopes: Vec<String>,

    /// Path of the claim that backends are told as the user, such as email.
    #[serde(default = "sub")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(CLAIM).message(r"userClaim is the path of a claim, its keys parted by dots, such as email; write \. for a dot that belongs to a key"))]
    pub user_claim: String,

    /// Which rights a token gives.
    #[serde(flatten)]
    pub roles: Roles,

    /// Path of the claim with the scopes, such as scope or scp. Without it scopes are not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(CLAIM).message(r"scopesClaim is the path of a claim, its keys parted by dots, such as scope; write \. for a dot that belongs to a key"))]
    pub scopes_claim: Option<String>,

    /// How long the provider's keys are good before they are fetched again: hours, minutes and seconds.
    #[serde(default = "hour")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')").message("jwksTtl is a time between 1m and 24h, in hours, minutes and seconds, such as 1h"))]
    pub jwks_ttl: String,

    /// How far the provider's clock and ours may disagree: at most 60s.
    #[serde(default = "minute")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new(SKEW).message("clockSkew is a time up to 60s, such as 30s; 0s allows for none"))]
    pub clock_skew: String,

    /// Roots that the provider's TLS certificate is checked against. Without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,

    /// Subjects whose earlier tokens are refused: a laptop was stolen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["subject"]))]
    pub revoked_subjects: Vec<RevokedSubject>,
}

/// Somebody whose tokens may be in other hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedSubject {
    /// What the tokens have in sub.
    #[schemars(length(min = 1, max = 255))]
    pub subject: String,

    /// Tokens that were issued before are refused, and those that do not say when they were: an RFC 3339 time, such as
    /// 2026-01-31T12:00:00Z.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub issued_before: String,
}

fn openid() -> Vec<String> {
    vec!["openid".to_owned()]
}

fn sub() -> String {
    "sub".to_owned()
}

fn hour() -> String {
    "1h".to_owned()
}

fn minute() -> String {
    "60s".to_owned()
}
