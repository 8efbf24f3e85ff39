//! `auth status`: who is logged in, and whom the gateway takes that for.

use std::env;

use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{WhoAmIRequest, WhoAmIResponse};
use serde::Serialize;

use super::when;
use crate::accounts::Accounts;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::login::{self, Machine, Tokens};
use portcullis_protocol::clock;

/// Who is logged in, for programs.
#[derive(Serialize)]
struct Status {
    gateway: String,
    account: Option<String>,
    issuer: Option<String>,
    scopes: Vec<String>,
    expires_at: Option<i64>,
    renewed: bool,
    login: Way,
    /// What the gateway makes of it; none where it does not say.
    taken_for: Option<TakenFor>,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Edge,
    Oidc,
    Machine,
    Certificate,
    None,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "at the edge",
            Self::Oidc => "at the OpenID provider",
            Self::Machine => "as a machine (PORTCULLIS_CLIENT_ID)",
            Self::Certificate => "with a client certificate",
            Self::None => "not at all",
        }
    }
}

#[derive(Serialize)]
struct TakenFor {
    user: String,
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
    proof: String,
    expires_at: Option<i64>,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let mut status = stored(context, &gateway)?;
    let asked = context.wait(who_am_i(context, &gateway));
    let mut failed = None;
    match asked {
        Ok(who) => status.taken_for = Some(taken_for(who)),
        Err(failure) => failed = Some(failure),
    }
    let nobody = status.login == Way::None;
    print(context, &status, failed.as_ref())?;
    match failed {
        Some(failure) if nobody && failure.exit == Exit::Denied => {
            let message = format!("nobody is logged in at {}", gateway.title());
            Err(Failure::new(Exit::Denied, message).hint("run `portcullis gateway login`"))
        }
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Asks the gateway who it takes the caller for.
pub(super) async fn who_am_i(context: &Context, gateway: &Resolved) -> Result<WhoAmIResponse, Failure> {
    let channel = context.channel(gateway).await?;
    let mut client = GatewayClient::new(channel.service());
    channel.call("ask who you are", client.who_am_i(WhoAmIRequest {})).await
}

/// What is kept here.
fn stored(context: &Context, gateway: &Resolved) -> Result<Status, Failure> {
    let mut status = Status {
        gateway: gateway.title(),
        account: None,
        issuer: None,
        scopes: Vec::new(),
        expires_at: None,
        renewed: false,
        login: Way::None,
        taken_for: None,
    };
    let Some((place, name)) = &gateway.stored else { return Ok(status) };
    let accounts = Accounts::of(&context.store, *place, name);
    let bundle = context.store.bundle(*place, name)?;
    if bundle.is_some_and(|it| it.identity.is_some()) {
        status.login = Way::Certificate;
    }
    if let Some(token) = accounts.edge()? {
        let who = login::peek(&token).unwrap_or_default();
        status.account = Some(who.account);
        status.issuer = Some(who.issuer);
        status.expires_at = who.ends;
        status.login = Way::Edge;
    }
    let machine = Machine::find(&|name| env::var(name).ok())?;
    let kept = accounts.read()?;
    let tokens = match &machine {
        Some(machine) => kept.machine(&machine.client_id).cloned(),
        None => kept.active,
    };
    if let Some(tokens) = tokens {
        status.account = Some(tokens.name().to_owned());
        status.renewed = tokens.refresh_token.is_some() || machine.is_some();
        status.login = if machine.is_some() { Way::Machine } else { Way::Oidc };
        let Tokens { issuer, scopes, expires_at, .. } = tokens;
        (status.issuer, status.scopes, status.expires_at) = (Some(issuer), scopes, expires_at);
    } else if let Some(machine) = machine {
        status.account = Some(machine.client_id);
        status.renewed = true;
        status.login = Way::Machine;
    }
    Ok(status)
}

fn taken_for(who: WhoAmIResponse) -> TakenFor {
    TakenFor {
        user: who.user,
        roles: who.roles,
        scopes: who.scopes_enforced.then_some(who.scopes),
        proof: who.proof,
        expires_at: (who.expires_at > 0).then_some(who.expires_at),
    }
}

fn print(context: &Context, status: &Status, failed: Option<&Failure>) -> Result<(), Failure> {
    let now = clock::now();
    let end = || match (status.renewed, when::in_words(status.expires_at, now)) {
        (true, _) if status.expires_at.is_some_and(|end| end <= now) => "the next call renews it".to_owned(),
        (true, end) => format!("{end}, and is renewed by itself"),
        (false, end) => end,
    };
    let said = |of: fn(&TakenFor) -> String| status.taken_for.as_ref().map(of).unwrap_or_default();
    let facts = [
        ("Gateway", status.gateway.clone()),
        ("Logged in", status.login.as_str().to_owned()),
        ("Account", status.account.clone().unwrap_or_default()),
        ("Provider", status.issuer.clone().unwrap_or_default()),
        ("Scopes", status.scopes.join(" ")),
        ("Ends", if status.account.is_some() { end() } else { String::new() }),
        ("Taken for", said(|it| it.user.clone())),
        ("Proved by", said(|it| it.proof.clone())),
        ("Roles", said(|it| it.roles.join(" "))),
        (
            "Counted scopes",
            said(|it| match &it.scopes {
                Some(scopes) if scopes.is_empty() => "none".to_owned(),
                Some(scopes) => scopes.join(" "),
                None => "not looked at".to_owned(),
            }),
        ),
        ("The gateway says", failed.map(|it| it.message.clone()).unwrap_or_default()),
    ];
    context.say.one(status.account.as_deref().unwrap_or("nobody"), status, &facts)
}
