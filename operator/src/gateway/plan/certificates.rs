//! Authority, server certificate and bundles: what is kept, what is issued, and what must not be touched. An authority
//! that has signed what clients hold is never silently replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_api::condition::Reason;
use portcullis_pki::{LeafFacts, Mint, renewal_time};
use time::OffsetDateTime;

use crate::children::issuer::Issuer;
use crate::children::secret::Stored;
use crate::children::{Error, Maker, Wanted};
use crate::gateway::observe::Observed;
use crate::gateway::plan::rotation;
use crate::gateway::validate::Accepted;
use crate::names;
use crate::settings::Settings;
use crate::world::{Kind, Roots};

pub(super) mod profiles;
mod secrets;
pub mod signer;

use secrets::{Secrets, ServerSecret};
use signer::Signer;

/// The certificates of a Gateway, as they should be.
#[derive(Debug, Default)]
pub struct Certificates {
    /// The authority, if there is one.
    pub roots: Option<Arc<Roots>>,
    /// The authorities that clients are checked against, PEM.
    pub trust: Option<String>,
    /// Roots that vouch for what is open, and for nothing new, PEM.
    pub retired: Vec<String>,
    /// The server's leaf.
    pub server: Option<LeafFacts>,
    /// The clients' leaves, by the client's name, with their Secrets.
    pub clients: Vec<(String, String, LeafFacts)>,
    /// What stands in the way.
    pub trouble: Option<Trouble>,
    /// What is to be warned of.
    pub warnings: Vec<(Reason, String)>,
    /// Why something is issued or restored, in words for the log.
    pub notes: Vec<String>,
    /// When the next certificate is due.
    pub renewal: Option<OffsetDateTime>,
    /// When the authority itself is to be looked at.
    pub rotation: Option<OffsetDateTime>,
    gateway: String,
    secrets: Secrets,
}

/// Why certificates are not as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// For the condition.
    pub reason: Reason,
    /// What was found and what to do.
    pub message: String,
}

/// Decides what is kept and what is issued; certificates with these serials count no more.
///
/// # Errors
/// Where one cannot be issued.
pub fn plan(
    accepted: &Accepted,
    observed: &Observed,
    settings: &Settings,
    signer: Signer,
    revoked: &BTreeSet<String>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Certificates, Error> {
    let gateway = &accepted.key.name;
    let mut plan = Certificates { gateway: gateway.clone(), ..Certificates::default() };
    let roots = match signer {
        Signer::Kept(roots) => {
            plan.secrets.authority = Some(Stored::Kept);
            roots
        }
        Signer::New(roots, note) => {
            plan.notes.push(note);
            plan.secrets.authority = Some(Stored::New(roots.clone()));
            roots
        }
        Signer::Awaited(trouble) | Signer::Lost(trouble) => {
            return Ok(leave_alone(plan, trouble, accepted, observed));
        }
    };
    let trust = roots.trust();
    let issuer = Issuer { authority: &roots.signing, trust: &trust, now, mint };
    plan.server_secret(accepted, observed, settings, &issuer)?;
    for caller in &accepted.clients {
        let profile = profiles::client(accepted, settings, caller);
        let secret = names::bundle_secret(gateway, &caller.client.name);
        let stored = observed.bundle(gateway, &caller.client.name);
        let bundle = issuer.bundle(stored, &profile, revoked)?;
        match (bundle.reason, &bundle.stored) {
            (Some(why), Stored::Amended(_)) => {
                plan.notes.push(format!("bundle {secret} keeps its certificate: {why}"));
            }
            (reason @ Some(_), _) => plan.note("bundle", &secret, reason),
            (None, _) => {}
        }
        plan.due(renewal_time(&bundle.facts, &profile));
        plan.clients.push((caller.client.name.clone(), secret.clone(), bundle.facts));
        plan.secrets.bundles.push((secret, bundle.stored));
    }
    plan.rotation = rotation::due(accepted, &roots, now);
    plan.trust = Some(roots.signers());
    plan.retired = roots.course.retired(now);
    plan.roots = Some(roots);
    Ok(plan)
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
        // What signed it where it is not the root itself: those below a root that is not ours alone stay out.
        plan.trust = Some(first_of(&served.chain).unwrap_or(&served.ca).to_owned());
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

/// The first certificate of a chain, if it is not empty.
fn first_of(chain: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----\n";
    chain.find(END).map(|end| &chain[..end + END.len()])
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
            (profiles::server(accepted, settings), profiles::control(accepted, settings));
        let control_issuer = Issuer {
            authority: control,
            trust: &control.certificate_pem,
            now: issuer.now,
            mint: issuer.mint,
        };
        let stored = observed.served(&accepted.key.name);
        let reason = match stored {
            None => Some("there is none yet".to_owned()),
            // With the new certificate that comes with new roots, replicas prove that they have both.
            Some(served) if served.ca != issuer.trust => Some("other roots are trusted now".to_owned()),
            Some(served) if served.control_ca != control.certificate_pem => {
                Some("its control-ca.crt is not the control authority's".to_owned())
            }
            Some(served) => issuer
                .reason(&served.server, &served.chain, &server_profile)
                .or_else(|| control_issuer.reason(&served.control, "", &control_profile)),
        };
        if let (None, Some((Ok(server), Ok(control)))) = (&reason, stored.map(|it| (&it.server, &it.control)))
        {
            self.due(renewal_time(server, &server_profile));
            self.due(renewal_time(control, &control_profile));
            self.server = Some(server.clone());
            self.secrets.server = Some(Stored::Kept);
            return Ok(());
        }
        let server = issuer.issue(&server_profile)?;
        let leaf = control_issuer.issue(&control_profile)?;
        self.note("server certificate", &secret, reason);
        self.due(renewal_time(&server.facts, &server_profile));
        self.due(renewal_time(&leaf.facts, &control_profile));
        self.server = Some(server.facts.clone());
        self.secrets.server = Some(Stored::New(ServerSecret {
            server,
            control: leaf,
            ca: issuer.trust.to_owned(),
            control_ca: control.certificate_pem.clone(),
        }));
        Ok(())
    }

    /// The first Secret that is to be written, beside the authority's own.
    pub fn unsettled(&self) -> Option<String> {
        self.secrets.unsettled(&self.gateway)
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

    /// The Secrets as they should be.
    pub(super) fn wanted(&self, maker: &Maker<'_>) -> Result<Vec<Wanted>, Error> {
        self.secrets.wanted(maker)
    }

    /// Whether a Secret must stay because it cannot be said whether it has a place.
    pub fn in_doubt(&self, (kind, _): &(Kind, String)) -> bool {
        self.trouble.is_some() && matches!(kind, Kind::Secret | Kind::ConfigMap)
    }
}
