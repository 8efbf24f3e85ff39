//! What each program is made of, as CycloneDX: one file a program, by `cargo cyclonedx`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::VERSION;
use crate::images::SHIPPED;
use crate::{cache, command, say};

const TOOL: &str = "cargo-cyclonedx";
const TOOL_VERSION: &str = "0.5.9";

/// Packages of the programs that are shipped, in the same order.
const FOLDERS: [&str; SHIPPED.len()] = ["operator", "gateway", "cli"];

/// Writes them.
pub(super) fn materials(out: &Path) -> Result<()> {
    let tool = tool()?;
    let step = say::step("what the programs are made of");
    let target = crate::images::host_triple()?;
    // It writes beside each Cargo.toml: into a copy, so that the checkout stays as it is.
    let copy = out.with_extension("bill");
    cache::remove(&copy)?;
    let source = super::archive::copy_of_the_source(&copy)?;
    let made = FOLDERS.iter().zip(SHIPPED).try_for_each(|(folder, (name, _))| {
        let mut cyclonedx = Command::new(&tool);
        cyclonedx.args(["cyclonedx", "--format", "json", "--target", &target, "--override-filename", "bill"]);
        cyclonedx.arg("--manifest-path").arg(source.join(folder).join("Cargo.toml"));
        cyclonedx.current_dir(&source).env("SOURCE_DATE_EPOCH", "0");
        command::run(&mut cyclonedx)?;
        let path = source.join(folder).join("bill.json");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let bill = settled(&text, &source)?;
        fs::write(out.join(format!("{name}-{VERSION}.cdx.json")), bill).context("failed to write a bill")
    });
    cache::remove(&copy)?;
    made?;
    step.done();
    Ok(())
}

/// Without what differs from one making to the next: its number, its time, and where the source was.
fn settled(text: &str, source: &Path) -> Result<String> {
    let mut bill: Value = serde_json::from_str(text).context("the bill is no JSON")?;
    if let Some(bill) = bill.as_object_mut() {
        bill.remove("serialNumber");
    }
    if let Some(metadata) = bill["metadata"].as_object_mut() {
        metadata.remove("timestamp");
    }
    let components = bill["components"].as_array().map_or(0, Vec::len);
    ensure!(components > 20, "the bill lists {components} components, which are too few to be all");
    let text = serde_json::to_string_pretty(&bill).context("failed to write a bill")?;
    Ok(text.replace(&source.display().to_string(), "/portcullis") + "\n")
}

/// The tool, built on first use; unoptimised, since it runs for a second.
fn tool() -> Result<PathBuf> {
    let folder = cache::built(&format!("{TOOL}-{TOOL_VERSION}"), |folder| {
        let step = say::step(format!("{TOOL} (once)"));
        let mut cargo = Command::new("cargo");
        cargo.current_dir("/").args(["install", "--quiet", "--locked", "--debug", "--root"]).arg(folder);
        command::run(cargo.arg(format!("{TOOL}@{TOOL_VERSION}")))?;
        step.done();
        Ok(())
    })?;
    Ok(folder.join("bin").join(TOOL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_says_nothing_of_when_and_where_it_was_made() {
        let components: Vec<_> =
            (0..30).map(|number| serde_json::json!({ "purl": format!("file:///tmp/x/{number}") })).collect();
        let text = serde_json::json!({ "serialNumber": "urn:uuid:1", "metadata": { "timestamp": "now" }, "components": components });
        let settled = settled(&text.to_string(), Path::new("/tmp/x")).unwrap();
        for gone in ["serialNumber", "timestamp", "/tmp/x"] {
            assert!(!settled.contains(gone), "{settled}");
        }
        assert!(super::settled("{\"metadata\": {}, \"components\": []}", Path::new("/tmp/x")).is_err());
    }
}
