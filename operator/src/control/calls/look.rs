//! Calls that only look: projects, one Tunnel, a page of them.

use std::ops::Bound;

use portcullis_contract::gateway::{
    GetTunnelRequest, ListProjectsResponse, ListTunnelsRequest, ListTunnelsResponse, Project, Tunnel,
};
use prost::Message as _;
use tonic::Code;

use super::caller::Verb;
use super::refused::{Refused, refused};
use super::rights::{Rights, View};
use super::told;
use crate::world::Key;

/// Tunnels of one page, and their bytes: a page fits the smallest message that clients of gRPC take.
pub(super) const PAGE: usize = 200;
pub(super) const PAGE_BYTES: usize = 1024 * 1024;

pub(super) async fn projects(rights: &Rights<'_>) -> Result<ListProjectsResponse, Refused> {
    let named = |name: String| Project { is_default: name == rights.gateway.namespace, name };
    Ok(ListProjectsResponse { projects: rights.projects().await?.into_iter().map(named).collect() })
}

pub(super) async fn get(rights: &Rights<'_>, request: &GetTunnelRequest) -> Result<Tunnel, Refused> {
    let tunnel = rights.tunnel(Verb::Get, &request.namespace, &request.name).await?;
    Ok(told::tunnel(&tunnel))
}

pub(super) async fn list(
    rights: &Rights<'_>,
    request: &ListTunnelsRequest,
) -> Result<ListTunnelsResponse, Refused> {
    rights.may_look_into(Verb::List, &request.namespace, "").await?;
    let seen = rights.look(&mut View::new(Verb::List, &request.namespace, "")).await?;
    let asked = usize::try_from(request.page_size).unwrap_or(PAGE);
    let size = if asked == 0 { PAGE } else { asked.min(PAGE) };
    let mut page = ListTunnelsResponse::default();
    let mut bytes = 0;
    // The token is where the page before ended.
    let after = match request.page_token.split_once('/') {
        Some((namespace, name)) => Bound::Excluded(Key::new(namespace, name)),
        None if request.page_token.is_empty() => Bound::Unbounded,
        None => {
            return refused(
                Code::InvalidArgument,
                "page_token is none: write next_page_token of the page before",
            );
        }
    };
    for tunnel in seen.range((after, Bound::Unbounded)).map(|(_, tunnel)| tunnel) {
        let tunnel = told::tunnel(tunnel);
        bytes += tunnel.encoded_len();
        if page.tunnels.len() == size || (bytes > PAGE_BYTES && !page.tunnels.is_empty()) {
            page.next_page_token =
                page.tunnels.last().map(|it| format!("{}/{}", it.namespace, it.name)).unwrap_or_default();
            break;
        }
        page.tunnels.push(tunnel);
    }
    Ok(page)
}
