//! How many tests of which kind passed and failed, read from what the test runners print.

use std::collections::BTreeSet;
use std::fmt;

use crate::workspace;

/// What a test needs and is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unit,
    Golden,
    Property,
    DataPlane,
    ApiServer,
    EndToEnd,
    Cluster,
}

const KINDS: [Kind; 7] = [
    Kind::Unit,
    Kind::Golden,
    Kind::Property,
    Kind::DataPlane,
    Kind::ApiServer,
    Kind::EndToEnd,
    Kind::Cluster,
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unit => "unit",
            Self::Golden => "golden",
            Self::Property => "property",
            Self::DataPlane => "in-process data plane",
            Self::ApiServer => "API server",
            Self::EndToEnd => "end to end",
            Self::Cluster => "local cluster",
        })
    }
}

/// The tally of a whole run.
#[derive(Debug, Default)]
pub(super) struct Counts {
    tallies: [Tally; KINDS.len()],
    /// Runs that ended badly without a test that says so.
    lost: usize,
    /// What the runner that prints now was built from.
    source: String,
    /// Names of tests that are properties.
    properties: BTreeSet<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counts {
    /// Nothing yet; these tests are properties.
    pub(super) fn with_properties(properties: BTreeSet<String>) -> Self {
        Self { properties, ..Self::default() }
    }

    /// Reads a line that a runner or cargo printed.
    pub(super) fn read(&mut self, line: &str, kind: Option<Kind>) {
        if let Some(started) = line.trim_start().strip_prefix("Running ") {
            started
                .trim_start_matches("unittests ")
                .split(' ')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.source);
        }
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let kind = kind.unwrap_or_else(|| self.kind_of(name));
        let tally = &mut self.tallies[kind as usize];
        match verdict {
            "ok" => tally.passed += 1,
            "FAILED" => tally.failed += 1,
            ignored if ignored.starts_with("ignored") => tally.ignored += 1,
            _ => {}
        }
    }

    /// By the words in its path; integration tests of the gateway are the data plane.
    fn kind_of(&self, name: &str) -> Kind {
        let short = name.rsplit_once("::").map_or(name, |(_, short)| short);
        if self.properties.contains(short) {
            Kind::Property
        } else if self.source.contains("golden") || name.contains("golden") {
            Kind::Golden
        } else if self.source.starts_with("tests/")
            && workspace::root().join("gateway").join(&self.source).exists()
        {
            Kind::DataPlane
        } else {
            Kind::Unit
        }
    }

    /// A run ended badly, and no failed test says why.
    pub(super) fn lost(&mut self) {
        self.lost += 1;
    }

    pub(super) fn passed(&self) -> usize {
        self.tallies.iter().map(|tally| tally.passed).sum()
    }

    pub(super) fn failed(&self) -> usize {
        self.tallies.iter().map(|tally| tally.failed).sum::<usize>() + self.lost
    }

    /// A line a kind that there was something of.
    pub(super) fn table(&self) -> String {
        let lines = KINDS.iter().zip(&self.tallies).map(|(kind, tally)| {
            let ignored =
                if tally.ignored > 0 { format!(", {} ignored", tally.ignored) } else { String::new() };
            format!("{kind:22} {:4} passed, {} failed{ignored}", tally.passed, tally.failed)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runners_are_counted_by_kind() {
        let mut counts = Counts::with_properties(BTreeSet::from(["a_match_is_stable".to_owned()]));
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/portcullis_pki-0)",
            "test gateway::plan::golden::everything ... ok",
            "test route::tests::a_match_is_stable ... FAILED",
            "test wait::tests::a_wait_ends ... ok",
            "test slow ... ignored, needs root",
            "test result: ok. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            counts.read(line, None);
        }
        counts.read("test a_gateway_answers ... ok", Some(Kind::EndToEnd));
        assert_eq!((counts.passed(), counts.failed()), (3, 1));
        let table = counts.table();
        assert!(table.contains("golden                    1 passed, 0 failed"), "{table}");
        assert!(table.contains("unit                      1 passed, 0 failed, 1 ignored"), "{table}");
        assert!(table.contains("end to end                1 passed"), "{table}");
    }

    #[test]
    fn a_run_that_was_lost_is_a_failure() {
        let mut counts = Counts::default();
        counts.lost();
        assert_eq!(counts.failed(), 1);
    }
}
