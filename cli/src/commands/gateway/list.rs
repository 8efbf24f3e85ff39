//! `gateway list`: reads, and nothing else.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::Known;
use crate::say::{Column, Row, Table};
use crate::store::{Entry, Place};

const COLUMNS: &[Column] = &[
    Column::new("ACTIVE"),
    Column::new("NAME"),
    Column::new("MODE"),
    Column::new("ENDPOINT"),
    Column::wide("PROJECT"),
    Column::wide("LOGIN"),
    Column::wide("STORED"),
];

/// A gateway, for programs.
#[derive(Serialize)]
struct Listed {
    name: String,
    active: bool,
    place: Place,
    endpoint: String,
    mode: String,
    project: Option<String>,
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let known = Known::read(&context.store)?;
    let active = known.active().cloned();
    let listed: Vec<_> =
        known.entries.iter().map(|entry| listed(entry, active.as_ref() == Some(&entry.name))).collect();
    if listed.is_empty() {
        context.say.note("no gateway is known here: run `portcullis gateway add URL`, or `portcullis gateway add --from-kube NAMESPACE/NAME`");
        if !context.say.output().is_structured() {
            return Ok(());
        }
    }
    for broken in known.entries.iter().filter_map(|entry| entry.metadata.as_ref().err()) {
        context.say.warn(broken.to_string());
    }
    let rows = listed.iter().map(row).collect();
    context.say.list(&listed, &Table { columns: COLUMNS, rows })
}

fn listed(entry: &Entry, active: bool) -> Listed {
    let (metadata, broken) = match &entry.metadata {
        Ok(metadata) => (metadata.clone(), None),
        Err(error) => (crate::store::Metadata::default(), Some(error.to_string())),
    };
    Listed {
        name: entry.name.to_string(),
        active,
        place: entry.place,
        mode: if broken.is_some() { String::new() } else { metadata.mode.as_str().to_owned() },
        endpoint: metadata.endpoint,
        project: metadata.project,
        issuer: metadata.oidc.map(|oidc| oidc.issuer),
        broken,
    }
}

fn row(listed: &Listed) -> Row {
    let place = match listed.place {
        Place::Own => "own",
        Place::System => "system",
    };
    let endpoint =
        if listed.broken.is_some() { "cannot be read".to_owned() } else { listed.endpoint.clone() };
    Row {
        name: listed.name.clone(),
        cells: vec![
            if listed.active { "*" } else { "" }.to_owned(),
            listed.name.clone(),
            listed.mode.clone(),
            endpoint,
            listed.project.clone().unwrap_or_default(),
            listed.issuer.clone().unwrap_or_default(),
            place.to_owned(),
        ],
    }
}
