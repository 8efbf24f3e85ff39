//! `gateway add --remote`: what `portcullis` on another machine knows of its active gateway, or else `kubectl` there of the
//! only Gateway of its cluster.

use k8s_openapi::api::core::v1::{Secret, Service};
use portcullis_api::Gateway;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::candidate::Candidate;
use super::kube;
use crate::cluster::{self, Found};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Add;
use crate::portable;
use crate::remote::{Ended, Remote};

/// What a shell ends with where there is no such command.
const NO_COMMAND: i32 = 127;

pub(super) async fn read(context: &Context, add: &Add, remote: &Remote) -> Result<Candidate, Failure> {
    let step = context.say.step(format!("asking {remote} by ssh"));
    // For this once: what is sealed with it is opened here at once.
    let passphrase = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let export = "portcullis --quiet gateway export - --passphrase-file -";
    let ended = match remote.run(export, format!("{passphrase}\n").as_bytes()).await? {
        Ok(sealed) => {
            let portable = portable::open(&sealed, passphrase)?;
            step.done_as(&format!("{remote} knows the gateway {}", portable.name));
            return Ok(Candidate::portable(add, portable));
        }
        Err(ended) => ended,
    };
    if ended.code != Some(NO_COMMAND) && ended.code != Some(Exit::NotFound.code().into()) {
        return Err(said(remote, "portcullis", &ended));
    }
    let (namespace, name, found) = by_kubectl(context, add, remote).await?;
    step.done_as(&format!("the Gateway {namespace}/{name}, by kubectl at {remote}"));
    kube::candidate(add, &namespace, &name, found).await
}

#[derive(Deserialize)]
struct List {
    items: Vec<Gateway>,
}

async fn by_kubectl(
    context: &Context,
    add: &Add,
    remote: &Remote,
) -> Result<(String, String, Found), Failure> {
    let scope = context.kube.namespace.as_ref();
    let scope = scope.map_or_else(|| "--all-namespaces".to_owned(), |it| format!("--namespace {it}"));
    let all: List = kubectl(remote, &format!("get gateways.portcullis.dev {scope} -o json")).await?;
    let gateway = cluster::only(&all.items, &format!("at {remote}"))?;
    let (namespace, name) = cluster::named(gateway);
    let title = format!("the Gateway {namespace}/{name}");
    // Whoever may not read it may be inside, where the endpoint is good as it is.
    let get = |what: &str, name: &str| format!("--namespace {namespace} get {what} {name} -o json");
    let service: Option<Service> = kubectl(remote, &get("service", &name)).await.ok();
    let mut found = Found::of(gateway, &title, service.as_ref())?;
    if let Some(chosen) = cluster::chosen(gateway, &title, add.client.as_deref())? {
        let secret: Secret = kubectl(remote, &get("secret", &chosen.secret_name)).await?;
        let what = format!("the Secret {namespace}/{}", chosen.secret_name);
        found.client = Some((chosen.name.clone(), cluster::bundle_in(secret, &what)?));
    }
    Ok((namespace, name, found))
}

async fn kubectl<T: DeserializeOwned>(remote: &Remote, arguments: &str) -> Result<T, Failure> {
    // Names of Kubernetes are nothing to a shell. Whoever says others shall not have one run them.
    if !arguments.chars().all(|letter| letter.is_ascii_alphanumeric() || " .-/".contains(letter)) {
        return Err(Failure::new(Exit::Failed, format!("what kubectl at {remote} says is no name")));
    }
    let printed = match remote.run(&format!("kubectl {arguments}"), b"").await? {
        Ok(printed) => printed,
        Err(Ended { code: Some(NO_COMMAND), .. }) => {
            return Err(Failure::new(
                Exit::NotFound,
                format!("{remote} has no `portcullis` that knows a gateway, and no `kubectl`"),
            )
            .hint(format!("add the gateway there first: `ssh {remote} portcullis gateway add URL`")));
        }
        Err(ended) => return Err(said(remote, "kubectl", &ended)),
    };
    serde_json::from_slice(&printed).map_err(|error| {
        Failure::new(Exit::Failed, format!("failed to read what kubectl at {remote} prints: {error}"))
    })
}

/// Why a program there came to nothing, in its own words.
fn said(remote: &Remote, program: &str, ended: &Ended) -> Failure {
    let exit =
        Exit::ALL.into_iter().map(|(exit, _)| exit).find(|it| Some(i32::from(it.code())) == ended.code);
    let words = ended.line("error: ").or_else(|| ended.said.lines().last().map(str::to_owned));
    let words = words.unwrap_or_else(|| "it said nothing".to_owned());
    let message = format!("{program} at {remote} failed: {words}");
    Failure { exit: exit.unwrap_or(Exit::Failed), message, hint: ended.line("hint: ") }
}
