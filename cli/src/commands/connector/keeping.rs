//! `connector`: what it shows is renewed through the gateway itself, where that lets it and its files may be written. Whoever
//! follows the files takes up what is new.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::clock;
use tokio::sync::Mutex;

use super::{Read, read};
use crate::channel::{Access, Anonymous, Channel};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Resolved, Rule, certificate};
use crate::options::Connector;
use crate::renewal::{self, Did, Files};
use crate::store::Metadata;

/// How often it is looked whether something is to be renewed.
const LOOK: Duration = Duration::from_secs(15);

/// Keeps what is shown good while the connector runs. `turn` is held while files are replaced.
pub(super) async fn keeping(context: &Context, given: &Connector, turn: &Mutex<()>) -> Infallible {
    let mut files = Files::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let _held = turn.lock().await;
        // What it is told may be another by now; what is wrong with that, whoever follows the files says.
        let Ok(Read { told, stored, .. }) = read(context, given).await else { continue };
        let kept = match (&stored, &told.credentials) {
            (Some(gateway), _) => keep_stored(context, gateway).await,
            (None, Some(folder)) => {
                let metadata = Metadata {
                    endpoint: told.gateway.to_string(),
                    server_name: told.server_name.clone(),
                    ..Metadata::default()
                };
                let gateway =
                    Resolved { stored: None, endpoint: told.gateway.clone(), metadata, rule: Rule::Endpoint };
                keep_files(context, &mut files, folder, &gateway).await
            }
            (None, None) => Ok(Did::Nothing),
        };
        match kept {
            Ok(Did::Nothing) => {}
            Ok(Did::Renewed(renewed)) => {
                let end = certificate::shown(renewed.ends);
                tracing::info!(serial = renewed.serial, %end, "the client certificate is renewed");
            }
            Ok(Did::Trusts) => tracing::info!("the gateway's roots are others now: they are stored"),
            Err(failure) => tracing::warn!(
                error = %failure,
                "the client certificate comes to its end and is not renewed: put a new bundle in its place, it is taken up at once"
            ),
        }
    }
}

async fn keep_files(
    context: &Context,
    files: &mut Files,
    folder: &Path,
    gateway: &Resolved,
) -> Result<Did, Failure> {
    let timeout = context.say.timeout();
    files.keep(folder, gateway, |bundle| Access::new(bundle, Arc::new(Anonymous), false, timeout)).await
}

/// As any other command that calls the gateway does.
async fn keep_stored(context: &Context, gateway: &Resolved) -> Result<Did, Failure> {
    let access = context.quiet_access(gateway)?;
    let Some((name, life)) = renewal::wanted(context, gateway, &access) else { return Ok(Did::Nothing) };
    let store = &context.store;
    store.set_item(name, crate::store::Item::Renewal, Some(clock::now().to_string().as_bytes()))?;
    let asked = async {
        let channel = Channel::open(gateway, &access).await?;
        if life.is_some_and(|life| life.is_due(clock::now())) {
            return Ok(Did::Renewed(renewal::renew(store, name, &channel, &access.bundle).await?));
        }
        let others = renewal::trust(store, name, &channel, &access.bundle).await?;
        Ok(if others { Did::Trusts } else { Did::Nothing })
    };
    match tokio::time::timeout(context.say.timeout(), asked).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new(Exit::TimedOut, "the gateway does not answer in time")),
    }
}
