//! `cargo xtask bench`: ours and a peer in turns on one machine in one run, a row a measure.
//!
//! What is measured, and how, is in a file of its own for each bench; here is what all of them share.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::say;

mod gateway;
mod operator;
mod tunnel;

/// A bench by its name. Benches are added here.
const BENCHES: &[&dyn Bench] = &[
    &gateway::apply::Apply,
    &gateway::auth::Auth,
    &gateway::Gateway,
    &operator::Operator,
    &tunnel::Tunnel,
    &tunnel::ready::Ready,
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which bench
    name: String,
    /// Write the figures of every round and the verdicts here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each side is measured; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Something that is measured against a peer.
trait Bench: Sync {
    /// What it is asked for by.
    fn name(&self) -> &'static str;
    /// What is measured, in the order of the rows.
    fn measures(&self) -> &'static [Measure];
    /// Starts whatever both sides need; what it hands back is dropped when all rounds are done.
    fn prepare(&self) -> Result<Box<dyn Contest>>;
}

/// The two sides, started.
trait Contest {
    /// Measures one side once: one figure for each measure that it has, by the measure's name.
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>>;
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Peer,
}

/// One row.
#[derive(Debug, Clone, Copy, Serialize)]
struct Measure {
    name: &'static str,
    unit: &'static str,
    target: Target,
}

/// What counts as reached.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Target {
    /// Ours is at least so many times the peer's.
    RatioAtLeast(f64),
    /// Ours is at most so many times the peer's.
    RatioAtMost(f64),
    /// Ours is at most this, whatever the peer does.
    AtMost(f64),
    /// Only told.
    None,
}

/// A measure with what came of it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    measure: Measure,
    ours: Option<f64>,
    peer: Option<f64>,
    ratio: Option<f64>,
    reached: Option<bool>,
    ours_rounds: Vec<f64>,
    peer_rounds: Vec<f64>,
}

/// Runs a bench; says whether every target was reached.
pub(crate) fn act(options: &Options) -> Result<bool> {
    let Some(bench) = BENCHES.iter().find(|bench| bench.name() == options.name) else {
        let known: Vec<_> = BENCHES.iter().map(|bench| bench.name()).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        bail!("there is no bench '{}'; known: {known}", options.name)
    };
    let step = say::step(format!("bench {}: prepared", options.name));
    let mut contest = bench.prepare()?;
    step.done();
    let mut figures = Vec::new();
    for round in 1..=options.rounds {
        // whoever goes first goes last in the next round: neither always gets the warmer machine
        let sides = if round % 2 == 1 { [Side::Ours, Side::Peer] } else { [Side::Peer, Side::Ours] };
        for side in sides {
            let step = say::step(format!("round {round} of {}: {side:?}", options.rounds));
            figures.extend(contest.round(side)?.into_iter().map(|(name, figure)| (side, name, figure)));
            step.done();
        }
    }
    drop(contest);
    let rows: Vec<_> = bench.measures().iter().map(|measure| row(*measure, &figures)).collect();
    say::result(table(&rows));
    if let Some(path) = &options.json {
        let text = serde_json::to_vec_pretty(&serde_json::json!({"bench": options.name, "measures": rows}))?;
        std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(rows.iter().all(|row| row.reached != Some(false)))
}

fn row(measure: Measure, figures: &[(Side, &str, f64)]) -> Row {
    let of = |wanted: Side| -> Vec<f64> {
        let mine = figures.iter().filter(|(side, name, _)| *side == wanted && *name == measure.name);
        mine.map(|(.., figure)| *figure).collect()
    };
    let (ours_rounds, peer_rounds) = (of(Side::Ours), of(Side::Peer));
    let (ours, peer) = (median(&ours_rounds), median(&peer_rounds));
    let ratio = ours.zip(peer).filter(|(_, peer)| *peer != 0.0).map(|(ours, peer)| ours / peer);
    Row {
        measure,
        ours,
        peer,
        ratio,
        reached: reached(measure.target, ours, ratio),
        ours_rounds,
        peer_rounds,
    }
}

/// The middle of the figures, or of the two in the middle.
fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

/// Whether a target is reached; a target whose figures are missing is not, and without a target there is nothing to say.
fn reached(target: Target, ours: Option<f64>, ratio: Option<f64>) -> Option<bool> {
    match target {
        Target::RatioAtLeast(bound) => Some(ratio.is_some_and(|ratio| ratio >= bound)),
        Target::RatioAtMost(bound) => Some(ratio.is_some_and(|ratio| ratio <= bound)),
        Target::AtMost(bound) => Some(ours.is_some_and(|ours| ours <= bound)),
        Target::None => None,
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["MEASURE", "OURS", "PEER", "RATIO", "TARGET", "VERDICT"].map(str::to_owned);
    let body = rows.iter().map(|row| {
        let figure = |value: Option<f64>| {
            value.map_or("-".to_owned(), |value| format!("{} {}", rounded(value), row.measure.unit))
        };
        [
            row.measure.name.to_owned(),
            figure(row.ours),
            figure(row.peer),
            row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x")),
            match row.measure.target {
                Target::RatioAtLeast(bound) => format!(">= {bound}x"),
                Target::RatioAtMost(bound) => format!("<= {bound}x"),
                Target::AtMost(bound) => format!("<= {bound} {}", row.measure.unit),
                Target::None => "-".to_owned(),
            },
            match row.reached {
                Some(true) => "reached".to_owned(),
                Some(false) => "MISSED".to_owned(),
                None => "-".to_owned(),
            },
        ]
    });
    let lines: Vec<_> = std::iter::once(head).chain(body).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let shown = lines.iter().map(|line| {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// Three digits that matter.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_target_without_figures_is_missed() {
        assert_eq!(reached(Target::RatioAtLeast(0.95), None, None), Some(false));
        assert_eq!(reached(Target::RatioAtLeast(0.95), Some(1.0), Some(0.95)), Some(true));
        assert_eq!(reached(Target::RatioAtMost(1.1), Some(1.0), Some(1.2)), Some(false));
        assert_eq!(reached(Target::AtMost(11.0), Some(11.0), None), Some(true));
        assert_eq!(reached(Target::None, None, None), None);
    }

    #[test]
    fn a_row_compares_the_medians_of_its_own_measure() {
        let measure = Measure { name: "requests", unit: "/s", target: Target::RatioAtLeast(0.95) };
        let figures = [
            (Side::Ours, "requests", 90.0),
            (Side::Peer, "requests", 100.0),
            (Side::Ours, "requests", 110.0),
            (Side::Ours, "memory", 7.0),
            (Side::Ours, "requests", 1000.0),
        ];
        let row = row(measure, &figures);
        assert_eq!(
            (row.ours, row.peer, row.ratio, row.reached),
            (Some(110.0), Some(100.0), Some(1.1), Some(true))
        );
        assert_eq!(
            table(&[row]),
            "MEASURE   OURS    PEER    RATIO  TARGET    VERDICT\nrequests  110 /s  100 /s  1.10x  >= 0.95x  reached"
        );
    }
}
