//! `tunnel list`: reads, and changes nothing.

use portcullis_contract::gateway::ListTunnelsRequest;

use super::{Asked, project};
use crate::background::running;
use crate::context::Context;
use crate::failure::Failure;
use crate::options::List;
use crate::say::Table;
use crate::tunnel::{COLUMNS, Shown, row};

pub(super) fn act(context: &Context, list: &List) -> Result<(), Failure> {
    context.wait(async {
        let Asked { gateway, channel, mut api } = Asked::open(context).await?;
        let namespace =
            if list.all_projects { String::new() } else { project(context, &gateway, &list.within) };
        let (mut found, processes) = (Vec::new(), running());
        let mut request = ListTunnelsRequest { namespace, ..ListTunnelsRequest::default() };
        loop {
            let page = channel.call("list the tunnels", api.list_tunnels(request.clone())).await?;
            found.extend(page.tunnels.into_iter().map(|it| Shown::from(it).among(&processes, &gateway)));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if found.is_empty() {
            context.say.note("no tunnels; `portcullis tunnel listen --endpoint 3000` makes one");
        }
        let table = Table { columns: COLUMNS, rows: found.iter().map(row).collect() };
        context.say.list(&found, &table)
    })
}
