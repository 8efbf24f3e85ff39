//! Another machine, by the system's `ssh`: which knows its host key, its users and their keys. What is read comes by standard
//! output, and what is secret goes by standard input: never as an argument, never to a file.

use std::process::Stdio;
use std::str::FromStr;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::failure::{Exit, Failure};

/// What `ssh` itself ends with when it comes to nothing.
const SSH_FAILED: i32 = 255;

/// A machine, as `ssh` takes it: HOST, USER@HOST or a name of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote(String);

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "@.-_:[]%".contains(letter);
        // What begins with a hyphen would be an option.
        if text.is_empty() || text.starts_with('-') || !text.chars().all(is_plain) {
            return Err("write HOST or USER@HOST, as ssh takes it".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command there that has ended with another number than 0.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// What it said on standard error.
    pub(crate) said: String,
}

impl Remote {
    /// Runs a command there, for its shell, and hands it this; what it prints.
    ///
    /// # Errors
    /// Where it could not be run.
    pub(crate) async fn run(&self, command: &str, input: &[u8]) -> Result<Result<Vec<u8>, Ended>, Failure> {
        let failed = |error: std::io::Error| {
            match error.kind() {
            std::io::ErrorKind::NotFound => Failure::new(Exit::Failed, "there is no `ssh` on this machine")
                .hint("install OpenSSH's client, or take the bundle over in a file: `portcullis gateway export`"),
            _ => Failure::new(Exit::Failed, format!("failed to run ssh: {error}")),
        }
        };
        let mut ssh = Command::new("ssh");
        ssh.args(["-T", "--", &self.0, command]).kill_on_drop(true);
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever has ended already reads nothing, and says why.
            let _ = stdin.write_all(input).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(Ok(output.stdout)),
            Some(SSH_FAILED) => {
                let last = said.lines().last().unwrap_or("ssh said nothing").to_owned();
                Err(Failure::new(Exit::Unreachable, format!("failed to reach {self} by ssh: {last}"))
                    .hint(format!("does `ssh {self} true` go well?")))
            }
            code => Ok(Err(Ended { code, said })),
        }
    }
}

impl Ended {
    /// A line that begins so, without that.
    pub(crate) fn line(&self, prefix: &str) -> Option<String> {
        self.said.lines().rev().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::Remote;

    #[test]
    fn a_machine_is_no_option_and_nothing_for_a_shell() {
        for good in ["host", "me@host.example.com", "me@[::1]", "my_host"] {
            assert!(good.parse::<Remote>().is_ok(), "{good}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a\nb", "ssh://a/b"] {
            assert!(bad.parse::<Remote>().is_err(), "{bad}");
        }
    }
}
