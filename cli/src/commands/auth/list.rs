//! `auth list`: reads, and nothing else.

use serde::Serialize;

use super::when;
use crate::accounts::Accounts;
use crate::context::Context;
use crate::failure::Failure;
use crate::login::{self, Tokens};
use crate::say::{Column, Row, Table};
use crate::store::Entry;
use portcullis_protocol::clock;

const COLUMNS: &[Column] = &[
    Column::new("ACTIVE"),
    Column::new("GATEWAY"),
    Column::new("ACCOUNT"),
    Column::new("LOGIN"),
    Column::new("TOKEN ENDS"),
    Column::wide("PROVIDER"),
    Column::wide("SCOPES"),
];

/// Somebody at a gateway, for programs.
#[derive(Serialize)]
struct Listed {
    gateway: String,
    account: String,
    active: bool,
    /// `edge`, `oidc` or `machine`.
    login: &'static str,
    issuer: String,
    scopes: Vec<String>,
    expires_at: Option<i64>,
    renewed: bool,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let mut listed = Vec::new();
    for entry in context.store.entries()? {
        // What cannot be read is in no other gateway's way.
        match at(context, &entry) {
            Ok(all) => listed.extend(all),
            Err(failure) => context.say.warn(failure.message),
        }
    }
    if listed.is_empty() {
        context.say.note("nobody is logged in: run `portcullis gateway login`");
        if !context.say.output().is_structured() {
            return Ok(());
        }
    }
    let now = clock::now();
    let rows = listed.iter().map(|it| row(it, now)).collect();
    context.say.list(&listed, &Table { columns: COLUMNS, rows })
}

fn at(context: &Context, entry: &Entry) -> Result<Vec<Listed>, Failure> {
    let gateway = entry.name.to_string();
    let accounts = Accounts::of(&context.store, entry.place, &entry.name);
    let kept = accounts.read()?;
    let of = |tokens: &Tokens, active: bool, login: &'static str| Listed {
        gateway: gateway.clone(),
        account: tokens.name().to_owned(),
        active,
        login,
        issuer: tokens.issuer.clone(),
        scopes: tokens.scopes.clone(),
        expires_at: tokens.expires_at,
        renewed: tokens.refresh_token.is_some(),
    };
    let mut listed: Vec<_> = kept.active.iter().map(|it| of(it, true, "oidc")).collect();
    listed.extend(kept.others.iter().map(|it| of(it, false, "oidc")));
    listed.extend(kept.machines.iter().map(|it| of(it, false, "machine")));
    if let Some(token) = accounts.edge()? {
        let who = login::peek(&token).unwrap_or_default();
        listed.push(Listed {
            gateway: gateway.clone(),
            account: if who.account.is_empty() { "somebody".to_owned() } else { who.account },
            active: true,
            login: "edge",
            issuer: who.issuer,
            scopes: Vec::new(),
            expires_at: who.ends,
            renewed: false,
        });
    }
    Ok(listed)
}

fn row(listed: &Listed, now: i64) -> Row {
    let end =
        if listed.renewed { "renewed by itself".to_owned() } else { when::in_words(listed.expires_at, now) };
    Row {
        name: listed.account.clone(),
        cells: vec![
            if listed.active { "*" } else { "" }.to_owned(),
            listed.gateway.clone(),
            listed.account.clone(),
            listed.login.to_owned(),
            end,
            listed.issuer.clone(),
            listed.scopes.join(" "),
        ],
    }
}
