//! Leaves of one authority: what is kept, and what is issued anew and why.

use std::collections::BTreeSet;

use portcullis_contract::files;
use portcullis_pki::{Authority, Leaf, LeafFacts, LeafProfile, Mint, Unusable, issue_leaf, reissue_reason};
use time::OffsetDateTime;

use super::Error;
use super::secret::Stored;
use crate::world::Bundle;

/// Issues leaves from one authority.
pub struct Issuer<'a> {
    /// It signs.
    pub authority: &'a Authority,
    /// Every root that holders of its leaves are to trust, PEM.
    pub trust: &'a str,
    /// The time.
    pub now: OffsetDateTime,
    /// Keys and serials.
    pub mint: &'a dyn Mint,
}

/// What a client or a connector is handed.
#[derive(Debug)]
pub struct BundleSecret {
    /// Certificate and key.
    pub leaf: Leaf,
    /// Roots for the server, PEM.
    pub ca: String,
}

/// A bundle as it should be.
#[derive(Debug)]
pub struct Issued {
    /// What its certificate says.
    pub facts: LeafFacts,
    /// Its Secret's content.
    pub stored: Stored<BundleSecret>,
    /// Why it is written; None where it is kept.
    pub reason: Option<String>,
}

impl Issuer<'_> {
    /// Why a leaf that this is shown after is to be issued anew; None: it stays.
    pub fn reason(
        &self,
        stored: &Result<LeafFacts, Unusable>,
        chain: &str,
        profile: &LeafProfile,
    ) -> Option<String> {
        let reason = reissue_reason(stored.as_ref(), profile, &self.authority.facts, self.now);
        let is_other = chain != self.authority.chain();
        let other = || is_other.then(|| "other certificates lead from it to its root now".to_owned());
        reason.map(|reason| reason.to_string()).or_else(other)
    }

    /// A new leaf.
    ///
    /// # Errors
    /// Where it cannot be issued.
    pub fn issue(&self, profile: &LeafProfile) -> Result<Leaf, Error> {
        Ok(issue_leaf(self.authority, profile, self.now, self.mint)?)
    }

    /// A bundle, kept, or kept but for the roots in it, or issued anew: certificates with these serials count no more.
    ///
    /// # Errors
    /// Where it cannot be issued.
    pub fn bundle(
        &self,
        stored: Option<&Bundle>,
        profile: &LeafProfile,
        revoked: &BTreeSet<String>,
    ) -> Result<Issued, Error> {
        let is_revoked = |facts: &LeafFacts| revoked.contains(&facts.serial);
        let reason = match stored {
            Some(bundle) if bundle.leaf.as_ref().is_ok_and(is_revoked) => {
                Some("its certificate was revoked".to_owned())
            }
            Some(bundle) => self.reason(&bundle.leaf, &bundle.chain, profile),
            None => Some("there is none yet".to_owned()),
        };
        if let (None, Some((Ok(facts), trusted))) = (&reason, stored.map(|bundle| (&bundle.leaf, &bundle.ca)))
        {
            let is_told = trusted == self.trust;
            let amended = || Stored::Amended(vec![(files::SERVER_CA.to_owned(), self.trust.to_owned())]);
            let reason = (!is_told).then(|| "other roots are trusted now".to_owned());
            let stored = if is_told { Stored::Kept } else { amended() };
            return Ok(Issued { facts: facts.clone(), stored, reason });
        }
        let leaf = self.issue(profile)?;
        let ca = self.trust.to_owned();
        Ok(Issued { facts: leaf.facts.clone(), stored: Stored::New(BundleSecret { leaf, ca }), reason })
    }
}
