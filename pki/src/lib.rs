//! Certificates: what an authority and a leaf of ours say, and when one is issued anew.
//!
//! Pure: the clock, randomness and stored keys are arguments. No `kube`, no runtime, no file, no
//! socket and no wall clock may live here; where keys are kept and who may read them is the
//! operator's affair.
//!
//! ```text
//! profile ─► issue_authority ─► Authority ─► issue_leaf ─► Leaf ─► (stored by the operator)
//!                                                                   │
//!            reissue_reason ◄─ LeafFacts | Unusable ◄─ read_leaf ◄──┘
//! ```
//!
//! Where the key is somebody else's, a request takes its place: `read_request ─► SigningRequest ─► issue_certificate`.

mod authority;
mod authority_request;
mod brought;
mod error;
#[cfg(test)]
mod examples;
mod key_algorithm;
mod leaf;
mod mint;
mod name_constraints;
mod names;
mod pem;
mod policy;
mod private_key;
mod profile;
mod request;
mod unusable;
mod validity;

pub use authority::{Authority, AuthorityFacts, issue_authority, read_authority};
pub use authority_request::{AuthorityRequest, request_authority};
pub use brought::{Above, read_brought, read_roots};
pub use error::Error;
pub use key_algorithm::KeyAlgorithm;
pub use leaf::{Certificate, Leaf, LeafFacts, issue_certificate, issue_leaf, read_certificate, read_leaf};
pub use mint::{Mint, RandomMint};
pub use name_constraints::NameConstraints;
pub use policy::{Reissue, reissue_reason, renewal_time};
pub use private_key::PrivateKey;
pub use profile::{AuthorityProfile, LeafProfile, Usage};
pub use request::{BadRequest, SigningRequest, read_request};
pub use unusable::Unusable;
pub use validity::BACKDATE;
