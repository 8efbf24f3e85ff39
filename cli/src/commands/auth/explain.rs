//! `auth explain [METHOD]`: which rule lets one call which method, in the gateway's own words.

use serde::Serialize;

use super::status::who_am_i;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Explain;
use crate::say::{Column, Row, Table};

const COLUMNS: &[Column] =
    &[Column::new("METHOD"), Column::new("ALLOWED"), Column::new("MISSING"), Column::wide("RULE")];

/// A method, for programs.
#[derive(Serialize)]
struct Explained {
    method: String,
    allowed: bool,
    rule: String,
    missing: String,
}

pub(super) fn act(context: &Context, explain: &Explain) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let who = context.wait(who_am_i(context, &gateway))?;
    let wanted = explain.method.as_deref().unwrap_or_default().to_lowercase();
    let methods: Vec<_> = who
        .methods
        .into_iter()
        .filter(|it| it.method.to_lowercase().contains(&wanted))
        .map(|it| Explained { method: it.method, allowed: it.allowed, rule: it.rule, missing: it.missing })
        .collect();
    if methods.is_empty() {
        let message = format!("the gateway {} has no method with `{wanted}` in its name", gateway.title());
        return Err(Failure::new(Exit::NotFound, message).hint("without a name, `auth explain` lists all"));
    }
    let roles = if who.roles.is_empty() { "no role".to_owned() } else { who.roles.join(", ") };
    context.say.note(format!("{} takes you for {} ({}), with {roles}", gateway.title(), who.user, who.proof));
    // One method is explained whole.
    if let [one] = methods.as_slice() {
        let facts = [
            ("Method", one.method.clone()),
            ("Allowed", if one.allowed { "yes" } else { "no" }.to_owned()),
            ("Rule", one.rule.clone()),
            ("Missing", one.missing.clone()),
        ];
        return context.say.one(&one.method, one, &facts);
    }
    let rows = methods.iter().map(row).collect();
    context.say.list(&methods, &Table { columns: COLUMNS, rows })
}

fn row(explained: &Explained) -> Row {
    let allowed = if explained.allowed { "yes" } else { "no" };
    let cells = [&explained.method, allowed, &explained.missing, &explained.rule];
    Row { name: explained.method.clone(), cells: cells.into_iter().map(|it| (*it).to_owned()).collect() }
}
