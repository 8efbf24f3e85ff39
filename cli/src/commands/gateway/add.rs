//! `gateway add`: finds out how a gateway is reached, tries it, stores it.

mod candidate;
mod kube;
mod login;
mod remote;

use std::sync::Arc;

use crate::accounts::Renewing;
use crate::channel::{Access, Anonymous, Held, TokenSource};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Config, Discovered, Resolved, Rule, Verified, discover, verify};
use crate::options::Add;
use crate::portable::Tokens;
use crate::store::{Bundle, Item, Mode, Name, Place};

use candidate::Candidate;

pub(super) use login::after as after_login;

/// What came of trying it.
enum Outcome {
    /// It takes us for somebody.
    Known(Box<Verified>),
    /// It is there, and wants a login first.
    NeedsLogin,
    /// It is there, and nobody is ever known: only what is open to anybody answers.
    Anonymous,
}

pub(super) fn act(context: &Context, add: &Add) -> Result<(), Failure> {
    context.until_interrupted(async {
        let mut candidate = Candidate::read(context, add).await?;
        is_free(context, &candidate, add.replace)?;
        candidate.inherit(context)?;
        let step = context.say.step(format!("trying {}", candidate.metadata.endpoint));
        let outcome = attempt(context, &mut candidate).await?;
        step.done_as(&match &outcome {
            Outcome::Known(verified) => format!(
                "{} is the Gateway {}/{} {}, and takes you for {}",
                candidate.metadata.endpoint,
                verified.info.namespace,
                verified.info.name,
                verified.info.version,
                verified.me.user
            ),
            Outcome::NeedsLogin => format!("{} is there, and wants a login", candidate.metadata.endpoint),
            Outcome::Anonymous => format!("{} is there, and knows nobody", candidate.metadata.endpoint),
        });
        store(context, add, &candidate, &outcome)?;
        if matches!(outcome, Outcome::NeedsLogin) {
            login::next(context, add, &candidate.name).await
        } else {
            Ok(())
        }
    })
}

/// Whether the name may be taken.
fn is_free(context: &Context, candidate: &Candidate, replace: bool) -> Result<(), Failure> {
    let Some((Place::Own, stored)) = context.store.find(&candidate.name)? else { return Ok(()) };
    if replace || stored.endpoint == candidate.metadata.endpoint {
        return Ok(());
    }
    let message = format!("the name `{}` is taken by the gateway at {}", candidate.name, stored.endpoint);
    Err(Failure::new(Exit::Conflict, message).hint("give another one with --name, or --replace that one"))
}

async fn attempt(context: &Context, candidate: &mut Candidate) -> Result<Outcome, Failure> {
    let gateway = candidate.resolved()?;
    let access = access(context, candidate, &gateway)?;
    if candidate.bundle.identity.is_some() {
        let verified = verify(&gateway, &access).await?;
        // Where to log in besides. That it cannot be read is in nobody's way.
        if let Ok(Discovered::Says(config)) = discover(&gateway, &access).await {
            candidate.learn(config);
        }
        return Ok(Outcome::Known(Box::new(verified)));
    }
    match discover(&gateway, &access).await? {
        Discovered::CertificateRequired(message) => Err(Failure::new(Exit::Denied, message).hint(
            "give its bundle: --bundle FOLDER with ca.crt, tls.crt and tls.key, or --from-kube NAMESPACE/NAME",
        )),
        Discovered::Edge => {
            candidate.metadata.mode = Mode::Edge;
            known_or_login(context, candidate).await
        }
        Discovered::Says(config) => {
            let logs_in = config.oidc.is_some() || config.mode == Mode::Edge;
            candidate.learn(config);
            if logs_in { known_or_login(context, candidate).await } else { Ok(Outcome::Anonymous) }
        }
    }
}

/// Tries it with the tokens of an earlier login, where there are some.
async fn known_or_login(context: &Context, candidate: &Candidate) -> Result<Outcome, Failure> {
    let gateway = candidate.resolved()?;
    let access = access(context, candidate, &gateway)?;
    if access.tokens.bearer().await?.is_none() && access.tokens.edge().await?.is_none() {
        return Ok(Outcome::NeedsLogin);
    }
    match verify(&gateway, &access).await {
        Ok(verified) => Ok(Outcome::Known(Box::new(verified))),
        Err(failure) if failure.exit == Exit::Denied => Ok(Outcome::NeedsLogin),
        Err(failure) => Err(failure),
    }
}

fn access(context: &Context, candidate: &Candidate, gateway: &Resolved) -> Result<Access, Failure> {
    let has_tokens = candidate.tokens != Tokens::default();
    let stored = context.store.find(&candidate.name).ok().flatten();
    let tokens: Arc<dyn TokenSource> = match stored {
        _ if has_tokens => Arc::new(Held(candidate.tokens.clone())),
        // Tokens of another address are not shown at this one.
        Some((place, metadata)) if metadata.endpoint == candidate.metadata.endpoint => {
            Arc::new(Renewing::new(context, place, &candidate.name, &metadata)?)
        }
        _ => Arc::new(Anonymous),
    };
    Ok(context.shown_with(gateway, candidate.bundle.clone(), tokens))
}

fn store(context: &Context, add: &Add, candidate: &Candidate, outcome: &Outcome) -> Result<(), Failure> {
    let name = &candidate.name;
    let held = context.store.lock()?;
    let before = context.store.find(name).ok().flatten();
    if before.is_some_and(|(place, it)| place == Place::Own && it.endpoint != candidate.metadata.endpoint) {
        // What was kept for another address, its tokens above all, is not shown at this one.
        context.store.remove(&held, name)?;
    }
    context.store.update(&held, name, |metadata| candidate.write(metadata))?;
    if candidate.bundle != Bundle::default() {
        context.store.set_bundle(&held, name, &candidate.bundle)?;
    }
    for (item, token) in
        [(Item::EdgeToken, &candidate.tokens.edge), (Item::OidcToken, &candidate.tokens.oidc)]
    {
        if let Some(token) = token {
            context.store.set_item(name, item, Some(token))?;
        }
    }
    let becomes_active = !add.no_select && !matches!(outcome, Outcome::NeedsLogin);
    if becomes_active {
        context.store.set_active(&held, Some(name))?;
    }
    drop(held);
    said(context, name, outcome, becomes_active);
    Ok(())
}

fn said(context: &Context, name: &Name, outcome: &Outcome, active: bool) {
    let active = if active { " and is the active gateway" } else { "" };
    match outcome {
        Outcome::Known(_) | Outcome::Anonymous => {
            context.say.note(format!("the gateway is stored as {name}{active}"));
        }
        Outcome::NeedsLogin => context.say.note(format!("the gateway is stored as {name}")),
    }
}

impl Candidate {
    /// As if it were stored already.
    fn resolved(&self) -> Result<Resolved, Failure> {
        let endpoint = crate::gateways::endpoint(&self.metadata.endpoint)
            .map_err(|reason| Failure::new(Exit::Usage, format!("failed to read the endpoint: {reason}")))?;
        Ok(Resolved { stored: None, endpoint, metadata: self.metadata.clone(), rule: Rule::Endpoint })
    }

    fn learn(&mut self, config: Config) {
        self.metadata.mode = config.mode;
        self.metadata.oidc = config.oidc;
        self.metadata.edge = config.edge;
    }
}
