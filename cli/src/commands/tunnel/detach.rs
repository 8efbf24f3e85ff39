//! `tunnel listen --detach`: another process listens; this one ends once the URL has answered.

use std::env;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::background::{Process, Spot};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::say::Output;

/// How long it may take until the URL answers, where nothing is said.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// How long the other one may take to switch the Tunnel off.
const END: Duration = Duration::from_secs(30);

/// Starts a process for what the command line says, or finds the one that there is, and waits for its URL.
pub(super) async fn act(context: &Context, spot: &Spot) -> Result<(), Failure> {
    let found = spot.process()?.is_some();
    if found && let Some(process) = answered(context, spot, None).await? {
        context
            .say
            .note(format!("process {} listens already: what is said now changes nothing", process.pid));
        return told(context, &process);
    }
    let log = spot.fresh_log()?;
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("failed to start a process in the background: {error}"))
    };
    let errors = log.try_clone().map_err(failed)?;
    let arguments = env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    command.args(arguments).arg("--detached").stdin(Stdio::null()).stdout(log).stderr(errors);
    let mut child = command.spawn().map_err(failed)?;
    match answered(context, spot, Some(&mut child)).await {
        Ok(Some(process)) => told(context, &process),
        Ok(None) => Err(ended(spot, child.wait().await.ok().and_then(|status| status.code()))),
        Err(failure) => {
            stop(&mut child).await;
            Err(failure)
        }
    }
}

/// Waits until the process that lives has had a byte back. None where none lives.
async fn answered(
    context: &Context,
    spot: &Spot,
    mut child: Option<&mut Child>,
) -> Result<Option<Process>, Failure> {
    let step = context.say.step("listening in the background");
    let waiting = async {
        loop {
            match spot.process()? {
                Some(process) if !process.url.is_empty() => return Ok(Some(process)),
                // One that ended while it was waited for.
                None if child.is_none() => return Ok(None),
                _ => {}
            }
            if let Some(child) = &mut child
                && !matches!(child.try_wait(), Ok(None))
            {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let patience = context.say.timeout_or(PATIENCE);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(patience, waiting) => outcome,
        Ok(()) = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    drop(step);
    outcome.unwrap_or_else(|_| {
        let message = format!("nothing came back through the tunnel within {}s", patience.as_secs());
        let hint = format!("its log is {}; --timeout gives it longer", spot.log().display());
        Err(Failure::new(Exit::TimedOut, message).hint(hint))
    })
}

fn told(context: &Context, process: &Process) -> Result<(), Failure> {
    let (pid, log) = (process.pid, process.log.display());
    context.say.note(format!("process {pid} listens for {}/{}", process.project, process.name));
    context.say.note(format!("its log is {log}; `kill {pid}` stops it and switches the tunnel off"));
    match context.say.output() {
        Output::Json | Output::Yaml => {
            let shown = json!({
                "url": process.url, "project": process.project, "name": process.name, "pid": pid, "log": process.log,
            });
            context.say.one(&process.name, &shown, &[])
        }
        _ => context.say.data(&format!("{}\n", process.url)),
    }
}

/// Why it ended, in its own words.
fn ended(spot: &Spot, code: Option<i32>) -> Failure {
    let log = spot.log();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let last =
        |prefix: &str| text.lines().rev().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
    let exit = Exit::ALL.into_iter().map(|(exit, _)| exit).find(|exit| Some(i32::from(exit.code())) == code);
    let message =
        last("error: ").unwrap_or_else(|| format!("it ended at once: its log is {}", log.display()));
    Failure { exit: exit.unwrap_or(Exit::Failed), message, hint: last("hint: ") }
}

/// Lets it switch the Tunnel off.
async fn stop(child: &mut Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // One that has ended meanwhile is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
        let _ = tokio::time::timeout(END, child.wait()).await;
    }
}
