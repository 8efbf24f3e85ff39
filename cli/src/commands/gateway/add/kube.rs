//! `gateway add --from-kube`: endpoint and bundle out of the cluster.

use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::candidate::{Candidate, written};
use crate::cluster::{self, Found};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::line;
use crate::options::Add;
use crate::portable::Tokens;
use crate::store::{Metadata, Name};

/// How long an address may take to answer before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn read(
    context: &Context,
    add: &Add,
    namespace: Option<&str>,
    gateway: &str,
) -> Result<Candidate, Failure> {
    let step = context.say.step(format!("reading the Gateway {gateway} from the cluster"));
    let read = async {
        let (client, usual) = cluster::connect(&context.kube).await?;
        let namespace = namespace.map_or(usual, str::to_owned);
        let found = cluster::find(&client, &namespace, gateway, add.client.as_deref()).await?;
        Ok::<_, Failure>((namespace, found))
    };
    let (namespace, found) = tokio::time::timeout(context.say.timeout(), read).await.map_err(|_| {
        Failure::new(Exit::TimedOut, "the cluster did not answer in time")
            .hint("`kubectl cluster-info` asks it; --timeout gives it longer")
    })??;
    step.done_as(&match &found.client {
        Some((client, _)) => {
            format!("the Gateway {namespace}/{gateway}, and the bundle of its client {client}")
        }
        None => format!("the Gateway {namespace}/{gateway}, of mode {}", found.mode.as_str()),
    });
    candidate(add, &namespace, gateway, found).await
}

/// The only Gateway that there is.
pub(super) async fn only(context: &Context, add: &Add) -> Result<Candidate, Failure> {
    let look = async {
        let (client, _) = cluster::connect(&context.kube).await?;
        let all = cluster::list(&client, context.kube.namespace.as_deref()).await?;
        Ok::<_, Failure>(cluster::named(cluster::only(&all, "in this cluster")?))
    };
    let looked = tokio::time::timeout(context.say.timeout(), look).await;
    let (namespace, name) = looked.map_err(|_| {
        Failure::new(Exit::TimedOut, "the cluster did not answer in time")
            .hint("`kubectl cluster-info` asks it; --timeout gives it longer")
    })??;
    read(context, add, Some(&namespace), &name).await
}

/// What is made of it.
pub(super) async fn candidate(
    add: &Add,
    namespace: &str,
    gateway: &str,
    found: Found,
) -> Result<Candidate, Failure> {
    let name = add.name.clone().or_else(|| Name::near(&format!("{namespace}-{gateway}")));
    let name = name.ok_or_else(|| {
        Failure::new(Exit::Usage, "no name can be made of the Gateway's").hint("give one with --name")
    })?;
    let at = match &add.url {
        Some(url) => url.clone(),
        None => reachable(&found).await?,
    };
    let own = found.endpoint.host().map(str::to_owned);
    let metadata = Metadata {
        endpoint: written(&at),
        mode: found.mode,
        server_name: own.filter(|own| Some(own.as_str()) != at.host()),
        ..Metadata::default()
    };
    Ok(Candidate {
        name,
        metadata,
        bundle: found.client.map(|(_, bundle)| bundle).unwrap_or_default(),
        tokens: Tokens::default(),
    })
}

/// The first of its addresses that something answers at: names of a cluster mean nothing outside of it.
async fn reachable(found: &Found) -> Result<Uri, Failure> {
    let proxies = Matcher::from_env();
    let mut tried = Vec::new();
    for address in std::iter::once(&found.endpoint).chain(&found.others) {
        let reason = match tokio::time::timeout(PATIENCE, line::reach(address, &proxies)).await {
            Ok(Ok(_)) => return Ok(address.clone()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{address} does not answer"),
        };
        tried.push(reason);
    }
    let (_, port) = line::address(&found.endpoint);
    Err(Failure::new(Exit::Unreachable, format!("no address of the Gateway is reachable from here: {}", tried.join("; ")))
        .hint(format!(
            "forward its port (`kubectl port-forward service/NAME 8443:{port}`) and give the URL too: `portcullis gateway add https://127.0.0.1:8443 --from-kube …`"
        )))
}
