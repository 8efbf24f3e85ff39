//! Running tests by cargo, with what they print passed on as it comes and counted.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::test::counts::{Counts, Kind};
use crate::test::stand::Stand;
use crate::{command, say, workspace};

/// The crate of tests that need a cluster.
const CRATE: &str = "portcullis-tests";

/// A choice of tests, as cargo takes it.
#[derive(Debug)]
pub(super) struct Tests {
    targets: Vec<String>,
    runner: Vec<String>,
    empty: bool,
}

impl Tests {
    /// All that need no cluster.
    pub(super) fn without_cluster(filter: &[String]) -> Self {
        let targets = ["--workspace", "--exclude", CRATE, "--lib", "--bins", "--tests"].map(str::to_owned);
        Self { targets: targets.into(), runner: filter.to_vec(), empty: false }
    }

    /// The files of the tests crate that are named for a tier.
    pub(super) fn of_the_tests_crate(tier: &str, filter: &[String]) -> Result<Self> {
        let folder = workspace::root().join("tests/tests");
        let mut targets = vec!["--package".to_owned(), CRATE.to_owned()];
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.context("failed to read the tests' folder")?.path();
            let whole = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if whole && (name == tier || name.starts_with(&format!("{tier}_"))) {
                names.push(name);
            }
        }
        names.sort();
        let empty = names.is_empty();
        targets.extend(names.into_iter().flat_map(|name| ["--test".to_owned(), name]));
        Ok(Self { targets, runner: filter.to_vec(), empty })
    }

    /// Those of the local cluster, which are left out of every other run: they start and kill clusters.
    pub(super) fn of_the_cluster(filter: &[String]) -> Self {
        let mut runner = vec!["--ignored".to_owned(), "--test-threads=1".to_owned()];
        runner.extend_from_slice(filter);
        Self {
            targets: ["--package", "xtask", "--test", "cluster"].map(str::to_owned).into(),
            runner,
            empty: false,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Builds them, so that running them needs no network.
    pub(super) fn build(&self) -> Result<()> {
        let step = say::step("tests built");
        command::show(workspace::cargo().args(["test", "--quiet", "--no-run"]).args(&self.targets))?;
        step.done();
        Ok(())
    }
}

/// Runs tests, in a cluster's network where they need one.
pub(super) fn run(
    tests: &Tests,
    stand: Option<&Stand>,
    counts: &mut Counts,
    kind: Option<Kind>,
) -> Result<()> {
    let plain = workspace::cargo();
    let mut cargo = match stand {
        Some(stand) => stand.command(plain.get_program())?,
        None => plain,
    };
    cargo.current_dir(workspace::root()).args(["test", "--no-fail-fast"]).args(&tests.targets);
    cargo.arg("--").args(&tests.runner).env("INSTA_UPDATE", "no");

    // cargo says on stderr which runner prints on stdout: only one pipe keeps that in order
    let (printed, pipe) = std::io::pipe().context("failed to make a pipe")?;
    cargo.stdin(Stdio::null()).stdout(pipe.try_clone().context("failed to share a pipe")?).stderr(pipe);
    let mut child = cargo.spawn().context("failed to start cargo")?;
    drop(cargo); // and with it our ends of the pipe
    let failed_before = counts.failed();
    for line in BufReader::new(printed).lines() {
        let line = line.context("failed to read what the tests print")?;
        say::result(&line);
        counts.read(&line, kind);
    }
    let well = child.wait().context("failed to wait for cargo")?.success();
    if !well && counts.failed() == failed_before {
        counts.lost();
    }
    Ok(())
}
