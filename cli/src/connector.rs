//! The connector: dials a gateway, says which tunnels it would serve, and then serves HTTP/2 on that connection, each
//! request of which goes to an endpoint that it was allowed to forward to.
//!
//! What must not live here: arguments and output ([`crate::options`], `main.rs`); what both sides say to each other
//! (`portcullis-protocol`).

mod answer;
mod body;
mod counts;
pub(crate) mod credentials;
mod dial;
mod endpoint_tls;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod links;
mod news;
mod ports;
mod raw;
mod serve;
mod services;
mod settings;
mod upstream;
mod watched;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use credentials::Credentials;
pub use endpoint_tls::EndpointTls;
pub use follow::follow;
pub use news::{News, Teller, Visit};
pub use ports::Ports;
pub(crate) use settings::id;
pub use settings::{Error, Settings, Told};
pub use watched::Watched;

/// Connections that are kept, to as many replicas.
const CONNECTIONS: usize = 2;

/// Serves until stopped, with the same from beginning to end; what is in flight then may finish.
///
/// # Errors
/// Where it can be said at once that nothing will come of it.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    let (_no, changes) = mpsc::channel(1);
    follow(settings, Ports::default(), changes, stop).await
}
