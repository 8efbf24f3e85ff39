//! Who may come in.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::issuer::SCOPES;

/// A client of the Gateway, with a certificate bundle of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Names the client in its certificate, and its Secret: `<gateway>-client-<name>`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a client's name is made of a-z, 0-9 and '-', such as ci-runner"))]
    pub name: String,

    /// The user that backends are told. Without it, the client's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]+$')").message("user is printable ASCII without spaces, such as alice@example.com"))]
    pub user: Option<String>,

    /// Roles that backends are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(r, r.matches('^[!-+--~]+$'))").message("a role is printable ASCII without spaces and commas, such as admin"))]
    pub roles: Vec<String>,

    /// The scopes that it is held to; portcullis:all is every one. Without the field it is held to none, and an empty
    /// list lets it do only what needs no scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(SCOPES).message("a scope is a word such as tunnel:read: one a line, without blanks, quotes, brackets and backslashes"))]
    pub scopes: Option<Vec<String>>,

    /// How long its certificate is valid: hours, minutes and seconds. Renewed in its Secret at two thirds.
    #[serde(default = "month")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')").message("a client's duration is a time between 1h and 8760h (a year), in hours, minutes and seconds, such as 720h"))]
    pub duration: String,

    /// Serials of certificates of its that count no more, as status.clients has them; one that is in its bundle is issued
    /// anew. They cut what they have opened, and stay revoked when they are taken from this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 40)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[0-9a-f]+$'))").message("a serial is lower-case hexadecimal digits without colons, as status.clients[].certificate.serial has it"))]
    pub revoke: Vec<String>,
}

fn month() -> String {
    "720h".to_owned()
}
