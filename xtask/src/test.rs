//! `cargo xtask test`: every test of the workspace, the cheap ones first.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cluster::Extent;
use crate::install::Site;
use crate::parts::Parts;
use crate::test::counts::{Counts, Kind};
use crate::test::run::{Tests, run};
use crate::test::stand::Stand;
use crate::{command, images, prerequisites, say, workspace};

mod counts;
mod properties;
mod run;
mod stand;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only tests whose path holds one of these
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Only this tier, and others so named
    #[arg(long, value_enum)]
    tier: Vec<Tier>,
}

/// What tests need, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Nothing: unit, golden and property tests, and the data plane in one process
    Process,
    /// An API server: `tests/tests/api*.rs`
    Api,
    /// A cluster with images and the operator: `tests/tests/e2e*.rs`
    EndToEnd,
    /// The cluster itself, started, killed and taken down: `xtask/tests/cluster.rs`
    Cluster,
}

/// Runs them; says whether all passed.
pub(crate) fn act(options: &Options) -> bool {
    let began = Instant::now();
    let mut counts = Counts::with_properties(properties::names());
    let mut broken = Vec::new();
    for tier in Tier::value_variants() {
        if !options.tier.is_empty() && !options.tier.contains(tier) {
            continue;
        }
        // a tier that cannot begin is a failure, and no reason to leave out the others
        if let Err(error) = tier.run(&options.filter, &mut counts) {
            say::note(format!("error: {error:#}"));
            broken.push(*tier);
            counts.lost();
        }
    }
    say::result(format!("\n{}", counts.table()));
    say::note(format!("{}  in all", say::seconds(began.elapsed())));
    for tier in &broken {
        say::result(format!("tier {tier:?} could not run to its end: see above"));
    }
    say::result(format!("{} passed, {} failed", counts.passed(), counts.failed()));
    counts.failed() == 0
}

impl Tier {
    fn run(self, filter: &[String], counts: &mut Counts) -> Result<()> {
        match self {
            Self::Process => {
                announce("unit, golden and property tests; data plane in one process");
                run(&Tests::without_cluster(filter), None, counts, None)
            }
            Self::Api => {
                let tests = Tests::of_the_tests_crate("api", filter)?;
                if tests.is_empty() {
                    return Ok(());
                }
                announce("API server");
                tests.build()?;
                let stand = Stand::started("test-api", Extent::ApiOnly)?.with_binaries(programs()?);
                run(&tests, Some(&stand), counts, Some(Kind::ApiServer))
            }
            Self::EndToEnd => {
                let tests = Tests::of_the_tests_crate("e2e", filter)?;
                if tests.is_empty() {
                    return Ok(());
                }
                announce("end to end");
                prerequisites::check_parts()?;
                let parts = Parts::installed()?;
                tests.build()?;
                let binaries = images::binaries(images::Profile::Release)?;
                let stand = Stand::started("test-e2e", Extent::Node)?.with_binaries(binaries);
                let stand = stand.with_parts(&parts)?;
                let site = Site::Local(stand.cluster().clone());
                let images = site.bring_images(images::Profile::Release)?;
                site.install_operator(&images)?;
                run(&tests, Some(&stand), counts, Some(Kind::EndToEnd))
            }
            Self::Cluster => {
                announce("the local cluster itself");
                run(&Tests::of_the_cluster(filter), None, counts, Some(Kind::Cluster))
            }
        }
    }
}

/// The folder with what tests of the API server start as processes beside it, compiled as the tests are.
fn programs() -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--bins"]);
    // With the tests' own package, so that dependencies have the features that they were compiled with for those.
    for package in ["portcullis-gateway", "portcullis-cli", "portcullis-tests"] {
        cargo.args(["--package", package]);
    }
    command::show(&mut cargo)?;
    Ok(workspace::target().join("debug"))
}

fn announce(tier: &str) {
    say::note(format!("\n== {tier}"));
}
