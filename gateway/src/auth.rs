//! Who is asking: evidence goes in, a principal or a denial comes out. One pure decision for every way in.
//!
//! Evidence that is present and invalid denies; it never falls back to weaker evidence. What is missing is denied.
//! Identity providers and edges (JWT, bearer token) become further fields of [`Evidence`] and further arms of
//! [`decide`]; nothing else decides.

mod decision;
mod evidence;
mod principal;

pub(crate) use decision::{Denial, DenialReason, decide};
#[cfg(test)]
pub(crate) use evidence::ClientCertificate;
pub(crate) use evidence::{Evidence, fingerprint};
pub(crate) use principal::Principal;
