//! `gateway add --remote`: what goes to `ssh`, and what is said of what comes back. A gateway that answers is in
//! `tests/tests/e2e_cli.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::home::{Home, Told, read};

/// An `ssh` that notes its arguments and what it was handed, and then does this.
fn ssh(home: &Home, then: &str) {
    let calls = home.path("calls").display().to_string();
    let handed = home.path("handed").display().to_string();
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {calls}\ncat >> {handed}\nfor command; do :; done\n{then}\n");
    let at = home.put("bin/ssh", &script);
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

fn add(home: &Home) -> Told {
    let mut command = home.command(&["gateway", "add", "--remote", "me@far"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    Told::of(&command.output().unwrap())
}

#[test]
fn what_ssh_and_the_programs_there_say_is_handed_on_with_what_to_do() {
    let home = Home::new();
    for (then, code, said) in [
        (
            "echo 'ssh: connect to host far port 22: Connection refused' >&2; exit 255",
            5,
            "does `ssh me@far true` go well?",
        ),
        ("exit 127", 3, "me@far has no `portcullis` that knows a gateway, and no `kubectl`"),
        ("echo 'error: the disk is full' >&2; echo 'hint: make room' >&2; exit 1", 1, "hint: make room"),
        ("echo rubbish", 2, "failed to open the file"),
        (
            "case $command in kubectl*) echo '{\"items\":[]}';; *) exit 127;; esac",
            3,
            "there is no Gateway at me@far",
        ),
        (
            "case $command in kubectl*) echo 'error: forbidden' >&2; exit 1;; *) exit 3;; esac",
            1,
            "kubectl at me@far failed: forbidden",
        ),
    ] {
        ssh(&home, then);
        let told = add(&home);
        assert_eq!(told.code, Some(code), "{then}: {told:?}");
        assert!(told.err.contains(said), "{then}: {}", told.err);
    }
    let mut command = home.command(&["gateway", "add", "--remote", "me@far"]);
    let told = Told::of(&command.env("PATH", home.path("")).output().unwrap());
    assert!(told.code == Some(1) && told.err.contains("there is no `ssh`"), "{told:?}");
    let told = home.run(&["gateway", "add", "--remote=-oProxyCommand=x"]);
    assert!(told.code == Some(2) && told.err.contains("USER@HOST"), "{told:?}");
}

#[test]
fn what_opens_the_bundle_is_no_argument_and_another_one_each_time() {
    let home = Home::new();
    ssh(&home, "exit 1");
    add(&home);
    add(&home);
    let calls = read(&home.path("calls"));
    let export = "-T -- me@far portcullis --quiet gateway export - --passphrase-file /dev/stdin";
    assert_eq!(calls.lines().collect::<Vec<_>>(), [export, export]);
    let handed = read(&home.path("handed"));
    let passphrases: Vec<_> = handed.lines().collect();
    assert!(passphrases.len() == 2 && passphrases[0].len() == 64 && passphrases[0] != passphrases[1]);
}
