//! The same source gives the same bytes: made once more, from a copy of the source in another folder.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Options, SUMS, archive};
use crate::images::{self, Profile};
use crate::{cache, command, say, workspace};

/// The crates of ours that our programs are made of.
const CRATES: [&str; 9] = [
    "portcullis-api",
    "portcullis-cli",
    "portcullis-contract",
    "portcullis-example-drivers",
    "portcullis-gateway",
    "portcullis-operator",
    "portcullis-pki",
    "portcullis-protocol",
    "portcullis-trace",
];

/// All of the release, with nothing compiled yet.
pub(super) fn all(options: &Options, sums: &str) -> Result<()> {
    let step = say::step("the same again, from a copy of the source elsewhere");
    let copy = workspace::target().join("release-again");
    cache::remove(&copy)?;
    fs::create_dir_all(&copy).context("failed to make a folder")?;
    let copied = archive::copy_of_the_source(&copy.join("elsewhere"))?;
    let mut cargo = workspace::cargo();
    cargo.current_dir(&copied).env("CARGO_TARGET_DIR", copy.join("target")).args(["xtask", "release"]);
    cargo.arg("--out").arg(copy.join("out")).args(["--registry", &options.registry]);
    cargo.args(["--profile", options.profile.name()]);
    command::run(&mut cargo)?;
    let other = fs::read_to_string(copy.join("out").join(SUMS)).context("failed to read the checksums")?;
    let differ: Vec<_> = sums.lines().filter(|line| !other.lines().any(|it| it == *line)).collect();
    if !differ.is_empty() {
        bail!("built again, these are others: {}", differ.join("\n"));
    }
    cache::remove(&copy)?;
    step.done_as("built again elsewhere: the same bytes");
    Ok(())
}

/// The programs alone. Of their crates only our own are compiled anew, and not optimised: what takes half an hour otherwise
/// takes a minute or two, and still shows folders, times and orders that got into the bytes.
pub(super) fn compiled_elsewhere(profile: Profile) -> Result<()> {
    let step = say::step("our programs compiled again, from a copy of the source elsewhere");
    let copy = workspace::target().join("release-elsewhere");
    cache::remove(&copy)?;
    let (here, _) = compiled(workspace::root(), profile)?;
    // What was copied is newer than what was compiled of it.
    let (elsewhere, said) = compiled(&archive::copy_of_the_source(&copy)?, profile)?;
    let missing: Vec<_> =
        CRATES.iter().filter(|name| !said.contains(&format!("Compiling {name} "))).collect();
    ensure!(missing.is_empty(), "these were not compiled again: {missing:?}");
    for ((name, here), (_, elsewhere)) in here.iter().zip(&elsewhere) {
        ensure!(here == elsewhere, "{name} has other bytes when its source is in {}", copy.display());
    }
    cache::remove(&copy)?;
    step.done_as("our programs compiled here and elsewhere: the same bytes");
    Ok(())
}

/// The programs' digests, as the compiler makes them of the source in a folder, and what cargo said. Crates of others are as
/// they were compiled already.
fn compiled(source: &Path, profile: Profile) -> Result<(Vec<(&'static str, String)>, String)> {
    let mut cargo = images::compiling(profile, &images::packages())?;
    cargo.current_dir(source).env("CARGO_TARGET_DIR", workspace::target());
    for name in CRATES {
        cargo.args(["--config", &format!("profile.{}.package.{name}.opt-level=0", profile.name())]);
    }
    let said = command::said(&mut cargo)?;
    let folder = images::binaries_folder(profile)?;
    let digest = |(name, _): (&'static str, &str)| {
        let program = fs::read(folder.join(name)).with_context(|| format!("failed to read {name}"))?;
        Ok((name, cache::digest(&program)))
    };
    Ok((images::SHIPPED.into_iter().map(digest).collect::<Result<_>>()?, said))
}
