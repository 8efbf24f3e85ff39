//! `tunnel service …`: a tunnel that the user's systemd listens for.

use std::env;
use std::process::Command;

use serde::Serialize;

use crate::background::unit_text;
use crate::background::{Unit, key};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{Service, ServiceNamed, Wanting};
use crate::say::{Column, Row, Table};
use crate::store::Place;

pub(super) fn act(context: &Context, service: Service) -> Result<(), Failure> {
    match service {
        Service::Install(wanting) => install(context, &wanting),
        Service::Uninstall(named) => uninstall(context, &named),
        Service::Status => status(context),
    }
}

fn install(context: &Context, wanting: &Wanting) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let Some((Place::Own | Place::System, name)) = &gateway.stored else {
        return Err(Failure::new(Exit::Usage, format!("the gateway {} is not stored", gateway.place()))
            .hint("add it first, so that the service knows what to show it: `portcullis gateway add`"));
    };
    let endpoint = super::listen::written(wanting)?;
    let unit = Unit::of(&key(name.as_str(), wanting.name.as_deref().unwrap_or(&endpoint)))?;
    let program = env::current_exe()
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to find this program: {error}")))?;
    let mut arguments =
        vec!["--gateway".to_owned(), name.to_string(), "tunnel".to_owned(), "listen".to_owned()];
    arguments.extend(wanting.arguments());
    let config = env::var("XDG_CONFIG_HOME").ok();
    let about = format!("portcullis: {endpoint} at the gateway {name}");
    unit.write(&unit_text(&program, &arguments, &about, config.as_deref()))?;
    context.say.note(format!("{} is written", unit.path().display()));
    let started = systemctl(&["daemon-reload"]).and_then(|()| systemctl(&["enable", "--now", &unit.name()]));
    match started {
        Ok(()) => {
            context.say.note(format!("{} is started; `journalctl --user -u {}` shows its log", unit.name(), unit.name()));
            context.say.note("`loginctl enable-linger` lets it run while nobody is logged in");
        }
        Err(why) => context.say.warn(format!(
            "the unit is not started: {why}; run `systemctl --user daemon-reload && systemctl --user enable --now {}`",
            unit.name()
        )),
    }
    if env::var_os("PORTCULLIS_CLIENT_SECRET").is_some() {
        context.say.warn(format!(
            "PORTCULLIS_CLIENT_SECRET is not written to the unit: put it into a file that only you read, and name that with EnvironmentFile= by `systemctl --user edit {}`",
            unit.name()
        ));
    }
    context.say.data(&format!("{}\n", unit.key()))
}

fn uninstall(context: &Context, named: &ServiceNamed) -> Result<(), Failure> {
    let unit = meant(named.name.as_deref())?;
    // Stopped while it is there: systemd must know what to stop.
    let stopped = systemctl(&["disable", "--now", &unit.name()]);
    unit.remove()?;
    if let Err(why) = stopped.and_then(|()| systemctl(&["daemon-reload"])) {
        context.say.warn(format!(
            "systemd was not told: {why}; run `systemctl --user stop {} && systemctl --user daemon-reload`",
            unit.name()
        ));
    }
    context
        .say
        .note(format!("{} is removed; the Tunnel stays: `portcullis tunnel delete` removes it", unit.name()));
    Ok(())
}

/// The one that is named, or the only one.
fn meant(name: Option<&str>) -> Result<Unit, Failure> {
    let all = Unit::all()?;
    let known = all.iter().map(Unit::key).collect::<Vec<_>>().join(", ");
    match (name, all.as_slice()) {
        (_, []) => Err(Failure::new(Exit::NotFound, "no tunnel is installed as a service")
            .hint("`portcullis tunnel service install --endpoint 3000` does it")),
        (Some(name), all) => all.iter().find(|unit| unit.key() == name).cloned().ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("no service is called {name}; there are: {known}"))
        }),
        (None, [one]) => Ok(one.clone()),
        (None, _) => Err(Failure::new(Exit::Usage, format!("write which one; there are: {known}"))),
    }
}

const COLUMNS: &[Column] = &[Column::new("NAME"), Column::new("STATE"), Column::new("UNIT")];

/// A service, for programs.
#[derive(Serialize)]
struct Shown {
    name: String,
    unit: String,
    /// As `systemctl is-active` has it; `unknown` where systemd is not there.
    state: String,
}

fn status(context: &Context) -> Result<(), Failure> {
    let shown: Vec<_> = Unit::all()?
        .iter()
        .map(|unit| Shown { name: unit.key().to_owned(), unit: unit.name(), state: state(unit) })
        .collect();
    if shown.is_empty() {
        context.say.note("no tunnel is installed as a service; `portcullis tunnel service install` does it");
    }
    let rows = shown.iter().map(|it| Row {
        name: it.name.clone(),
        cells: vec![it.name.clone(), it.state.clone(), it.unit.clone()],
    });
    context.say.list(&shown, &Table { columns: COLUMNS, rows: rows.collect() })
}

/// `is-active` says it in one word, and ends with 3 where that is not `active`.
fn state(unit: &Unit) -> String {
    let output = Command::new("systemctl").args(["--user", "is-active", &unit.name()]).output();
    let word = output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

/// Asks the user's systemd; why it did not do so, in its own words.
fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("systemctl").arg("--user").args(arguments).output();
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no systemctl here".to_owned(),
        _ => format!("systemctl cannot be run: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("systemctl failed and said nothing").to_owned())
}
