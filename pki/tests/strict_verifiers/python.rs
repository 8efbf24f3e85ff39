//! The Python tools: from the virtual environment that `PORTCULLIS_PYTHON_TOOLS` names; without it
//! the tests make one of their own, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::run;

/// The interpreter of an environment that holds what `requirements.txt` pins.
pub(crate) fn python() -> Command {
    static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("PORTCULLIS_PYTHON_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => own_environment(),
    });
    Command::new(TOOLS.join("bin/python"))
}

/// Made aside and renamed, so that neither a killed run nor a parallel one leaves half of it.
fn own_environment() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let pins = fs::read(&requirements).unwrap();
    let version = pins.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let finished = place.join(format!("python-tools-{version:08x}"));
    if !finished.exists() {
        let aside = TempDir::new_in(place).unwrap();
        let (made, said) = run(Command::new("python3").args(["-m", "venv"]).arg(aside.path()));
        assert!(made, "failed to make a virtual environment (Debian: python3-venv): {said}");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        let python = aside.path().join("bin/python");
        let (installed, said) = run(Command::new(python).args(install).arg(&requirements));
        assert!(installed, "failed to install the Python tools: {said}");
        // Where another run was faster, its own is used and this one dropped.
        if fs::rename(aside.path(), &finished).is_ok() {
            let _ = aside.keep();
        }
    }
    finished
}
