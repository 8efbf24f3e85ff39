//! Leaves of one authority: what is kept, and what is issued anew and why.

use std::collections::BTreeSet;

use portcullis_pki::{Authority, Leaf, LeafFacts, LeafProfile, Mint, Unusable, issue_leaf, reissue_reason};
use time::OffsetDateTime;

use super::Error;
use super::secret::Stored;
use crate::world::Bundle;

/// Issues leaves from one authority.
pub struct Issuer<'a> {
    /// It signs.
    pub authority: &'a Authority,
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
    /// Why it was issued anew; None where it is kept.
    pub reason: Option<String>,
}

impl Issuer<'_> {
    /// Why a leaf is to be issued anew; None: it stays.
    pub fn reason(&self, stored: &Result<LeafFacts, Unusable>, profile: &LeafProfile) -> Option<String> {
        let reason = reissue_reason(stored.as_ref(), profile, &self.authority.facts, self.now);
        reason.map(|reason| reason.to_string())
    }

    /// A new leaf.
    ///
    /// # Errors
    /// Where it cannot be issued.
    pub fn issue(&self, profile: &LeafProfile) -> Result<Leaf, Error> {
        Ok(issue_leaf(self.authority, profile, self.now, self.mint)?)
    }

    /// A bundle, kept or issued anew: certificates with these serials count no more.
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
            Some(bundle) if bundle.ca != self.authority.certificate_pem => {
                Some("its ca.crt is not the authority's".to_owned())
            }
            Some(bundle) => self.reason(&bundle.leaf, profile),
            None => Some("there is none yet".to_owned()),
        };
        if let (None, Some(Ok(facts))) = (&reason, stored.map(|bundle| &bundle.leaf)) {
            return Ok(Issued { facts: facts.clone(), stored: Stored::Kept, reason });
        }
        let leaf = self.issue(profile)?;
        let ca = self.authority.certificate_pem.clone();
        Ok(Issued { facts: leaf.facts.clone(), stored: Stored::New(BundleSecret { leaf, ca }), reason })
    }
}
