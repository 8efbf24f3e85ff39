//! `revoke`: takes certificates of a client back.

use crate::cluster::{Revoking, connect};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Revoke;
use crate::say::{Column, Row, Table};

const COLUMNS: &[Column] = &[Column::new("SERIAL"), Column::new("REVOKED"), Column::new("ENFORCED")];

pub(super) fn act(context: &Context, revoke: &Revoke) -> Result<(), Failure> {
    context.until_interrupted(async {
        let limit = context.say.timeout();
        let (namespace, name) = &revoke.object;
        let step = context.say.step(format!("revoking what {} has", revoke.client));
        let writing = async {
            let (client, usual) = connect(&context.kube).await?;
            let namespace = namespace.clone().unwrap_or(usual);
            let revoking = Revoking::of(client, namespace, name.clone());
            let serials = revoking.write(&revoke.client, &revoke.serials).await?;
            Ok::<_, Failure>((revoking, serials))
        };
        let (revoking, serials) =
            tokio::time::timeout(limit, writing).await.map_err(|_| late("the cluster did not answer in time"))??;
        step.done_as(&format!("revoked: {}", serials.join(", ")));
        if revoke.no_wait {
            return Ok(());
        }
        let step = context.say.step("every replica cuts what they had opened");
        let enforced = tokio::time::timeout(limit, revoking.enforced(&serials)).await;
        let enforced = enforced.map_err(|_| {
            late("revoked, but not every replica has said so yet").hint(format!(
                "the Gateway's conditions name the replica that is behind: `kubectl describe gateways.portcullis.dev {name}`; --timeout waits longer"
            ))
        })??;
        step.done();
        let rows = enforced
            .iter()
            .map(|it| Row {
                name: it.serial.clone(),
                cells: vec![it.serial.clone(), it.revoked_at.clone(), it.enforced_at.clone().unwrap_or_default()],
            })
            .collect();
        context.say.list(&enforced, &Table { columns: COLUMNS, rows })
    })
}

fn late(what: &str) -> Failure {
    Failure::new(Exit::TimedOut, what)
}
