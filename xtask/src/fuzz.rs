//! `cargo xtask fuzz`: libFuzzer on what strangers send, with the stable compiler. What each target does is in
//! `fuzz/src/targets.rs`; inputs that are worth keeping are in `fuzz/corpus/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, say, workspace};

/// What `cargo fuzz` says to the compiler, without what only a nightly one takes: each edge counts, and comparisons are
/// told to the fuzzer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which target; all of them, one after the other, where none is named
    target: Option<String>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs them; an input that breaks one is an error that names it.
pub(crate) fn act(options: &Options) -> Result<()> {
    let all = targets()?;
    let chosen = match &options.target {
        None => all,
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no fuzz target {target}: {}", all.join(", ")),
    };
    let built = build(&chosen)?;
    let scratch = workspace::target().join("fuzz");
    for target in &chosen {
        run(target, &built.join(target), &scratch.join(target), options.seconds)?;
    }
    Ok(())
}

/// Those that have a corpus.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/corpus");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        targets.push(entry.context("failed to read the corpus")?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    Ok(targets)
}

/// The folder with the built targets.
fn build(targets: &[String]) -> Result<PathBuf> {
    let step = say::step("fuzz targets built");
    let said = command::output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    // The flags are for the target alone: what runs at build time must not be made for the fuzzer.
    let folder = workspace::target().join("fuzz-build");
    let bins = targets.iter().flat_map(|target| ["--bin", target]);
    command::run(
        workspace::cargo()
            .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host])
            .args(bins)
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_TARGET_DIR", &folder),
    )?;
    step.done();
    Ok(folder.join(host).join("release"))
}

/// Runs one. What it finds by the way goes to a folder of its own, and the corpus stays as it is.
fn run(target: &str, program: &PathBuf, scratch: &PathBuf, seconds: u32) -> Result<()> {
    fs::create_dir_all(scratch).with_context(|| format!("failed to make {}", scratch.display()))?;
    say::note(format!("\n== {target}"));
    let crashes = format!("{}/crash-", scratch.display());
    let ran = command::show(
        Command::new(program)
            .arg(scratch)
            .arg(workspace::root().join("fuzz/corpus").join(target))
            .args([format!("-max_total_time={seconds}"), format!("-exact_artifact_path={crashes}{target}")])
            .args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"]),
    );
    ran.with_context(|| {
        format!("the input is in {crashes}{target}: once it is mended, keep it in fuzz/corpus/{target}/")
    })
}
