//! `project …`: where one may have tunnels.

use portcullis_contract::gateway::projects_client::ProjectsClient;
use portcullis_contract::gateway::{ListProjectsRequest, Project as Listed};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::options::{Project, ProjectSwitch};
use crate::say::{Column, Row, Table};
use crate::store::Place;

const COLUMNS: &[Column] = &[Column::new("NAME"), Column::new("CURRENT"), Column::new("DEFAULT")];

/// A project, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    is_current: bool,
    is_default: bool,
}

pub(super) fn act(context: &Context, command: Project) -> Result<(), Failure> {
    match command {
        Project::List => context.wait(list(context)),
        Project::Switch(switch) => context.wait(change(context, switch)),
    }
}

async fn projects(context: &Context, gateway: &Resolved) -> Result<Vec<Listed>, Failure> {
    let channel = context.channel(gateway).await?;
    let mut api = ProjectsClient::new(channel.service());
    Ok(channel.call("list the projects", api.list_projects(ListProjectsRequest {})).await?.projects)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let found = projects(context, &gateway).await?;
    let current = gateway.metadata.project.as_deref();
    let shown: Vec<_> = found
        .into_iter()
        .map(|it| Shown {
            is_current: current.map_or(it.is_default, |current| current == it.name),
            is_default: it.is_default,
            name: it.name,
        })
        .collect();
    let mark = |holds: bool| if holds { "*" } else { "" }.to_owned();
    let rows = shown.iter().map(|it| Row {
        name: it.name.clone(),
        cells: vec![it.name.clone(), mark(it.is_current), mark(it.is_default)],
    });
    context.say.list(&shown, &Table { columns: COLUMNS, rows: rows.collect() })
}

async fn change(context: &Context, switch: ProjectSwitch) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let Some((Place::Own, name)) = &gateway.stored else {
        return Err(Failure::new(
            Exit::Usage,
            "the choice is kept with a stored gateway, and this one is none of yours",
        )
        .hint("add it with `portcullis gateway add`, or write --project for each call"));
    };
    let found = projects(context, &gateway).await?;
    if !found.iter().any(|it| it.name == switch.project) {
        let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "{} is no project that you may use at gateway {name}: there are {}",
                switch.project,
                names.join(", ")
            ),
        ));
    }
    let held = context.store.lock()?;
    context.store.update(&held, name, |metadata| metadata.project = Some(switch.project.clone()))?;
    context.say.note(format!("project {} is meant at gateway {name} from now on", switch.project));
    Ok(())
}
