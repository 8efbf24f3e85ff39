//! Arguments of `diagnose`.

use std::path::PathBuf;

use clap::Args;

/// What is gathered, and where to.
#[derive(Clone, Debug, Args)]
pub struct Diagnose {
    /// The file, which must not be there yet. Without it, portcullis-diagnose-TIME.tar.gz here.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// The operator's namespace.
    #[arg(long, value_name = "NAME", default_value = "portcullis-system")]
    pub operator_namespace: String,

    /// How many lines of each container's log, the last ones; a megabyte at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = clap::value_parser!(i64).range(0..))]
    pub log_lines: i64,
}
