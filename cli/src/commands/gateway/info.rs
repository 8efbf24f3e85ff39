//! `gateway info`: what is known of a gateway, without asking it.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::Rule;
use crate::store::{Item, Place};

/// What is known, for programs.
#[derive(Serialize)]
struct Info {
    name: Option<String>,
    endpoint: String,
    mode: &'static str,
    chosen_by: Rule,
    place: Option<Place>,
    server_name: Option<String>,
    client_certificate: bool,
    ca: bool,
    issuer: Option<String>,
    scopes: Vec<String>,
    logged_in: bool,
    project: Option<String>,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let (bundle, logged_in) = match &gateway.stored {
        Some((place, name)) => {
            let has = |item| context.store.item(*place, name, item).map(|it| it.is_some());
            let logged_in = has(Item::OidcToken)? || has(Item::EdgeToken)?;
            (context.store.bundle(*place, name)?.unwrap_or_default(), logged_in)
        }
        None => Default::default(),
    };
    let metadata = &gateway.metadata;
    let info = Info {
        name: gateway.name().map(ToString::to_string),
        endpoint: gateway.endpoint.to_string().trim_end_matches('/').to_owned(),
        mode: metadata.mode.as_str(),
        chosen_by: gateway.rule,
        place: gateway.stored.as_ref().map(|(place, _)| *place),
        server_name: metadata.server_name.clone(),
        client_certificate: bundle.identity.is_some(),
        ca: bundle.ca.is_some(),
        issuer: metadata.oidc.as_ref().map(|oidc| oidc.issuer.clone()),
        scopes: metadata.oidc.as_ref().map(|oidc| oidc.scopes.clone()).unwrap_or_default(),
        logged_in,
        project: metadata.project.clone(),
    };
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    let facts = [
        ("Name", info.name.clone().unwrap_or_else(|| "not stored".to_owned())),
        ("Endpoint", info.endpoint.clone()),
        ("Mode", info.mode.to_owned()),
        ("Chosen by", info.chosen_by.to_string()),
        ("Server name", text(&info.server_name)),
        ("Stored in", folder(context, &gateway)),
        (
            "Certificate",
            if info.client_certificate { "a client certificate is stored" } else { "" }.to_owned(),
        ),
        ("Believed", if info.ca { "its own CA" } else { "public CAs" }.to_owned()),
        ("Login", text(&info.issuer)),
        ("Scopes", info.scopes.join(" ")),
        ("Token", if info.logged_in { "stored" } else { "" }.to_owned()),
        ("Project", text(&info.project)),
    ];
    context.say.one(&gateway.title(), &info, &facts)
}

fn folder(context: &Context, gateway: &crate::gateways::Resolved) -> String {
    match &gateway.stored {
        Some((place, name)) => context.store.folder(*place, name).display().to_string(),
        None => String::new(),
    }
}
