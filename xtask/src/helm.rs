//! Helm, and what is installed with it by which name.

use std::process::Command;

use anyhow::Result;

use crate::go::Module;

/// The chart's folder in the checkout.
pub(crate) const CHART: &str = "charts/portcullis";
/// What the release is called.
pub(crate) const RELEASE: &str = "portcullis";
/// The namespace that it is in.
pub(crate) const NAMESPACE: &str = "portcullis-system";

/// A Helm of ours, built on first use.
pub(crate) fn program() -> Result<Command> {
    Ok(Command::new(Module::Helm.programs()?.join("helm")))
}
