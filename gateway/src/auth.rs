//! Who is asking: evidence goes in, a principal or a denial comes out. One pure decision for every way in.
//!
//! A request's tokens are found by [`carried`], believed or not by [`token`] with the keys of [`jwks`], and read by
//! [`identified`]; certificates are read by [`evidence`]. Then [`decide`] decides, and nothing else does. Evidence that is
//! present and invalid denies; it never falls back to weaker evidence. What is missing is denied. What a principal may do
//! is in its [`grant`]s.
//!
//! What must not live here: I/O. Keys are fetched by [`crate::issuer`].

mod carried;
mod claims;
mod decision;
mod evidence;
mod grant;
mod identified;
mod json;
mod jwks;
mod principal;
mod token;

pub(crate) use carried::{Carried, Text};
pub(crate) use decision::{Denial, DenialReason, decide};
pub(crate) use evidence::{Chain, ClientCertificate, Evidence, Shown, Signer, fingerprint, serial};
pub(crate) use grant::Missing;
pub(crate) use identified::{Identified, Mapping};
pub(crate) use jwks::Keys;
pub(crate) use principal::Principal;
pub(crate) use token::{Expected, Purpose, TokenFault, verify};
