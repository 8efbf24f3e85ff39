//! Logging in: how the command gets tokens from an OpenID provider or an identity-aware edge, shows them, renews them and
//! gives them back.
//!
//! What must not live here: where tokens are kept (a [`Keeper`] does that), how they are shown to a gateway, what is
//! printed ([`Word`]s are handed to whoever prints).

mod browser;
mod callback;
mod code;
mod device;
mod discover;
mod edge;
mod error;
mod grant;
mod identity;
mod logout;
mod machine;
mod page;
mod secret;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod way;
mod web;
mod word;

pub use discover::{Offer, Oidc, Provider, offer, provider};
pub use edge::connect;
pub use error::{Error, Kind};
pub use identity::peek;
pub use logout::{Left, logout};
pub use machine::Machine;
pub use secret::Secret;
pub use session::{Keeper, Session};
pub use tokens::Tokens;
pub use way::{Ask, Means, choose, login};
pub use web::{Web, skew_in_words};
pub use word::{Show, Word};
