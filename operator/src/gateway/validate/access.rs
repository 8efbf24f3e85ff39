//! How callers come in, and whose tokens are believed.

use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{AccessMode, CaBundleRef, CipherPolicy, GatewaySpec, Roles, TlsVersion};
use portcullis_contract::files;
use portcullis_contract::snapshot::{Edge, Issuer, Mode, Oidc, RevokedSubject, TlsPolicy};

use super::{Rejected, invalid, seconds};

/// How callers come in, and whose tokens are believed.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// How callers come in.
    pub mode: Mode,
    /// Networks of the proxies whose forwarding headers count.
    pub trusted_proxies: Vec<String>,
    /// Whether those proxies send a PROXY protocol header.
    pub proxy_protocol: bool,
    /// What TLS must be at least.
    pub tls: TlsPolicy,
    /// The identity-aware edge in front.
    pub edge: Option<Edge>,
    /// Who issues bearer tokens.
    pub oidc: Option<Oidc>,
    /// Roots that are mounted from ConfigMaps.
    pub roots: Vec<Roots>,
}

/// Roots that an issuer's TLS certificate is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// What the volume is called.
    pub volume: &'static str,
    /// Folder that they are mounted at, as [`files::ISSUER_CA`].
    pub folder: &'static str,
    /// Where they are.
    pub source: CaBundleRef,
}

impl Access {
    /// Who issues tokens, by the kind that replicas report of and the field that names it.
    pub fn issuers(&self) -> impl Iterator<Item = (&'static str, &'static str, &Issuer)> {
        let edge = self.edge.iter().map(|edge| ("edge", "spec.access.edge", &edge.issuer));
        edge.chain(self.oidc.iter().map(|oidc| ("oidc", "spec.oidc", &oidc.issuer)))
    }

    /// Whether nobody can say who is asking without a token.
    pub fn needs_tokens(&self) -> bool {
        match self.mode {
            Mode::MutualTls => false,
            Mode::Edge => true,
            Mode::Plaintext => self.oidc.is_some(),
        }
    }
}

/// Parses `spec.access` and `spec.oidc`.
pub(super) fn access(spec: &GatewaySpec) -> Result<Access, Rejected> {
    let mode = match spec.access.mode {
        AccessMode::MutualTLS => Mode::MutualTls,
        AccessMode::Edge => Mode::Edge,
        AccessMode::Plaintext => Mode::Plaintext,
    };
    if (mode == Mode::Edge) != spec.access.edge.is_some() {
        return Err(invalid("spec.access.edge is needed in mode Edge, and belongs in no other".to_owned()));
    }
    if mode == Mode::Plaintext && spec.access.trusted_proxies.is_empty() {
        return Err(invalid(
            "spec.access.trustedProxies is needed in mode Plaintext: write the networks of the proxies, such as 10.0.0.0/8".to_owned(),
        ));
    }
    if let Some(text) = spec.access.trusted_proxies.iter().find(|text| !is_network(text)) {
        return Err(invalid(format!(
            "spec.access.trustedProxies holds {text:?}: write a network such as 10.0.0.0/8"
        )));
    }
    let mut roots = Vec::new();
    let edge = spec.access.edge.as_ref().map(|it| edge(it, &mut roots)).transpose()?;
    let oidc = spec.oidc.as_ref().map(|it| oidc(it, &mut roots)).transpose()?;
    Ok(Access {
        mode,
        trusted_proxies: spec.access.trusted_proxies.clone(),
        proxy_protocol: spec.access.proxy_protocol,
        tls: spec.access.tls.map(tls).unwrap_or_default(),
        edge,
        oidc,
        roots,
    })
}

fn tls(policy: portcullis_api::TlsPolicy) -> TlsPolicy {
    TlsPolicy {
        only_1_3: policy.min_version == TlsVersion::V1_3,
        strict_ciphers: policy.cipher_policy == CipherPolicy::Strict,
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= longest)
}

fn edge(edge: &portcullis_api::Edge, roots: &mut Vec<Roots>) -> Result<Edge, Rejected> {
    let (issuer, jwks_uri, user_claim) = match (&edge.cloudflare, &edge.generic) {
        (Some(cloudflare), None) => {
            let issuer = format!("https://{}", cloudflare.team_domain);
            let keys = format!("{issuer}/cdn-cgi/access/certs");
            (issuer, Some(keys), "email")
        }
        (None, Some(generic)) => (generic.issuer.clone(), generic.jwks_uri.clone(), "sub"),
        _ => return Err(invalid("spec.access.edge needs cloudflare or generic".to_owned())),
    };
    let issuer = Issuer {
        jwks_uri,
        ca_file: mounted("edge-ca", files::EDGE_CA_DIR, edge.ca_bundle_ref.as_ref(), roots),
        clock_skew_seconds: seconds("spec.access.edge.clockSkew", &edge.clock_skew)?,
        user_claim: edge.user_claim.clone().unwrap_or_else(|| user_claim.to_owned()),
        ..Issuer::of(issuer, &edge.audience)
    };
    Ok(Edge {
        issuer: with_roles(issuer, &edge.roles),
        header_name: edge.header_name.to_ascii_lowercase(),
        cookie_name: edge.cookie_name.clone(),
        expiry_grace_seconds: seconds("spec.access.edge.expiryGrace", &edge.expiry_grace)?,
    })
}

fn oidc(oidc: &portcullis_api::Oidc, roots: &mut Vec<Roots>) -> Result<Oidc, Rejected> {
    let issuer = Issuer {
        ca_file: mounted("oidc-ca", files::OIDC_CA_DIR, oidc.ca_bundle_ref.as_ref(), roots),
        jwks_ttl_seconds: seconds("spec.oidc.jwksTtl", &oidc.jwks_ttl)?,
        clock_skew_seconds: seconds("spec.oidc.clockSkew", &oidc.clock_skew)?,
        user_claim: oidc.user_claim.clone(),
        scopes_claim: oidc.scopes_claim.clone(),
        ..Issuer::of(&oidc.issuer, &oidc.audience)
    };
    Ok(Oidc {
        issuer: with_roles(issuer, &oidc.roles),
        client_id: oidc.client_id.clone().unwrap_or_else(|| oidc.audience.clone()),
        scopes: oidc.scopes.clone(),
        revoked_subjects: oidc.revoked_subjects.iter().map(revoked_subject).collect::<Result<_, _>>()?,
    })
}

fn revoked_subject(revoked: &portcullis_api::RevokedSubject) -> Result<RevokedSubject, Rejected> {
    let issued_before = revoked.issued_before.parse::<Timestamp>().map_err(|_| {
        invalid(format!(
            "spec.oidc.revokedSubjects holds issuedBefore {:?}: write an RFC 3339 time such as 2026-01-31T12:00:00Z",
            revoked.issued_before
        ))
    })?;
    // A fraction of a second more revokes that second too.
    let ceiling = issued_before.as_second() + i64::from(issued_before.subsec_nanosecond() > 0);
    Ok(RevokedSubject { subject: revoked.subject.clone(), issued_before: ceiling })
}

fn with_roles(issuer: Issuer, roles: &Roles) -> Issuer {
    Issuer {
        roles_claim: roles.roles_claim.clone(),
        admin_role: roles.admin_role.clone(),
        user_role: roles.user_role.clone(),
        ..issuer
    }
}

/// Notes where roots are mounted from; returns the file that they will be in.
fn mounted(
    volume: &'static str,
    folder: &'static str,
    source: Option<&CaBundleRef>,
    roots: &mut Vec<Roots>,
) -> Option<String> {
    roots.push(Roots { volume, folder, source: source?.clone() });
    Some(format!("{folder}/{}", files::ISSUER_CA))
}
