//! Opens an address in the person's browser: what BROWSER names, else what the system has for it.

use std::process::Stdio;

use tokio::process::Command;

/// Whether a browser was started. What it makes of the address, nobody knows.
pub(super) fn open(url: &str) -> bool {
    let named = std::env::var("BROWSER").unwrap_or_default();
    commands(&named, url).into_iter().any(|command| start(&command))
}

/// Commands to try, in order: each a program and its arguments. In BROWSER they are parted by colons, and %s stands for the
/// address.
fn commands(named: &str, url: &str) -> Vec<Vec<String>> {
    let systems = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let named =
        named.split(':').map(|it| it.split_whitespace().collect::<Vec<_>>()).filter(|it| !it.is_empty());
    let fill = |words: Vec<&str>| {
        let holds = words.iter().any(|word| word.contains("%s"));
        let filled = words.iter().map(|word| word.replace("%s", url));
        filled.chain((!holds).then(|| url.to_owned())).collect()
    };
    let mut all: Vec<_> = named.map(fill).collect();
    if all.is_empty() {
        all.push(vec![systems.to_owned(), url.to_owned()]);
    }
    all
}

/// It lives on by itself: an interrupt at the terminal is not for it.
fn start(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    child.spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_browser_is_taken_and_told_the_address_once() {
        assert_eq!(
            commands("firefox:chromium --app=%s --new", "https://x/?a=b"),
            [vec!["firefox", "https://x/?a=b"], vec!["chromium", "--app=https://x/?a=b", "--new"]]
        );
    }

    #[test]
    fn without_a_named_one_the_systems_is_asked() {
        let systems = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        assert_eq!(commands("", "https://x"), [[systems, "https://x"]]);
        assert_eq!(commands(" : ", "https://x"), [[systems, "https://x"]]);
    }

    #[tokio::test]
    async fn a_browser_that_is_not_there_was_not_started() {
        assert!(!start(&["no-browser-of-this-name".to_owned(), "https://x".to_owned()]));
    }
}
