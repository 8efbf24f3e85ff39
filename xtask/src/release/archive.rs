//! Archives whose bytes depend on what is in them and on nothing else.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use crate::image::tar::Tar;
use crate::{command, say, workspace};

/// Shells whose completions come along, and where.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "completions/portcullis.bash"),
    ("zsh", "completions/_portcullis"),
    ("fish", "completions/portcullis.fish"),
];

/// The command line with what belongs to it, for this machine's system.
pub(super) fn command_line(out: &Path, binary: &Path) -> Result<()> {
    let name = format!("portcullis-{VERSION}-linux-{}", crate::image::architecture());
    let step = say::step(format!("{name}.tar.gz"));
    let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
    let mut tar = Tar::default();
    tar.folder(&name, 0o755)?;
    for file in ["LICENSE", "README.md"] {
        tar.file(&format!("{name}/{file}"), 0o644, &read(&workspace::root().join(file))?)?;
    }
    tar.folder(&format!("{name}/completions"), 0o755)?;
    for (shell, path) in SHELLS {
        if let Some(script) = completion(binary, shell) {
            tar.file(&format!("{name}/{path}"), 0o644, script.as_bytes())?;
        }
    }
    tar.file(&format!("{name}/portcullis"), 0o755, &read(binary)?)?;
    fs::write(out.join(format!("{name}.tar.gz")), zipped(&tar.finish())?).context("failed to write it")?;
    step.done();
    Ok(())
}

/// What the command line says that a shell should know; None where it does not.
fn completion(binary: &Path, shell: &str) -> Option<String> {
    let script = command::output(Command::new(binary).env("COMPLETE", shell)).ok()?;
    // It names the program by where it was run from.
    (!script.trim().is_empty()).then(|| script.replace(&binary.display().to_string(), "portcullis"))
}

/// `gzip` of bytes, without a name and a time.
pub(super) fn zipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip")
        .args(["--no-name", "--best", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start gzip")?;
    let mut stdin = gzip.stdin.take().context("gzip has no input")?;
    let fed = bytes.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&fed));
    let output = gzip.wait_with_output().context("failed to wait for gzip")?;
    let fed = feeding.join().ok().and_then(Result::ok);
    ensure!(output.status.success() && fed.is_some(), "gzip failed ({})", output.status);
    Ok(output.stdout)
}

/// What git has of the checkout, changes included, in another folder.
pub(super) fn copy_of_the_source(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).context("failed to make a folder")?;
    let listed = command::output(Command::new("git").current_dir(workspace::root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for file in listed.lines() {
        let (from, to) = (workspace::root().join(file), folder.join(file));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).context("failed to make a folder")?;
        }
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("failed to copy {file}"))?;
        }
    }
    Ok(folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zipped_twice_is_the_same_and_comes_back() {
        let bytes = vec![7_u8; 300_000];
        let zipped_once = zipped(&bytes).unwrap();
        assert!(zipped_once.len() < 10_000);
        assert_eq!(zipped_once, zipped(&bytes).unwrap());
    }
}
