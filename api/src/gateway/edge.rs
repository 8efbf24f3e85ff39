//! The identity-aware proxy in front.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::issuer::{CLAIM, CaBundleRef, ISSUER, ROLES_DIFFER, ROLES_NEED_A_CLAIM, Roles, SKEW, WORD};

/// An identity-aware proxy: it lets people log in and hands each request on with a token of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cloudflare) != has(self.generic)")
        .message("edge needs exactly one of cloudflare (with teamDomain) and generic (with issuer)"),
    validation = Rule::new(ROLES_NEED_A_CLAIM)
        .message("adminRole and userRole are looked for in rolesClaim: write rolesClaim too, such as groups"),
    validation = Rule::new(ROLES_DIFFER)
        .message("adminRole and userRole are the same, so that every user would be admin: write two roles, or leave one out")
)]
pub struct Edge {
    /// Cloudflare Access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudflare: Option<Cloudflare>,

    /// Any other that signs a JWT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic: Option<Generic>,

    /// What the token must be for: of Cloudflare Access, the application's audience tag.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(WORD).message("audience is what the edge's tokens have in aud, such as the audience tag of a Cloudflare Access application"))]
    pub audience: String,

    /// The header that the edge puts its token in.
    #[serde(default = "header")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$') && !(self.lowerAscii() in ['authorization', 'cookie', 'host'])").message("headerName is a header that the edge alone sets, such as Cf-Access-Jwt-Assertion; not Authorization, Cookie or Host"))]
    pub header_name: String,

    /// The cookie that browsers carry its token in.
    #[serde(default = "cookie")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')").message("cookieName is the name of the edge's cookie, such as CF_Authorization"))]
    pub cookie_name: String,

    /// Path of the claim that backends are told as the user. Without it: email for cloudflare, sub for generic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(CLAIM).message(r"userClaim is the path of a claim, its keys parted by dots, such as email; write \. for a dot that belongs to a key"))]
    pub user_claim: Option<String>,

    /// Which rights a token gives.
    #[serde(flatten)]
    pub roles: Roles,

    /// Roots that the issuer's TLS certificate is checked against. Without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,

    /// How long a WebSocket tunnel outlives the token that it was opened with: hours, minutes and seconds.
    #[serde(default = "none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) <= duration('1h')").message("expiryGrace is a time up to 1h, in minutes and seconds, such as 5m; 0s closes a tunnel when its token ends"))]
    pub expiry_grace: String,

    /// How far the issuer's clock and ours may disagree: at most 60s.
    #[serde(default = "minute")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new(SKEW).message("clockSkew is a time up to 60s, such as 30s; 0s allows for none"))]
    pub clock_skew: String,
}

/// Cloudflare Access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cloudflare {
    /// The team's domain, such as example.cloudflareaccess.com.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')").message("teamDomain is the host name of the team, without scheme and path, such as example.cloudflareaccess.com"))]
    pub team_domain: String,
}

/// An identity-aware proxy that signs a JWT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generic {
    /// What its tokens have in iss, to the letter.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(ISSUER).message("issuer is an https URL without query and fragment, as the tokens have it in iss, such as https://login.example.com; http is taken for localhost alone"))]
    pub issuer: String,

    /// Where its keys are. Without it, where the issuer's discovery document says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(https://[A-Za-z0-9]|http://(localhost|127[.]0[.]0[.]1)[:/])[!-~]*$') && isURL(self) && !self.contains('#')").message("jwksUri is an https URL, such as https://login.example.com/keys; http is taken for localhost alone"))]
    pub jwks_uri: Option<String>,
}

fn header() -> String {
    "Cf-Access-Jwt-Assertion".to_owned()
}

fn cookie() -> String {
    "CF_Authorization".to_owned()
}

fn none() -> String {
    "0s".to_owned()
}

fn minute() -> String {
    "60s".to_owned()
}
