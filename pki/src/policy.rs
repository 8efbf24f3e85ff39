//! When a stored leaf is kept, and when it is issued anew: a chain of small policies, each a
//! function of its arguments. Nothing is issued here.

use std::collections::BTreeSet;
use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::names::{self, Name};
use crate::validity::{BACKDATE, Validity};
use crate::{AuthorityFacts, LeafFacts, LeafProfile, Unusable, Usage};

/// Why a leaf is issued anew. `Display` is the message that goes with [`reason`](Self::reason).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reissue {
    /// What is stored cannot be read, or the key is of another certificate.
    Unusable(Unusable),
    /// Another authority, or another generation of it, signed the stored leaf.
    AuthorityChanged {
        /// Key identifier of the one that signed it.
        found: String,
        /// Key identifier of the one that signs now.
        wanted: String,
    },
    /// It stands for the wrong side, or for none, or for both.
    UsageChanged {
        /// What the stored leaf is for.
        found: Option<Usage>,
        /// What it should be for.
        wanted: Usage,
    },
    /// It bears other names than it should.
    NamesChanged {
        /// Wanted, and not in the stored leaf.
        added: Vec<String>,
        /// In the stored leaf, and wanted no more.
        removed: Vec<String>,
    },
    /// It would live for longer than is allowed now.
    LifetimeShortened {
        /// From `notBefore` (backdated) to `notAfter`.
        found: Duration,
        /// The longest that is allowed, backdating included.
        wanted: Duration,
    },
    /// Its end has passed.
    Expired {
        /// Its end.
        not_after: OffsetDateTime,
    },
    /// Its renewal time has come.
    Expiring {
        /// Its end.
        not_after: OffsetDateTime,
    },
    /// It was issued by a clock that is ahead of this one.
    NotYetValid {
        /// Its start.
        not_before: OffsetDateTime,
    },
}

impl Reissue {
    /// One word in CamelCase, for conditions, events and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unusable(_) => "CertificateUnusable",
            Self::AuthorityChanged { .. } => "AuthorityChanged",
            Self::UsageChanged { .. } => "UsageChanged",
            Self::NamesChanged { .. } => "NamesChanged",
            Self::LifetimeShortened { .. } => "LifetimeShortened",
            Self::Expired { .. } => "Expired",
            Self::Expiring { .. } => "Expiring",
            Self::NotYetValid { .. } => "NotYetValid",
        }
    }
}

impl fmt::Display for Reissue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(unusable) => unusable.fmt(f),
            Self::AuthorityChanged { found, wanted } => {
                write!(f, "the authority that signed it ({found}) is not the one that signs now ({wanted})")
            }
            Self::UsageChanged { found: None, wanted } => {
                write!(f, "it is not for a {} alone", side(*wanted))
            }
            Self::UsageChanged { found: Some(found), wanted } => {
                write!(f, "it is for a {}, not for a {}", side(*found), side(*wanted))
            }
            Self::NamesChanged { added, removed } => match (added.join(", "), removed.join(", ")) {
                (added, removed) if removed.is_empty() => write!(f, "it lacks {added}"),
                (added, removed) if added.is_empty() => write!(f, "it still bears {removed}"),
                (added, removed) => write!(f, "it lacks {added} and still bears {removed}"),
            },
            Self::LifetimeShortened { found, wanted } => {
                write!(f, "it lives for {found}, longer than the {wanted} that are allowed")
            }
            Self::Expired { not_after } => write!(f, "it expired at {not_after}"),
            Self::Expiring { not_after } => write!(f, "it expires at {not_after} and its renewal is due"),
            Self::NotYetValid { not_before } => write!(f, "it does not hold before {not_before}"),
        }
    }
}

/// Why the leaf is to be issued anew; `None`: keep it. Of several reasons, the first in the order
/// of [`Reissue`]. A renewal that would end no later than the stored leaf is not asked for, so that
/// the end of an authority causes no storm; what was issued at `now` from the same profile and
/// authority is always kept.
pub fn reissue_reason(
    stored: Result<&LeafFacts, &Unusable>,
    profile: &LeafProfile,
    authority: &AuthorityFacts,
    now: OffsetDateTime,
) -> Option<Reissue> {
    let facts = match stored {
        Ok(facts) => facts,
        Err(unusable) => return Some(Reissue::Unusable(unusable.clone())),
    };
    authority_changed(facts, authority)
        .or_else(|| usage_changed(facts, profile))
        .or_else(|| names_changed(facts, profile))
        .or_else(|| lifetime_shortened(facts, profile))
        .or_else(|| expired(facts, now))
        .or_else(|| expiring(facts, profile, authority, now))
        .or_else(|| not_yet_valid(facts, now))
}

/// When the leaf is to be renewed. In the past while the authority's own end is near: the leaf is
/// then kept until another authority signs, so wait for that and not for this time.
pub fn renewal_time(facts: &LeafFacts, profile: &LeafProfile) -> OffsetDateTime {
    let sensible = profile.renew_before.is_positive() && profile.renew_before < profile.lifetime;
    let renew_before = if sensible { profile.renew_before } else { profile.lifetime / 3 };
    facts.not_after.checked_sub(renew_before).unwrap_or(facts.not_before)
}

fn authority_changed(facts: &LeafFacts, authority: &AuthorityFacts) -> Option<Reissue> {
    (facts.issuer_key_id != authority.key_id).then(|| Reissue::AuthorityChanged {
        found: facts.issuer_key_id.clone(),
        wanted: authority.key_id.clone(),
    })
}

fn usage_changed(facts: &LeafFacts, profile: &LeafProfile) -> Option<Reissue> {
    (facts.usage != Some(profile.usage))
        .then_some(Reissue::UsageChanged { found: facts.usage, wanted: profile.usage })
}

fn names_changed(facts: &LeafFacts, profile: &LeafProfile) -> Option<Reissue> {
    let (wanted, borne) = (names::wanted(profile), names::borne(facts));
    let texts = |these: &BTreeSet<Name>, those: &BTreeSet<Name>| -> Vec<String> {
        these.difference(those).map(ToString::to_string).collect()
    };
    (wanted != borne)
        .then(|| Reissue::NamesChanged { added: texts(&wanted, &borne), removed: texts(&borne, &wanted) })
}

fn lifetime_shortened(facts: &LeafFacts, profile: &LeafProfile) -> Option<Reissue> {
    let found = facts.not_after - facts.not_before;
    let wanted = profile.lifetime.saturating_add(BACKDATE);
    (found > wanted).then_some(Reissue::LifetimeShortened { found, wanted })
}

fn expired(facts: &LeafFacts, now: OffsetDateTime) -> Option<Reissue> {
    (facts.not_after <= now).then_some(Reissue::Expired { not_after: facts.not_after })
}

fn expiring(
    facts: &LeafFacts,
    profile: &LeafProfile,
    authority: &AuthorityFacts,
    now: OffsetDateTime,
) -> Option<Reissue> {
    let fresh = Validity::starting(now, profile.lifetime, Some(authority.not_after))?;
    (renewal_time(facts, profile) <= now && fresh.not_after > facts.not_after)
        .then_some(Reissue::Expiring { not_after: facts.not_after })
}

/// Tolerates no lead: a leaf is backdated by more than honest clocks differ.
fn not_yet_valid(facts: &LeafFacts, now: OffsetDateTime) -> Option<Reissue> {
    (now < facts.not_before).then_some(Reissue::NotYetValid { not_before: facts.not_before })
}

fn side(usage: Usage) -> &'static str {
    match usage {
        Usage::Server => "server",
        Usage::Client => "client",
    }
}

#[cfg(test)]
mod tests;
