//! How the command line wants things printed.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::jsonpath;
use crate::failure::{Exit, Failure};

/// How everything is printed, and how long it may take.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Manners {
    /// How results are printed: table, wide, json, yaml, name, or jsonpath=TEMPLATE such as jsonpath='{.items[*].name}'.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true,
        add = clap_complete::ArgValueCandidates::new(Output::candidates)
    )]
    pub output: Output,

    /// Print no line of titles above a table.
    #[arg(long, global = true)]
    pub no_headers: bool,

    /// Print results, warnings and errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say more of what is done.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Use no colours, as NO_COLOR in the environment does.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// How long a call may take, such as 10s or 2m. Without it, 30s.
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// How results are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with wide terminals.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// A name a line.
    Name,
    /// Parts of the JSON, by a template.
    JsonPath(String),
}

impl Output {
    fn candidates() -> Vec<clap_complete::CompletionCandidate> {
        ["table", "wide", "json", "yaml", "name", "jsonpath="].map(Into::into).into()
    }

    /// Whether it is for programs.
    pub fn is_structured(&self) -> bool {
        matches!(self, Self::Json | Self::Yaml | Self::JsonPath(_))
    }

    pub(super) fn render(&self, value: &Value) -> Result<String, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("failed to print the result: {error}"))
        };
        match self {
            Self::Yaml => serde_norway::to_string(value).map_err(|error| failed(&error)),
            Self::JsonPath(template) => jsonpath::fill(template, value).map_err(|reason| {
                Failure::new(Exit::Usage, format!("failed to read `jsonpath={template}`: {reason}"))
            }),
            _ => serde_json::to_string_pretty(value).map(|it| it + "\n").map_err(|error| failed(&error)),
        }
    }
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            _ => match text.strip_prefix("jsonpath=") {
                Some(template) if !template.is_empty() => Self::JsonPath(template.to_owned()),
                _ => {
                    return Err("write table, wide, json, yaml, name, or jsonpath=TEMPLATE".to_owned());
                }
            },
        })
    }
}

/// A span of time: a number of seconds, or one with `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time, such as 500ms, 10s, 2m or 1h".to_owned();
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let span = match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    };
    span.filter(|it| !it.is_zero() && *it <= Duration::from_hours(30 * 24)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, seconds) in [("10", 10), ("10s", 10), ("2m", 120), ("1h", 3600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "s", "0", "-1s", "1.5s", "1d", "99999999999999999999", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_format_is_one_of_six() {
        assert_eq!("wide".parse(), Ok(Output::Wide));
        assert_eq!("jsonpath={.a}".parse(), Ok(Output::JsonPath("{.a}".to_owned())));
        for bad in ["", "JSON", "jsonpath", "jsonpath=", "go-template={{}}"] {
            assert!(bad.parse::<Output>().is_err(), "{bad}");
        }
    }
}
