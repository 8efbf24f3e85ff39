//! `diagnose`: what somebody who helps needs to see, in one file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cluster;
use crate::context::Context;
use crate::diagnose::{Bounds, Broken, Counts, gather};
use crate::failure::{Exit, Failure};
use crate::options::Diagnose;
use portcullis_protocol::clock;

/// What was gathered, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    file: PathBuf,
    bytes: usize,
    #[serde(flatten)]
    counts: Counts,
    broken: Vec<Broken>,
    not_read: Vec<String>,
}

pub(super) fn act(context: &Context, diagnose: &Diagnose) -> Result<(), Failure> {
    let now = clock::now();
    let stamp = crate::gateways::certificate::shown(now).replace(['-', ':'], "");
    let name = format!("portcullis-diagnose-{stamp}");
    let file = diagnose.file.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    let bounds = Bounds {
        namespace: context.kube.namespace.clone(),
        operator: diagnose.operator_namespace.clone(),
        lines: diagnose.log_lines,
        timeout: context.say.timeout(),
    };
    let step = context.say.step("reading the cluster");
    let gathered = context.until_interrupted(async {
        let (client, _) = cluster::connect(&context.kube).await?;
        gather(client, &bounds).await
    })?;
    step.done_as("the cluster was read");
    let packed = gathered.packed(&name, now);
    let packed = packed.map_err(|error| Failure::new(Exit::Failed, format!("failed to pack it: {error}")))?;
    write(&file, &packed)?;
    let summary = Summary {
        file,
        bytes: packed.len(),
        counts: gathered.counts,
        broken: gathered.broken,
        not_read: gathered.missing,
    };
    context.say.one(&summary.file.display().to_string(), &summary, &summary.facts())?;
    context.say.note("look through the file before you hand it on: it says what your Gateways, Services and backends are called");
    Ok(())
}

impl Summary {
    fn facts(&self) -> Vec<(&'static str, String)> {
        let broken: Vec<_> = self
            .broken
            .iter()
            .map(|it| format!("{}: {} ({}): {}", it.of, it.what, it.reason, it.message))
            .collect();
        let broken = if broken.is_empty() { "nothing that shows".to_owned() } else { broken.join("\n") };
        vec![
            ("File", format!("{}, {} kB", self.file.display(), self.bytes.div_ceil(1000))),
            ("Gateways", self.counts.gateways.to_string()),
            ("Tunnels", self.counts.tunnels.to_string()),
            ("Pods", self.counts.pods.to_string()),
            ("Broken", broken),
            ("Not read", self.not_read.join("\n")),
        ]
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::new(Exit::Failed, format!("failed to write {}: {error}", path.display()));
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            Failure { exit: Exit::Conflict, ..failure }
                .hint("nothing is overwritten: choose another name with --file")
        } else {
            failure
        }
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        drop(std::fs::remove_file(path));
        failed(error)
    })
}
