//! A unit of the user's systemd, as text: it starts `tunnel listen` with the person's session and again when it fails. No
//! secret is in it: what a gateway is shown is in the configuration directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};
use crate::store::base;

const PREFIX: &str = "portcullis-";
const SUFFIX: &str = ".service";

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    key: String,
    folder: PathBuf,
}

impl Unit {
    /// The unit of this key, whether it is there or not.
    pub(crate) fn of(key: &str) -> Result<Self, Failure> {
        Ok(Self { key: key.to_owned(), folder: folder()? })
    }

    /// Those that are installed, by name.
    pub(crate) fn all() -> Result<Vec<Self>, Failure> {
        let folder = folder()?;
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let keys = names.filter_map(|name| Some(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.to_owned()));
        let mut units: Vec<_> = keys.map(|key| Self { key, folder: folder.clone() }).collect();
        units.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(units)
    }

    /// What `tunnel service` calls it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What systemd calls it.
    pub(crate) fn name(&self) -> String {
        format!("{PREFIX}{}{SUFFIX}", self.key)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(self.name())
    }

    /// Writes it, whole.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let path = self.path();
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, format!("failed to write {}: {error}", path.display()))
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let aside = self.folder.join(format!(".{}.new", self.name()));
        fs::write(&aside, text).map_err(failed)?;
        fs::rename(&aside, &path).map_err(failed)
    }

    pub(crate) fn remove(&self) -> Result<(), Failure> {
        let path = self.path();
        fs::remove_file(&path).map_err(|error| {
            Failure::new(Exit::Failed, format!("failed to remove {}: {error}", path.display()))
        })
    }
}

/// Where a user's own units are.
fn folder() -> Result<PathBuf, Failure> {
    let none = || Failure::new(Exit::Failed, "there is no home to write a unit to").hint("set HOME");
    base("XDG_CONFIG_HOME", ".config").map(|base| base.join("systemd/user")).ok_or_else(none)
}

/// The unit's text. A setting of the configuration directory goes along, since systemd does not know the shell's.
pub(crate) fn text(program: &Path, arguments: &[String], about: &str, config: Option<&str>) -> String {
    let program = program.display().to_string();
    let command: Vec<_> =
        std::iter::once(&program).chain(arguments).map(|argument| quoted(argument, true)).collect();
    let environment = config
        .map(|config| format!("Environment={}\n", quoted(&format!("XDG_CONFIG_HOME={config}"), false)))
        .unwrap_or_default();
    format!(
        "[Unit]\nDescription={}\nAfter=network-online.target\nStartLimitIntervalSec=0\n\n\
         [Service]\nExecStart={}\n{environment}Restart=on-failure\nRestartSec=5\n\
         # Wrong arguments stay wrong.\nRestartPreventExitStatus=2\n\
         # Requests in flight finish first.\nTimeoutStopSec=40\n\n\
         [Install]\nWantedBy=default.target\n",
        about.replace('%', "%%"),
        command.join(" ")
    )
}

/// As systemd reads one word: `%` is a specifier everywhere, `$` a variable in commands.
fn quoted(word: &str, is_command: bool) -> String {
    let mut text = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n");
    if is_command {
        text = text.replace('$', "$$");
    }
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_would_read_otherwise_is_written_so_that_it_does_not() {
        let arguments = ["listen".to_owned(), "a b\"$HOME%n\\".to_owned()];
        let text = text(Path::new("/opt/my tools/portcullis"), &arguments, "100% mine", Some("/x y"));
        assert!(
            text.contains("\nExecStart=\"/opt/my tools/portcullis\" \"listen\" \"a b\\\"$$HOME%%n\\\\\"\n"),
            "{text}"
        );
        assert!(text.contains("\nDescription=100%% mine\n"), "{text}");
        assert!(text.contains("\nEnvironment=\"XDG_CONFIG_HOME=/x y\"\n"), "{text}");
    }
}
