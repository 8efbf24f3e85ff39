//! Authority, server certificate and bundles: what is kept, what is issued, and what must not be touched. An authority
//! that has signed what clients hold is never silently replaced.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use portcullis_api::condition::Reason;
use portcullis_contract::files;
use portcullis_contract::identity::Identity;
use portcullis_pki::{
    Authority, AuthorityFacts, AuthorityProfile, Leaf, LeafFacts, LeafProfile, Mint, NameConstraints,
    Reissue, Unusable, Usage, issue_authority, issue_leaf, reissue_reason, renewal_time,
};
use time::{Duration, OffsetDateTime};

use super::metadata::Maker;
use super::{Error, Wanted};
use crate::gateway::observe::Observed;
use crate::gateway::validate::Accepted;
use crate::names;
use crate::settings::Settings;
use crate::world::child::authority_keys;
use crate::world::{Content, Kind};

/// How long an authority lives. Its leaves are renewed long before; its own rotation has phases of its own.
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// How long a replica's control certificate lives; renewed at two thirds.
const CONTROL_LIFETIME: Duration = Duration::days(7);

/// The certificates of a Gateway, as they should be.
#[derive(Debug, Default)]
pub struct Certificates {
    /// The authority that signs, if there is one.
    pub authority: Option<AuthorityFacts>,
    /// The roots that clients are checked against, PEM.
    pub trust: Option<String>,
    /// The server's leaf.
    pub server: Option<LeafFacts>,
    /// The clients' leaves, by the client's name, with their Secrets.
    pub clients: Vec<(String, String, LeafFacts)>,
    /// What stands in the way.
    pub trouble: Option<Trouble>,
    /// Secrets that stay exactly as they are.
    pub untouched: Vec<String>,
    /// Why something is issued or restored, in words for the log and the Event.
    pub notes: Vec<String>,
    /// When the next certificate is due.
    pub renewal: Option<OffsetDateTime>,
    authority_secret: Option<Stored<Arc<Authority>>>,
    server_secret: Option<Stored<ServerSecret>>,
    bundles: Vec<(String, Stored<BundleSecret>)>,
}

/// Why certificates are not as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// For the condition.
    pub reason: Reason,
    /// What was found and what to do.
    pub message: String,
}

/// A Secret that stays as it is, or one with new content.
#[derive(Debug)]
enum Stored<T> {
    Kept,
    New(T),
}

#[derive(Debug)]
struct ServerSecret {
    server: Leaf,
    control: Leaf,
    ca: String,
    control_ca: String,
}

#[derive(Debug)]
struct BundleSecret {
    leaf: Leaf,
    ca: String,
}

/// The authority, and whether its Secret must be written.
enum Signer {
    Kept(Arc<Authority>),
    New(Arc<Authority>, String),
    Lost(Trouble),
}

/// Decides what is kept and what is issued. `recorded` is the fingerprint of the authority in the Gateway's status.
pub fn plan(
    accepted: &Accepted,
    observed: &Observed,
    settings: &Settings,
    recorded: Option<&str>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Certificates, Error> {
    let gateway = &accepted.key.name;
    let signer = signer(accepted, observed, recorded, now, mint)?;
    let mut plan = Certificates::default();
    let authority = match signer {
        Signer::Kept(authority) => {
            plan.authority_secret = Some(Stored::Kept);
            authority
        }
        Signer::New(authority, note) => {
            plan.notes.push(note);
            plan.authority_secret = Some(Stored::New(authority.clone()));
            authority
        }
        Signer::Lost(trouble) => return Ok(leave_alone(plan, trouble, accepted, observed)),
    };
    plan.authority = Some(authority.facts.clone());
    plan.trust = Some(authority.certificate_pem.clone());
    let issuer = Issuer { authority: &authority, now, mint };
    plan.server_secret(accepted, observed, settings, &issuer)?;
    for caller in &accepted.clients {
        let profile = client_profile(accepted, settings, caller);
        let secret = names::bundle_secret(gateway, &caller.client.name);
        let stored = observed.bundle(gateway, &caller.client.name);
        let reason = match stored {
            Some(bundle) if bundle.ca != authority.certificate_pem => {
                Some("its ca.crt is not the authority's".to_owned())
            }
            Some(bundle) => issuer.reason(&bundle.leaf, &profile),
            None => Some("there is none yet".to_owned()),
        };
        let (facts, content) = match (reason, stored.map(|bundle| &bundle.leaf)) {
            (None, Some(Ok(facts))) => (facts.clone(), Stored::Kept),
            (reason, _) => {
                let leaf = issuer.issue(&profile)?;
                plan.note("bundle", &secret, reason);
                (
                    leaf.facts.clone(),
                    Stored::New(BundleSecret { leaf, ca: authority.certificate_pem.clone() }),
                )
            }
        };
        plan.due(renewal_time(&facts, &profile));
        plan.clients.push((caller.client.name.clone(), secret.clone(), facts));
        plan.bundles.push((secret, content));
    }
    Ok(plan)
}

/// The authority that signs, or why there is none.
fn signer(
    accepted: &Accepted,
    observed: &Observed,
    recorded: Option<&str>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Signer, Error> {
    let gateway = &accepted.key.name;
    let secret = names::authority_secret(gateway);
    let found = match observed.stored_authority(gateway) {
        Some(Content::Authority(Ok(authority))) => match recorded {
            Some(recorded) if recorded != authority.facts.fingerprint => Err((
                Reason::AuthorityUnusable,
                format!(
                    "Secret {secret} holds another authority ({}) than the one that signed what is in use ({recorded})",
                    authority.facts.fingerprint
                ),
            )),
            _ => Ok(authority.clone()),
        },
        Some(Content::Authority(Err(unusable))) => {
            Err((Reason::AuthorityUnusable, format!("Secret {secret} cannot be used: {unusable}")))
        }
        _ if recorded.is_none() && has_no_leaves(accepted, observed) => {
            let profile = AuthorityProfile {
                common_name: format!("portcullis {}", accepted.key),
                lifetime: AUTHORITY_LIFETIME,
                name_constraints: NameConstraints::default(),
            };
            let authority = issue_authority(&profile, 1, now, mint)?;
            return Ok(Signer::New(Arc::new(authority), format!("authority {secret} created")));
        }
        _ => Err((Reason::AuthorityMissing, format!("Secret {secret} is gone"))),
    };
    Ok(match found {
        Ok(authority) => Signer::Kept(authority),
        Err((reason, found)) => match &observed.remembered_authority {
            Some(authority) if recorded.is_none_or(|recorded| recorded == authority.facts.fingerprint) => {
                Signer::New(authority.clone(), format!("{found}; restored from memory"))
            }
            _ => Signer::Lost(Trouble {
                reason,
                message: format!("{found}. Nothing is issued until it is back: {}", advice(gateway, &secret)),
            }),
        },
    })
}

fn advice(gateway: &str, secret: &str) -> String {
    format!(
        "restore Secret {secret} from a backup; or, to begin anew and hand every client a new bundle, delete this Gateway and apply it again (Secrets {gateway}-server and {gateway}-client-* go with it)"
    )
}

fn has_no_leaves(accepted: &Accepted, observed: &Observed) -> bool {
    let gateway = &accepted.key.name;
    let served = observed.served(gateway).is_some_and(|served| served.server.is_ok());
    let bundled = accepted.clients.iter().any(|caller| {
        observed.bundle(gateway, &caller.client.name).is_some_and(|bundle| bundle.leaf.is_ok())
    });
    !served && !bundled
}

/// Without an authority everything that there is goes on being served, and nothing is issued or deleted.
fn leave_alone(
    mut plan: Certificates,
    trouble: Trouble,
    accepted: &Accepted,
    observed: &Observed,
) -> Certificates {
    let gateway = &accepted.key.name;
    if let Some(served) = observed.served(gateway) {
        plan.trust = Some(served.ca.clone());
        plan.server = served.server.clone().ok();
    }
    for caller in &accepted.clients {
        let name = &caller.client.name;
        if let Some(Ok(facts)) = observed.bundle(gateway, name).map(|bundle| &bundle.leaf) {
            plan.clients.push((name.clone(), names::bundle_secret(gateway, name), facts.clone()));
        }
    }
    plan.trouble = Some(trouble);
    plan
}

/// Issues leaves from one authority.
struct Issuer<'a> {
    authority: &'a Authority,
    now: OffsetDateTime,
    mint: &'a dyn Mint,
}

impl Issuer<'_> {
    fn reason(&self, stored: &Result<LeafFacts, Unusable>, profile: &LeafProfile) -> Option<String> {
        let reason: Option<Reissue> =
            reissue_reason(stored.as_ref(), profile, &self.authority.facts, self.now);
        reason.map(|reason| reason.to_string())
    }

    fn issue(&self, profile: &LeafProfile) -> Result<Leaf, Error> {
        Ok(issue_leaf(self.authority, profile, self.now, self.mint)?)
    }
}

impl Certificates {
    /// Server leaf and control leaf live in one Secret and are issued together.
    fn server_secret(
        &mut self,
        accepted: &Accepted,
        observed: &Observed,
        settings: &Settings,
        issuer: &Issuer<'_>,
    ) -> Result<(), Error> {
        let Some(control) = &observed.control_authority else { return Ok(()) };
        let secret = names::server_secret(&accepted.key.name);
        let (server_profile, control_profile) =
            (server_profile(accepted, settings), control_profile(accepted, settings));
        let control_issuer = Issuer { authority: control, now: issuer.now, mint: issuer.mint };
        let stored = observed.served(&accepted.key.name);
        let reason = match stored {
            None => Some("there is none yet".to_owned()),
            Some(served) if served.ca != issuer.authority.certificate_pem => {
                Some("its ca.crt is not the authority's".to_owned())
            }
            Some(served) if served.control_ca != control.certificate_pem => {
                Some("its control-ca.crt is not the control authority's".to_owned())
            }
            Some(served) => issuer
                .reason(&served.server, &server_profile)
                .or_else(|| control_issuer.reason(&served.control, &control_profile)),
        };
        if let (None, Some((Ok(server), Ok(control)))) = (&reason, stored.map(|it| (&it.server, &it.control)))
        {
            self.due(renewal_time(server, &server_profile));
            self.due(renewal_time(control, &control_profile));
            self.server = Some(server.clone());
            self.server_secret = Some(Stored::Kept);
            return Ok(());
        }
        let server = issuer.issue(&server_profile)?;
        let leaf = control_issuer.issue(&control_profile)?;
        self.note("server certificate", &secret, reason);
        self.due(renewal_time(&server.facts, &server_profile));
        self.due(renewal_time(&leaf.facts, &control_profile));
        self.server = Some(server.facts.clone());
        self.server_secret = Some(Stored::New(ServerSecret {
            server,
            control: leaf,
            ca: issuer.authority.certificate_pem.clone(),
            control_ca: control.certificate_pem.clone(),
        }));
        Ok(())
    }

    /// When the first of them ends.
    pub fn earliest_expiry(&self) -> Option<OffsetDateTime> {
        let clients = self.clients.iter().map(|(_, _, facts)| facts.not_after);
        clients.chain(self.server.as_ref().map(|facts| facts.not_after)).min()
    }

    fn due(&mut self, at: OffsetDateTime) {
        self.renewal = Some(self.renewal.map_or(at, |renewal| renewal.min(at)));
    }

    fn note(&mut self, what: &str, secret: &str, reason: Option<String>) {
        self.notes.push(format!("{what} {secret} issued: {}", reason.unwrap_or_default()));
    }

    /// Whether a Secret must stay because it cannot be said whether it has a place.
    pub fn in_doubt(&self, (kind, _): &(Kind, String)) -> bool {
        self.trouble.is_some() && matches!(kind, Kind::Secret | Kind::ConfigMap)
    }

    /// The Secrets as they should be.
    pub(super) fn secrets(&self, maker: &Maker<'_>) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        if let Some(stored) = &self.authority_secret {
            wanted.push(stored.wanted(
                maker,
                names::authority_secret(maker.gateway()),
                "portcullis.dev/authority",
                |authority| {
                    let [certificate, key] = authority_keys(authority.generation);
                    vec![(certificate, authority.certificate_pem.as_str()), (key, authority.key.expose())]
                },
            )?);
        }
        if let Some(stored) = &self.server_secret {
            wanted.push(stored.wanted(maker, names::server_secret(maker.gateway()), TLS, |secret| {
                vec![
                    (files::SERVER_CERTIFICATE.to_owned(), secret.server.certificate_pem.as_str()),
                    (files::SERVER_KEY.to_owned(), secret.server.key.expose()),
                    (files::SERVER_CA.to_owned(), secret.ca.as_str()),
                    (files::CONTROL_CERTIFICATE.to_owned(), secret.control.certificate_pem.as_str()),
                    (files::CONTROL_KEY.to_owned(), secret.control.key.expose()),
                    (files::CONTROL_CA.to_owned(), secret.control_ca.as_str()),
                ]
            })?);
        }
        for (name, stored) in &self.bundles {
            wanted.push(stored.wanted(maker, name.clone(), TLS, |bundle| {
                vec![
                    (files::SERVER_CERTIFICATE.to_owned(), bundle.leaf.certificate_pem.as_str()),
                    (files::SERVER_KEY.to_owned(), bundle.leaf.key.expose()),
                    (files::SERVER_CA.to_owned(), bundle.ca.as_str()),
                ]
            })?);
        }
        Ok(wanted)
    }
}

/// The field's own type for a certificate and its key.
const TLS: &str = "kubernetes.io/tls";

impl<T> Stored<T> {
    fn wanted<'a>(
        &'a self,
        maker: &Maker<'_>,
        name: String,
        type_: &str,
        data: impl FnOnce(&'a T) -> Vec<(String, &'a str)>,
    ) -> Result<Wanted, Error> {
        let mut secret =
            Secret { metadata: maker.metadata(name), type_: Some(type_.to_owned()), ..Secret::default() };
        Ok(match self {
            Self::Kept => Wanted::KeepData(maker.finish(&secret)?),
            Self::New(content) => {
                let data =
                    data(content).into_iter().map(|(key, text)| (key, ByteString(text.as_bytes().to_vec())));
                secret.data = Some(data.collect());
                Wanted::Object(Kind::Secret, maker.finish(&secret)?)
            }
        })
    }
}

fn identity(accepted: &Accepted, settings: &Settings, client: Option<&str>) -> String {
    let identity = Identity {
        trust_domain: settings.trust_domain.clone(),
        namespace: accepted.key.namespace.clone(),
        gateway: accepted.key.name.clone(),
        client: client.map(str::to_owned),
    };
    identity.to_string()
}

fn server_profile(accepted: &Accepted, settings: &Settings) -> LeafProfile {
    let (name, namespace) = (&accepted.key.name, &accepted.key.namespace);
    let service = format!("{name}.{namespace}.svc");
    let mut dns_names = vec![
        "localhost".to_owned(),
        name.clone(),
        format!("{name}.{namespace}"),
        format!("{service}.{}", settings.cluster_domain),
        service.clone(),
    ];
    dns_names.extend(accepted.server.dns_names.iter().cloned());
    let mut ip_addresses = vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    ip_addresses.extend(&accepted.server.ip_addresses);
    LeafProfile {
        common_name: service,
        usage: Usage::Server,
        dns_names,
        ip_addresses,
        uris: Vec::new(),
        lifetime: accepted.server.lifetime,
        renew_before: accepted.server.renew_before,
    }
}

fn control_profile(accepted: &Accepted, settings: &Settings) -> LeafProfile {
    LeafProfile {
        common_name: format!("gateway {}", accepted.key),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![identity(accepted, settings, None)],
        lifetime: CONTROL_LIFETIME,
        renew_before: CONTROL_LIFETIME / 3,
    }
}

fn client_profile(
    accepted: &Accepted,
    settings: &Settings,
    caller: &crate::gateway::validate::Caller,
) -> LeafProfile {
    LeafProfile {
        common_name: caller.client.name.clone(),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![identity(accepted, settings, Some(&caller.client.name))],
        lifetime: caller.lifetime,
        renew_before: caller.lifetime / 3,
    }
}
