//! Logs somebody in at a gateway: asks it how, goes that way, keeps what comes of it.

use std::env;

use super::kept::Accounts;
use super::{remember, show, trust};
use crate::clock::Clock;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::login::{self, Means, Offer, Tokens, Web};
use crate::store::{Mode, Name, Place};

/// How a login is wished for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Asked for, now and later; none of them: what the gateway says.
    pub scopes: Option<Vec<String>>,
    /// Without a browser on this machine.
    pub no_browser: bool,
    /// The provider's CA, PEM.
    pub ca: Option<String>,
    /// At the OpenID provider, also where an edge is in front.
    pub oidc: bool,
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
            .hint(format!("run `portcullis gateway add {}`", endpoint(gateway)))
    })
}

/// Its URL, without a slash at the end.
pub(super) fn endpoint(gateway: &Resolved) -> String {
    gateway.endpoint.to_string().trim_end_matches('/').to_owned()
}

/// Logs somebody in.
///
/// # Errors
/// Where it comes to nothing; what was kept before is kept still.
pub async fn enter(context: &Context, gateway: &Resolved, wish: &Wish) -> Result<Entered, Failure> {
    let (place, name) = stored(gateway)?;
    let accounts = Accounts::of(&context.store, place, name);
    let web = Web::new(context.access(gateway)?.tls()?, Some(gateway.server_name()), Clock::default())?;
    let url = endpoint(gateway);
    let offer = login::offer(&web, &url).await?;
    let means = login::choose(wish.no_browser, &|name| env::var(name).ok())?;
    let is_edge = offer.mode == Mode::Edge.as_str();
    if is_edge && !wish.oidc && !matches!(means, Means::Machine(_)) {
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
    offer: &Offer,
    means: &Means,
    accounts: &Accounts,
) -> Result<Entered, Failure> {
    let offered =
        offer.oidc.as_ref().ok_or_else(|| login::Error::NoProvider { endpoint: endpoint(gateway) })?;
    let before = gateway.metadata.oidc.as_ref();
    let oidc = remember::merged(before, offered, wish.scopes.as_deref(), wish.ca.as_deref());
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
    remember::entered(context, gateway, &oidc)?;
    Ok(Entered { tokens, edge: false })
}
