//! The control channel: snapshots in, reports out. The replica dials the operator, and with the operator away it goes
//! on with its last snapshot. What callers of the API ask of the operator goes this way too.
//!
//! What must not live here: what a snapshot means ([`crate::config`]).

mod backoff;
mod calls;
mod dial;
mod file;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;

pub(crate) use calls::{Calls, Pending};
pub(crate) use file::watch as watch_file;

use backoff::Backoff;
use dial::Operator;
use session::Ended;

use crate::shared::Shared;

/// Stays attached to the operator until the replica stops.
pub(crate) async fn attach(endpoint: Uri, tls_dir: PathBuf, shared: Arc<Shared>) {
    let stop = shared.lifeline.stop.clone();
    let attached = async {
        let operator = Operator::new(&endpoint, tls_dir);
        let mut backoff = Backoff::default();
        let mut leader = None;
        loop {
            let ended = session::run(&operator, leader.take().as_ref(), &shared).await;
            shared.metrics.control_connected.set(0);
            match ended {
                Ended::Redirected(to) => {
                    tracing::info!(leader = %to, "the operator leads elsewhere");
                    leader = Some(to);
                    backoff.wait_short().await;
                }
                Ended::Detached(error) => {
                    tracing::warn!(%error, "the control channel ended; the last snapshot is served");
                    backoff.reset();
                    backoff.wait().await;
                }
                Ended::Unreachable(error) => {
                    tracing::warn!(%error, "failed to attach to the operator");
                    backoff.wait().await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = attached => {}
    }
}
