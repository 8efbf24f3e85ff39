//! The connector's bundle: signed by the Gateway's authority, and good for exactly one Tunnel.

use std::collections::BTreeSet;

use portcullis_contract::identity::{Holder, Identity};
use portcullis_pki::{LeafProfile, Mint, Usage, renewal_time};
use time::{Duration, OffsetDateTime};

use crate::children::issuer::{BundleSecret, Issuer};
use crate::children::secret::Stored;
use crate::children::{Error, Maker, Wanted};
use crate::names;
use crate::settings::Settings;
use crate::tunnel::observe::Observed;
use crate::world::{Key, Roots};

/// How long it lives; renewed at two thirds.
pub const LIFETIME: Duration = Duration::days(7);

/// A bundle as it should be.
pub(super) struct Bundle {
    name: String,
    stored: Stored<BundleSecret>,
    pub(super) renewal: OffsetDateTime,
    pub(super) notes: Vec<String>,
}

pub(super) fn bundle(
    gateway: &Key,
    tunnel: &Key,
    authority: &Roots,
    observed: &Observed,
    settings: &Settings,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Bundle, Error> {
    let name = names::connector(&tunnel.name);
    let profile = profile(gateway, tunnel, settings);
    let trust = authority.trust();
    let signs = Issuer { authority: &authority.signing, trust: &trust, now, mint };
    let issued = signs.bundle(observed.bundle(&tunnel.name), &profile, &BTreeSet::new())?;
    let note = issued.reason.map(|reason| format!("connector's bundle {name} issued: {reason}"));
    Ok(Bundle {
        name,
        renewal: renewal_time(&issued.facts, &profile),
        stored: issued.stored,
        notes: note.into_iter().collect(),
    })
}

impl Bundle {
    pub(super) fn secret(&self, maker: &Maker<'_>) -> Result<Wanted, Error> {
        self.stored.bundle(maker, self.name.clone())
    }
}

fn profile(gateway: &Key, tunnel: &Key, settings: &Settings) -> LeafProfile {
    let identity = Identity {
        trust_domain: settings.trust_domain.clone(),
        namespace: gateway.namespace.clone(),
        gateway: gateway.name.clone(),
        holder: Holder::Connector { namespace: tunnel.namespace.clone(), tunnel: tunnel.name.clone() },
    };
    LeafProfile {
        common_name: format!("connector {tunnel}"),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![identity.to_string()],
        lifetime: LIFETIME,
        renew_before: LIFETIME / 3,
    }
}
