//! Clients that hold certificates of somebody else's authority.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::issuer::{CaBundleRef, SCOPES};

/// An authority of somebody else's that signs clients, beside the Gateway's own. Its revocation lists are not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthority {
    /// Names the authority in logs and messages.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a client authority's name is made of a-z, 0-9 and '-', such as corp"))]
    pub name: String,

    /// Its roots: certificates that sign those of clients, or of authorities below them.
    pub ca_bundle_ref: CaBundleRef,

    /// Whom of those that it has signed it lets in, by the one URI among a certificate's alternative names. The first that
    /// means it counts; a certificate that none means is denied.
    #[schemars(length(min = 1, max = 32))]
    pub identities: Vec<ForeignIdentity>,

    /// Serials of certificates of its that count no more, without zeros in front: openssl x509 -noout -serial, in lower case.
    /// They cut what they have opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 40)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^([1-9a-f][0-9a-f]|0[1-9a-f])([0-9a-f]{2})*$'))").message("a serial is lower-case hexadecimal digits in pairs, without colons and without zeros' bytes in front, such as 0b or 4f1c0a"))]
    pub revoke: Vec<String>,
}

/// Certificates of somebody else's authority, and whom they stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignIdentity {
    /// The URI in a certificate, such as spiffe://corp.example/team/*; * is one whole segment of the path.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][a-z0-9+.-]*://[a-z0-9.-]+(/([A-Za-z0-9._~!$&()+,;=:@-]+|[*])){1,32}$') && !(self + '/').matches('/[.]{1,2}/')").message("uri is that of a certificate, its host in full, in which * may stand for one whole segment of the path, such as spiffe://corp.example/team/*"))]
    pub uri: String,

    /// The user that backends are told. Without it, the URI in the certificate.
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
}
