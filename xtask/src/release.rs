//! `cargo xtask release`: everything that a release consists of, in one folder with its checksums. The same source gives the
//! same bytes; nothing is published from here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::images::{self, Profile, SHIPPED};
use crate::{cache, say, workspace};

mod again;
mod archive;
mod bill;
mod chart;
mod rehearsal;

/// The version of the workspace, which is the release's.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The file with the SHA-256 of every other one.
const SUMS: &str = "SHA256SUMS";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where it goes; what is there is replaced [default: target/release-VERSION]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The registry that images will be pulled from, which the manifest to install names
    #[arg(long, value_name = "HOST/PREFIX", default_value = "localhost")]
    registry: String,
    /// How the binaries are optimised
    #[arg(long, value_enum, default_value_t = Profile::Dist)]
    profile: Profile,
    /// Push all of it to a registry of this machine that is started for that, pull it back and compare
    #[arg(long)]
    rehearse: bool,
    /// Build it again from a copy of the source elsewhere, and fail where a byte differs
    #[arg(long)]
    twice: bool,
    /// Compile the programs alone from a copy of the source elsewhere, without optimising them, and fail where a byte differs:
    /// much of what --twice shows, in a minute or two
    #[arg(long)]
    elsewhere: bool,
}

/// Does what was asked.
pub(crate) fn act(options: &Options) -> Result<()> {
    let out = options.out.clone().unwrap_or_else(|| workspace::target().join(format!("release-{VERSION}")));
    // What is started on the way runs in other folders.
    let out = std::path::absolute(&out).with_context(|| format!("no folder can be {}", out.display()))?;
    cache::remove(&out)?;
    fs::create_dir_all(&out).with_context(|| format!("failed to make {}", out.display()))?;
    let binaries = images::binaries(options.profile)?;
    let mut archives = Vec::new();
    for (name, about) in SHIPPED {
        archives.push(images::released(&out, name, about, &binaries.join(name), VERSION)?);
    }
    archive::command_line(&out, &binaries.join("portcullis"))?;
    chart::package(&out)?;
    chart::manifest(&out, &options.registry)?;
    bill::materials(&out)?;
    let sums = sums(&out)?;
    for line in sums.lines() {
        say::result(line);
    }
    if options.rehearse {
        rehearsal::rehearse(&out, &archives)?;
    }
    if options.elsewhere {
        again::compiled_elsewhere(options.profile)?;
    }
    if options.twice {
        again::all(options, &sums)?;
    }
    say::note(format!("        {}", out.display()));
    Ok(())
}

/// Writes the checksums of every file of a folder, as `sha256sum --check` reads them.
fn sums(out: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(out).context("failed to read the release's folder")? {
        let path = entry.context("failed to read the release's folder")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).with_context(|| format!("failed to read {name}"))?;
        lines.push((name, cache::digest(&bytes)));
    }
    lines.sort();
    let lines: Vec<_> = lines.iter().map(|(name, digest)| format!("{digest}  {name}")).collect();
    let text = lines.join("\n") + "\n";
    fs::write(out.join(SUMS), &text).context("failed to write the checksums")?;
    Ok(text)
}
