//! `tunnel doctor`: which hop is broken, and what to do.

use std::time::Instant;

use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{GetTunnelRequest, WhoAmIRequest};

use super::{Asked, which};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Doctor;
use crate::say::{Column, Row, Table};
use crate::tunnel::{Door, Evidence, Health, findings, visit};

const COLUMNS: &[Column] =
    &[Column::new("HOP"), Column::new("HEALTH"), Column::new("FOUND"), Column::new("ADVICE")];

pub(super) fn act(context: &Context, doctor: &Doctor) -> Result<(), Failure> {
    context.wait(async {
        let Asked { gateway, channel, mut api } = Asked::open(context).await?;
        let meant = which(context, &gateway, &doctor.named)?;
        let step = context.say.step(format!("looking at tunnel {}", meant.name));
        let began = Instant::now();
        let who = GatewayClient::new(channel.service()).who_am_i(WhoAmIRequest {}).await;
        let who = who.map(|who| (who.into_inner(), began.elapsed()));
        let request = GetTunnelRequest { namespace: meant.project, name: meant.name.clone() };
        let doing = format!("read tunnel {}", meant.name);
        let tunnel = match who {
            Ok(_) => Some(channel.call(&doing, api.get_tunnel(request)).await?),
            Err(_) => None,
        };
        let mut door = Door::of(&gateway, &context.access(&gateway)?);
        let url = tunnel.as_ref().and_then(|it| it.url.parse().ok());
        let visited = match url {
            Some(url) => {
                door.url = url;
                Some(visit(&door).await)
            }
            None => None,
        };
        let found = findings(&Evidence { door: &door, who, tunnel, visited });
        step.done();
        let rows = found.iter().map(|it| Row {
            name: it.hop.to_owned(),
            cells: vec![
                it.hop.to_owned(),
                it.health.word().to_owned(),
                it.message.clone(),
                it.advice.clone(),
            ],
        });
        context.say.list(&found, &Table { columns: COLUMNS, rows: rows.collect() })?;
        match found.iter().find(|it| it.health == Health::Broken) {
            None => Ok(()),
            Some(broken) => {
                let failure = Failure::new(
                    Exit::Unreachable,
                    format!("the hop {} is broken: {}", broken.hop, broken.message),
                );
                Err(if broken.advice.is_empty() { failure } else { failure.hint(&broken.advice) })
            }
        }
    })
}
