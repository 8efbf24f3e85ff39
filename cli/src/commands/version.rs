//! `version`: this program's, the gateway's, and whether they get on.

use portcullis_contract::gateway::GetInfoRequest;
use portcullis_contract::gateway::gateway_client::GatewayClient;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::Version;

const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Both, for programs.
#[derive(Serialize)]
struct Versions {
    client: &'static str,
    gateway: Option<String>,
    server: Option<String>,
    skew: Option<&'static str>,
}

pub(super) fn act(context: &Context, version: Version) -> Result<(), Failure> {
    let mut versions = Versions { client: CLIENT, gateway: None, server: None, skew: None };
    // Without a gateway there is nobody to ask; one that is named must be there.
    let gateway = if version.client {
        None
    } else {
        match context.gateway() {
            Ok(gateway) => Some(gateway),
            Err(failure) if context.is_gateway_given() => return Err(failure),
            Err(_) => None,
        }
    };
    let mut failed = None;
    if let Some(gateway) = &gateway {
        versions.gateway = Some(gateway.title());
        let asked = context.wait(async {
            let channel = context.channel(gateway).await?;
            let mut client = GatewayClient::new(channel.service());
            channel.call("ask its version", client.get_info(GetInfoRequest {})).await
        });
        match asked {
            Ok(info) => {
                versions.skew = Some(skew(CLIENT, &info.version));
                versions.server = Some(info.version);
            }
            Err(failure) => failed = Some(failure),
        }
    }
    let server = match (&versions.server, &versions.gateway) {
        (Some(server), Some(gateway)) => format!("{server} ({gateway})"),
        _ => String::new(),
    };
    let skew = versions.skew.unwrap_or_default().to_owned();
    context.say.one(
        CLIENT,
        &versions,
        &[("Client", CLIENT.to_owned()), ("Gateway", server), ("Skew", skew)],
    )?;
    failed.map_or(Ok(()), Err)
}

/// A word on two versions. One minor version apart is what upgrades go through.
fn skew(client: &str, server: &str) -> &'static str {
    let parts = |version: &str| {
        let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
            _ => None,
        }
    };
    match (parts(client), parts(server)) {
        (Some(client), Some(server)) if client == server => "none: they belong together",
        (Some(client), Some(server)) if client.0 == server.0 && client.1.abs_diff(server.1) == 1 => {
            "one minor version: they get on"
        }
        (Some(client), Some(server)) if client < server => {
            "the gateway is much newer: use a newer `portcullis`"
        }
        (Some(_), Some(_)) => "the gateway is much older: some commands may not be known there",
        _ => "it cannot be told: a version is no version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_apart_is_fine_and_more_is_said() {
        assert!(skew("0.1.0", "0.1.7").starts_with("none"));
        assert!(skew("0.2.0", "0.1.0").starts_with("one minor"));
        assert!(skew("0.1.0-dev", "0.2.0").starts_with("one minor"));
        assert!(skew("0.1.0", "0.3.0").contains("much newer"));
        assert!(skew("2.0.0", "1.9.0").contains("much older"));
        assert!(skew("0.1.0", "").contains("cannot be told"));
    }
}
