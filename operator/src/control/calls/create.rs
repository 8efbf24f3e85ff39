//! Creating a Tunnel: once for each user, endpoint and connector, however often it is asked for.

use std::sync::Arc;

use kube::ResourceExt as _;
use portcullis_api::{Gateway, Tunnel, Tunnels};
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::gateway::{CreateTunnelRequest, CreateTunnelResponse};
use tonic::Code;

use super::caller::Verb;
use super::change::{self, News};
use super::refused::{Refused, refused};
use super::rights::Rights;
use super::{in_time, told};
use crate::names;
use crate::tunnel::words;
use crate::world::Key;

/// How many generated names are tried.
const ATTEMPTS: u32 = 32;
/// Bytes of what tells connectors apart.
const CONNECTOR: usize = 256;

pub(super) async fn create(
    rights: &Rights<'_>,
    request: &CreateTunnelRequest,
) -> Result<CreateTunnelResponse, Refused> {
    if request.connector.len() > CONNECTOR {
        return refused(Code::InvalidArgument, format!("connector is longer than {CONNECTOR} bytes"));
    }
    let namespace = rights.project(&request.namespace)?;
    in_time(rights.may(Verb::Create, &namespace, None)).await??;
    // One at a time at each Gateway: whoever asks twice at once gets one Tunnel, and nobody more than the quota.
    let turn = rights.desk.ctx.control.turn(rights.gateway);
    let _turn = in_time(turn.lock()).await?;
    let there = rights.desk.ctx.world.tunnels_of(rights.gateway);
    let names = candidates(rights, request);
    if let Some(tunnel) = first_of(&names, there.iter().filter(|it| is_same(rights, it, &namespace, request)))
    {
        return Ok(CreateTunnelResponse { tunnel: Some(told::tunnel(tunnel)), created: false });
    }
    let (gateway, tunnels) = rights.gateway()?;
    has_room(rights, &gateway, &tunnels, there.iter().filter(|it| rights.caller.created(it)).count())?;
    for name in names {
        let key = Key::new(&namespace, name);
        let written = told::created(&key, rights.gateway, &rights.caller.user, request);
        match rights.desk.ctx.writer.create_tunnel(&key, &written).await {
            Ok(tunnel) => {
                change::caught_up(rights, &tunnel).await;
                change::tell(rights, &tunnel, News::Created).await;
                return Ok(CreateTunnelResponse { tunnel: Some(told::tunnel(&tunnel)), created: true });
            }
            Err(error) if error.says_already_exists() => {
                // It may be ours, created a moment ago by a call that nobody heard the end of.
                let found = rights.desk.ctx.writer.standing_tunnel(&key).await?;
                if let Some(tunnel) = found.filter(|it| is_same(rights, it, &namespace, request)) {
                    return Ok(CreateTunnelResponse { tunnel: Some(told::tunnel(&tunnel)), created: false });
                }
                if !request.name.is_empty() {
                    return refused(
                        Code::AlreadyExists,
                        format!("there is a Tunnel {key}, and it is not this one: choose another name"),
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    refused(Code::Aborted, "no free name was found: write one")
}

/// Of several that are the same but for the names that they were given, the one that such a request creates; otherwise the
/// oldest.
fn first_of<'a>(names: &[String], same: impl Iterator<Item = &'a Arc<Tunnel>>) -> Option<&'a Arc<Tunnel>> {
    same.min_by_key(|tunnel| {
        let name = tunnel.name_any();
        let attempt = names.iter().position(|it| *it == name).unwrap_or(names.len());
        (attempt, tunnel.creation_timestamp(), name)
    })
}

/// Whether a Tunnel is what this very request has created.
fn is_same(rights: &Rights<'_>, tunnel: &Tunnel, namespace: &str, request: &CreateTunnelRequest) -> bool {
    let connector = tunnel.annotations().get(names::CONNECTOR_ID).map_or("", String::as_str);
    Key::of_gateway(tunnel) == *rights.gateway
        && tunnel.metadata.deletion_timestamp.is_none()
        && tunnel.namespace().as_deref() == Some(namespace)
        && (request.name.is_empty() || request.name == tunnel.name_any())
        && rights.caller.created(tunnel)
        && connector == request.connector
        && canonical(&tunnel.spec.endpoint) == canonical(&request.endpoint)
}

/// One that is none is compared as it stands; the API server says what is wrong with it.
fn canonical(endpoint: &str) -> String {
    endpoint.parse().map_or_else(|_| endpoint.to_owned(), |endpoint: Endpoint| endpoint.to_string())
}

fn has_room(rights: &Rights<'_>, gateway: &Gateway, tunnels: &Tunnels, own: usize) -> Result<(), Refused> {
    let ctx = &rights.desk.ctx;
    let full = |limit: i32, count: usize| usize::try_from(limit).is_ok_and(|limit| count >= limit);
    let accepted = ctx.claims.at(&ctx.world, rights.gateway).accepted().count();
    if full(tunnels.max_tunnels, accepted) {
        let message = format!(
            "gateway {} has the {} Tunnels that its spec.tunnels.maxTunnels allows: have one removed, or it raised",
            gateway.name_any(),
            tunnels.max_tunnels
        );
        return refused(Code::ResourceExhausted, message);
    }
    match tunnels.max_tunnels_per_user {
        Some(limit) if full(limit, own) => refused(
            Code::ResourceExhausted,
            format!(
                "{} has the {limit} Tunnels that spec.tunnels.maxTunnelsPerUser allows: delete one, or have it raised",
                rights.caller.user
            ),
        ),
        _ => Ok(()),
    }
}

/// The name that was asked for; otherwise readable ones, always the same for the same request, so that one which is
/// repeated finds what it has created.
fn candidates(rights: &Rights<'_>, request: &CreateTunnelRequest) -> Vec<String> {
    if !request.name.is_empty() {
        return vec![request.name.clone()];
    }
    let (gateway, user) = (rights.gateway, &rights.caller.user);
    let seed = format!("{gateway}\n{user}\n{}\n{}", request.connector, canonical(&request.endpoint));
    (0..ATTEMPTS).map(|attempt| words::label(&seed, attempt)).collect()
}
