//! The connector: dials a gateway, says which tunnels it would serve, and then serves HTTP/2 on that connection, each
//! request of which goes to an endpoint that it was allowed to forward to.
//!
//! What must not live here: arguments and output ([`crate::options`], `main.rs`); what both sides say to each other
//! (`portcullis-protocol`).

mod answer;
mod body;
pub(crate) mod credentials;
mod dial;
mod endpoint_tls;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod links;
mod news;
mod raw;
mod serve;
mod services;
mod settings;
mod upstream;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use credentials::Credentials;
pub use endpoint_tls::EndpointTls;
pub use news::{News, Teller, Visit};
pub(crate) use settings::id;
pub use settings::{Error, Settings};

use links::Links;
use services::Services;

/// Connections that are kept, to as many replicas.
const CONNECTIONS: usize = 2;

/// Serves until stopped; what is in flight then may finish.
///
/// # Errors
/// Where it can be said at once that nothing will come of it: an address that cannot be listened on.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    let settings = Arc::new(settings);
    let services = Arc::new(Services::new(&settings));
    // Whoever drops this future ends all that it has begun.
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    let stop = stop.child_token();
    let _stop = stop.clone().drop_guard();
    let links = Arc::new(Links::new(Arc::clone(&settings), services, cut));
    let tasks = TaskTracker::new();
    if let Some(address) = settings.health_listen {
        let listener = health::bind(address).await?;
        tasks.spawn(health::serve(listener, links.connected(), stop.clone()));
    }
    tracing::info!(gateway = %settings.gateway, connector = %settings.id, "connecting");
    for _ in 0..CONNECTIONS {
        tasks.spawn(Arc::clone(&links).keep(stop.clone()));
    }
    tasks.close();
    stop.cancelled().await;
    tracing::info!("stopping: requests in flight may finish");
    tasks.wait().await;
    links.finish(settings.drain).await;
    Ok(())
}
