//! `gateway add --remote`: what goes to `ssh`, and what is said of what comes back. A gateway that answers is in
//! `tests/tests/e2e_cli.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::home::{Home, Told, read};

/// An `ssh` that notes its arguments and what it was handed, and then does this.
fn ssh(home: &Home, then: &str) {
    let calls = home.path("calls").display().to_string();
    let handed = home.path("handed").display().to_string();
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {calls}\ncat >> {handed}\nfor command; do :; done\n{then}\n");
    home.script("bin/ssh", &script);
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
    let export = "-T -- me@far portcullis --quiet gateway export - --passphrase-file -";
    assert_eq!(calls.lines().collect::<Vec<_>>(), [export, export]);
    let handed = read(&home.path("handed"));
    let passphrases: Vec<_> = handed.lines().collect();
    assert!(passphrases.len() == 2 && passphrases[0].len() == 64 && passphrases[0] != passphrases[1]);
}

/// Makes a key pair in a file.
fn key(path: &Path) {
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-f"];
    assert!(Command::new("ssh-keygen").args(arguments).arg(path).status().unwrap().success());
}

#[test]
fn through_a_real_sshd_the_gateway_of_another_home_is_taken_in() {
    let (home, far) = (Home::new(), Home::new());
    far.stored("shop", r#"{"endpoint":"https://127.0.0.1:1","mode":"MutualTLS"}"#);
    far.put("config/portcullis/active_gateway", "shop\n");
    let there = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().unwrap().display().to_string();
    let at = |name: &str| home.path(name).display().to_string();
    for name in ["host", "user", "other"] {
        key(&home.path(name));
    }
    // Of the user who runs the tests, without a port: ssh talks to it by a pipe.
    let server = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSetEnv XDG_CONFIG_HOME={} PATH={there}:/usr/bin:/bin\n",
        at("host"),
        at("user.pub"),
        far.path("config").display()
    );
    let server = home.put("sshd_config", &server);
    let sshd = "/usr/sbin/sshd";
    assert!(Path::new(sshd).exists(), "apt-get install --no-install-recommends openssh-server");
    // Where it runs as root, it wants this folder, which Debian makes at the start of the machine.
    drop(fs::create_dir_all("/run/sshd"));
    let client = |known: &str| {
        home.put("known_hosts", &format!("far {}", read(&home.path(known))));
        let text = format!(
            "Host far\n  ProxyCommand {sshd} -i -e -f {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {}\n  LogLevel ERROR\n",
            server.display(),
            at("user"),
            at("known_hosts")
        );
        let config = home.put("ssh_config", &text);
        let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display());
        home.script("bin/ssh", &script);
        let mut command = home.command(&["gateway", "add", "--remote", "far"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
        Told::of(&command.output().unwrap())
    };
    let told = client("host.pub");
    assert!(told.err.contains("far knows the gateway shop"), "{told:?}");
    assert!(
        told.code == Some(5) && told.err.contains("https://127.0.0.1:1"),
        "it is tried from here: {told:?}"
    );
    // Whom to believe stays ssh's affair.
    let told = client("other.pub");
    assert!(told.code == Some(5) && told.err.contains("failed to reach far by ssh"), "{told:?}");
    assert!(!home.config("gateways/shop").exists());
}
