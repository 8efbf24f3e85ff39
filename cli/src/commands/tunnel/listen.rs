//! `tunnel listen`: from an endpoint to a URL that answers.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use portcullis_contract::endpoint::Scheme;
use tokio::sync::mpsc;

use super::narrate::Narrator;
use super::{Asked, detach, project};
use crate::background::{Process, Spot, key};
use crate::connector::{self, Credentials, EndpointTls, Settings, Teller};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::options::{Listen, Protocol, Wanting};
use crate::renewal;
use crate::shutdown;
use crate::store::Mode;
use crate::tunnel::{Door, Ended, Event, Last, Listening, Wanted, access, endpoint};

/// How long requests in flight may take when it is stopped.
const DRAIN: Duration = Duration::from_secs(20);
/// How often it is looked whether something stored is to be renewed.
const LOOK: Duration = Duration::from_secs(20);
/// Events that wait to be printed.
const WAITING: usize = 256;

/// The endpoint, as the Tunnel has it.
pub(super) fn written(wanting: &Wanting) -> Result<String, Failure> {
    let otherwise = if wanting.protocol == Protocol::Tls { Scheme::Tcp } else { Scheme::Http };
    let written = endpoint(&wanting.endpoint, otherwise);
    Ok(written.map_err(|reason| Failure::new(Exit::Usage, reason))?.to_string())
}

pub(super) fn act(context: &Context, listen: Listen) -> Result<(), Failure> {
    let written = written(&listen.wanting)?;
    let background = if listen.detach || listen.detached {
        let gateway = context.gateway()?;
        let what = listen.wanting.name.as_deref().unwrap_or(&written);
        let spot = Spot::make(key(&gateway.title(), what))?;
        let (gateway, log) = (gateway.endpoint.to_string(), spot.log());
        Some((
            spot,
            Process {
                pid: std::process::id(),
                gateway,
                log,
                endpoint: written.clone(),
                ..Process::default()
            },
        ))
    } else {
        None
    };
    match background {
        Some((spot, _)) if listen.detach => context.wait(detach::act(context, &spot)),
        background => context.wait(until_stopped(context, listen.wanting, written, background)),
    }
}

/// This process's own spot, where it is in the background. It has no terminal then.
async fn settle(spot: &Spot, process: &Process) -> Result<File, Failure> {
    // Fails only where it leads a session already.
    let _ = rustix::process::setsid();
    let Some(held) = spot.hold().await? else {
        return Err(Failure::new(Exit::Conflict, "another process listens for the same already"));
    };
    spot.tell(process)?;
    Ok(held)
}

async fn until_stopped(
    context: &Context,
    listen: Wanting,
    written: String,
    mut background: Option<(Spot, Process)>,
) -> Result<(), Failure> {
    {
        // Held until the end.
        let _held = match &background {
            Some((spot, process)) => Some(settle(spot, process).await?),
            None => None,
        };
        let stop = shutdown::twice()
            .map_err(|error| Failure::new(Exit::Failed, format!("failed to listen for signals: {error}")))?;
        let Asked { gateway, channel, api } = Asked::open(context).await?;
        let mut last = Last::read(&context.store, &gateway)?;
        last.identify(&gateway);
        let shown = context.access(&gateway)?;
        let wanted = Wanted {
            project: project(context, &gateway, &listen.within),
            name: listen.name,
            endpoint: written,
            connector: last.connector.clone(),
            label: listen.names.label,
            hostnames: listen.names.hostnames,
            protocol: listen.protocol.as_str().to_owned(),
            access: access(listen.visitors),
        };
        let settings = Settings {
            gateway: gateway.endpoint.clone(),
            server_name: gateway.metadata.server_name.clone(),
            id: connector::id(),
            credentials: Credentials::Stored(Box::new((gateway.clone(), shown.clone()))),
            offers: Vec::new(),
            endpoint_tls: EndpointTls::new(None),
            websocket: gateway.metadata.mode != Mode::MutualTLS,
            proxies: Arc::new(Matcher::from_env()),
            drain: DRAIN,
            teller: Teller::default(),
        };
        let (tell, mut told) = mpsc::channel(WAITING);
        let listening = Listening { api, wanted, door: Door::of(&gateway, &shown), tell };
        let mut narrator = Narrator::new(&context.say);
        let narrated = async {
            while let Some(event) = told.recv().await {
                if let Event::Tunnel { project, name, .. } = &event {
                    (last.project, last.name) = (project.clone(), name.clone());
                    if let Err(failure) = last.write(&context.store, &gateway) {
                        context.say.warn(failure.to_string());
                    }
                }
                if let Some((spot, process)) = &mut background {
                    match &event {
                        Event::Tunnel { project, name, .. } => {
                            (process.project, process.name) = (project.clone(), name.clone());
                        }
                        Event::Url { url, .. } => process.url.clone_from(url),
                        _ => {}
                    }
                    if matches!(event, Event::Tunnel { .. } | Event::Url { .. }) {
                        spot.tell(process)?;
                    }
                }
                narrator.tell(&event)?;
            }
            Ok::<(), Failure>(())
        };
        let running = async {
            let ended = listening.run(settings, stop).await;
            ended.map_err(|ended| match ended {
                Ended::Said(status) => channel.failed("listen", &status),
                Ended::Refused(message) if message.contains("spec.access.auth") => {
                    Failure::new(Exit::Conflict, message).hint("`--public` opens it to everybody")
                }
                Ended::Refused(message) => Failure::new(Exit::Conflict, message),
                Ended::Deleted(_) => Failure::new(Exit::NotFound, ended.to_string()),
                Ended::Connector(error) => Failure::new(Exit::Failed, crate::failure::chain(&error)),
            })
        };
        let listened = async { tokio::join!(running, narrated) };
        // It may go on for longer than what was shown at its beginning holds.
        let (ended, narrated) = tokio::select! {
            both = listened => both,
            never = keeping(context, &gateway) => match never {},
        };
        ended.and(narrated)
    }
}

/// Keeps what is stored for the gateway good while somebody listens.
async fn keeping(context: &Context, gateway: &Resolved) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        match context.quiet_access(gateway) {
            Ok(access) if renewal::wanted(context, gateway, &access).is_some() => {
                context.keep(gateway, &access).await;
            }
            Ok(_) => {}
            Err(failure) => context.say.detail(failure.to_string()),
        }
    }
}
