//! Gateways on their way between machines and programs: one sealed file, OpenShell's directory, older layouts.
//!
//! What must not live here: the directory itself ([`crate::store`]), and what is printed.

mod openshell;
mod sealed;

pub use openshell::{export, read_folder};
pub use sealed::{open, seal};

use crate::store::{Bundle, Metadata, Name};

/// All that is kept for a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portable {
    /// What it is called.
    pub name: Name,
    /// What is known of it.
    pub metadata: Metadata,
    /// Its certificates.
    pub bundle: Bundle,
    /// Tokens of whoever is logged in, where they go along.
    pub tokens: Tokens,
}

/// Tokens as they are stored. They are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The edge's.
    pub edge: Option<Vec<u8>>,
    /// The provider's.
    pub oidc: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("edge", &self.edge.is_some())
            .field("oidc", &self.oidc.is_some())
            .finish()
    }
}
