//! Archives whose bytes depend on what is in them and on nothing else.

use std::collections::BTreeMap;
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
    for folder in ["man", "man/man1"] {
        tar.folder(&format!("{name}/{folder}"), 0o755)?;
    }
    for (page, text) in manual(out, binary)? {
        tar.file(&format!("{name}/man/man1/{page}"), 0o644, &text)?;
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

/// The manual pages that the command line writes, by name.
fn manual(out: &Path, binary: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = out.join("man");
    command::run(Command::new(binary).args(["--quiet", "man"]).arg(&folder))?;
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(&folder).context("failed to list the manual pages")? {
        let path = entry.context("failed to list the manual pages")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pages.insert(name, fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    fs::remove_dir_all(&folder).context("failed to remove the folder of manual pages")?;
    ensure!(!pages.is_empty(), "the command line wrote no manual pages");
    Ok(pages)
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Says what `portcullis` is asked for here.
    const PROGRAM: &str = r#"#!/bin/sh
if [ -n "$COMPLETE" ]; then echo "complete $0 for $COMPLETE"; exit; fi
mkdir -p "$3"; for page in portcullis portcullis-gateway-add; do echo "$page" > "$3/$page.1"; done
"#;

    #[test]
    fn the_command_line_comes_with_completions_and_manual_pages() {
        let out = workspace::target().join(format!("archive-of-the-tests-{}", std::process::id()));
        fs::create_dir_all(&out).unwrap();
        let binary = out.join("portcullis");
        fs::write(&binary, PROGRAM).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        command_line(&out, &binary).unwrap();
        let name = format!("portcullis-{VERSION}-linux-{}", crate::image::architecture());
        let archive = out.join(format!("{name}.tar.gz"));
        let listed = command::output(Command::new("tar").arg("-tzf").arg(&archive)).unwrap();
        for file in ["portcullis", "LICENSE", "completions/_portcullis", "man/man1/portcullis-gateway-add.1"]
        {
            assert!(listed.lines().any(|it| it == format!("{name}/{file}")), "{file}: {listed}");
        }
        let bash = format!("{name}/completions/portcullis.bash");
        let said = command::output(Command::new("tar").arg("-xzOf").arg(&archive).arg(bash)).unwrap();
        assert_eq!(said.trim(), "complete portcullis for bash");
        fs::remove_dir_all(out).unwrap();
    }

    #[test]
    fn what_is_zipped_twice_is_the_same_and_comes_back() {
        let bytes = vec![7_u8; 300_000];
        let zipped_once = zipped(&bytes).unwrap();
        assert!(zipped_once.len() < 10_000);
        assert_eq!(zipped_once, zipped(&bytes).unwrap());
    }
}
