//! Logs somebody in at a gateway: asks it how, goes that way, keeps what comes of it.

use std::env;

use super::kept::Accounts;
use super::{remember, show, trust};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Config, Discovered, Resolved, discover};
use crate::login::{self, Means, Tokens, Web};
use crate::store::{Mode, Name, Oidc, Place};
use portcullis_protocol::clock::Clock;

/// Where somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The identity-aware edge.
    Edge,
    /// The OpenID provider.
    Provider,
}

/// How a login is wished for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Asked for, now and later; none of them: what the gateway says.
    pub scopes: Option<Vec<String>>,
    /// Without a browser on this machine.
    pub no_browser: bool,
    /// The provider's CA, PEM.
    pub ca: Option<String>,
    /// At the edge, or at the OpenID provider; where that is not said, at the edge if there is one.
    pub place: Option<At>,
    /// Whatever session the browser has there: the password is asked for.
    pub anew: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Entered {
    /// What is kept now.
    pub tokens: Tokens,
    /// Whether it is an edge's.
    pub edge: bool,
}

/// Where a gateway's tokens are kept.
///
/// # Errors
/// Where the gateway is not stored.
pub(super) fn stored(gateway: &Resolved) -> Result<(Place, &Name), Failure> {
    let stored = gateway.stored.as_ref().map(|(place, name)| (*place, name));
    stored.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("the gateway {} is not stored here", gateway.title()))
            .hint(format!("run `portcullis gateway add {}`", gateway.url()))
    })
}

/// Logs somebody in.
///
/// # Errors
/// Where it comes to nothing; what was kept before is kept still.
pub async fn enter(context: &Context, gateway: &Resolved, wish: &Wish) -> Result<Entered, Failure> {
    let (place, name) = stored(gateway)?;
    let accounts = Accounts::of(&context.store, place, name);
    let access = context.access(gateway)?;
    let offer = match discover(gateway, &access).await? {
        Discovered::Says(config) => config,
        // Nothing is read before somebody is known: an edge that lets nothing pass.
        Discovered::Edge => Config { mode: Mode::Edge, oidc: None, edge: None },
        Discovered::CertificateRequired(message) => {
            return Err(Failure::new(Exit::Denied, message).hint(
                "add the gateway again with its bundle: --bundle FOLDER, or --from-kube NAMESPACE/NAME",
            ));
        }
    };
    let web = Web::new(access.tls()?, Some(gateway.server_name()), Clock::default())?;
    let url = gateway.url();
    let means = login::choose(wish.no_browser, &|name| env::var(name).ok())?;
    let at = match wish.place {
        Some(at) => at,
        None if offer.mode != Mode::Edge || matches!(means, Means::Machine(_)) => At::Provider,
        // It may be reached past its edge, or have none.
        None if offer.oidc.is_some() && !login::is_in_front(&web, &url).await? => At::Provider,
        None => At::Edge,
    };
    if at == At::Edge {
        let open = matches!(means, Means::Browser);
        let tokens = login::connect(&web, &url, open, &show(&context.say)).await?;
        accounts.set_edge(Some(tokens.access_token.expose()))?;
        remember::edge(context, gateway, &offer)?;
        return Ok(Entered { tokens, edge: true });
    }
    by_provider(context, gateway, wish, &offer, &means, &accounts).await
}

async fn by_provider(
    context: &Context,
    gateway: &Resolved,
    wish: &Wish,
    offer: &Config,
    means: &Means,
    accounts: &Accounts,
) -> Result<Entered, Failure> {
    let offered = offer.oidc.as_ref().ok_or_else(|| login::Error::NoProvider { endpoint: gateway.url() })?;
    let before = gateway.metadata.oidc.as_ref();
    let oidc = remember::merged(before, offered, wish.scopes.as_deref(), wish.ca.as_deref());
    context.say.note(format!("the gateway {} asks for a login at {}", gateway.title(), oidc.issuer));
    warn_of_others(context, gateway, &oidc);
    let web = trust::web(remember::ca(&oidc))?;
    let mut ask = remember::ask(&oidc);
    ask.anew |= wish.anew;
    let tokens = login::login(&web, &ask, means, &show(&context.say)).await?;
    let held = accounts.lock()?;
    let kept = tokens.clone();
    accounts.change(&held, |all| match means {
        Means::Machine(_) => all.enter_machine(kept),
        _ => all.enter(kept),
    })?;
    remember::entered(context, gateway, offer.mode, &oidc)?;
    Ok(Entered { tokens, edge: false })
}

/// Says which other gateways would take the same tokens: each of them could show at the others what it is shown.
fn warn_of_others(context: &Context, gateway: &Resolved, oidc: &Oidc) {
    let others = context.store.entries().unwrap_or_default().into_iter().filter_map(|entry| {
        let metadata = entry.metadata.ok()?;
        let theirs = metadata.oidc?;
        let same = theirs.issuer == oidc.issuer && theirs.audience == oidc.audience;
        (same && metadata.endpoint != gateway.metadata.endpoint).then(|| entry.name.to_string())
    });
    let others: Vec<_> = others.collect();
    if !others.is_empty() {
        context.say.warn(format!(
            "{} takes the same tokens as {}: log in only if you trust it as much (they have one audience, `{}`)",
            gateway.title(),
            others.join(", "),
            oidc.audience
        ));
    }
}
