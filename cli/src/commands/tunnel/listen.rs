//! `tunnel listen`: from an endpoint to a URL that answers.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use portcullis_contract::endpoint::Scheme;
use tokio::sync::mpsc;

use super::narrate::Narrator;
use super::{Asked, project};
use crate::connector::{self, Credentials, EndpointTls, Settings, Teller};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{Listen, Protocol};
use crate::shutdown;
use crate::store::Mode;
use crate::tunnel::{Door, Ended, Event, Last, Listening, Wanted, access, endpoint};

/// How long requests in flight may take when it is stopped.
const DRAIN: Duration = Duration::from_secs(20);
/// Events that wait to be printed.
const WAITING: usize = 256;

pub(super) fn act(context: &Context, listen: Listen) -> Result<(), Failure> {
    let otherwise = if listen.protocol == Protocol::Tls { Scheme::Tcp } else { Scheme::Http };
    let written = endpoint(&listen.endpoint, otherwise);
    let written = written.map_err(|reason| Failure::new(Exit::Usage, reason))?.to_string();
    context.wait(async {
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
        let (ended, narrated) = tokio::join!(running, narrated);
        ended.and(narrated)
    })
}
