//! Tunnels without a terminal: units for systemd, and why a process in the background ended.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::home::{Home, Told, read};

const SHOP: &str = r#"{"endpoint":"https://127.0.0.1:1","mode":"MutualTLS"}"#;

/// A `systemctl` that notes how it was called, and ends with this.
fn systemctl(home: &Home, code: i32, words: &str) {
    let calls = home.path("calls").display().to_string();
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {calls}\necho '{words}'\necho '{words}' >&2\nexit {code}\n");
    home.script("bin/systemctl", &script);
}

fn run(home: &Home, arguments: &[&str]) -> Told {
    let mut command = home.command(arguments);
    command.env("PATH", home.path("bin")).env("PORTCULLIS_CLIENT_SECRET", "hunter2");
    Told::of(&command.output().unwrap())
}

#[test]
fn a_tunnel_becomes_a_unit_that_systemd_is_told_of_and_is_no_more_when_it_is_uninstalled() {
    let home = Home::new();
    home.stored("shop", SHOP);
    systemctl(&home, 0, "active");
    let install = ["tunnel", "service", "install", "-g", "shop", "--endpoint", "3000", "--label", "web"];
    let told = run(&home, &install);
    assert_eq!((told.code, told.out.as_str()), (Some(0), "shop.http-localhost-3000\n"), "{told:?}");
    assert!(told.err.contains("PORTCULLIS_CLIENT_SECRET is not written"), "{}", told.err);
    let name = "portcullis-shop.http-localhost-3000.service";
    let path = home.path("config/systemd/user").join(name);
    let unit = read(&path);
    for line in [
        "\"--gateway\" \"shop\" \"tunnel\" \"listen\" \"--endpoint=3000\" \"--protocol=http\" \"--label=web\"\n",
        "Restart=on-failure\n",
        "WantedBy=default.target\n",
    ] {
        assert!(unit.contains(line), "{line} is not in\n{unit}");
    }
    assert!(!unit.contains("hunter2"), "{unit}");
    let calls = || read(&home.path("calls"));
    assert_eq!(calls(), format!("--user daemon-reload\n--user enable --now {name}\n"));
    let listed = run(&home, &["tunnel", "service", "status", "-o", "json"]).out;
    assert!(listed.contains("\"state\": \"active\""), "{listed}");

    let told = run(&home, &["tunnel", "service", "uninstall", "other"]);
    assert!(told.code == Some(3) && told.err.contains("there are: shop.http-localhost-3000"), "{told:?}");
    assert_eq!(run(&home, &["tunnel", "service", "uninstall"]).code, Some(0));
    assert!(!path.exists() && calls().contains(&format!("--user disable --now {name}\n")), "{}", calls());
    assert_eq!(run(&home, &["tunnel", "service", "uninstall"]).code, Some(3));
}

#[test]
fn without_systemd_the_unit_is_there_and_it_is_said_what_to_run() {
    let home = Home::new();
    home.stored("shop", SHOP);
    let install = ["tunnel", "service", "install", "-g", "shop", "--endpoint", "3000"];
    let told = run(&home, &install);
    assert!(told.code == Some(0) && told.err.contains("there is no systemctl here"), "{told:?}");
    assert!(
        told.err.contains("run `systemctl --user daemon-reload && systemctl --user enable --now"),
        "{told:?}"
    );
    systemctl(&home, 1, "Failed to connect to bus");
    let told = run(&home, &install);
    assert!(told.code == Some(0) && told.err.contains("not started: Failed to connect to bus"), "{told:?}");
    let told = run(&home, &["tunnel", "service", "install", "--gateway-endpoint", "https://x", "-e", "3000"]);
    assert!(told.code == Some(2) && told.err.contains("portcullis gateway add"), "{told:?}");
}

#[test]
fn why_a_process_in_the_background_ended_is_said_as_if_it_had_been_in_front() {
    let home = Home::new();
    home.stored("shop", SHOP);
    let front = home.run(&["tunnel", "listen", "-g", "shop", "--endpoint", "3000"]);
    let back = home.run(&["tunnel", "listen", "-g", "shop", "--endpoint", "3000", "--detach"]);
    assert_eq!(back.code, Some(5), "{back:?}");
    assert_eq!(back.code, front.code);
    let error = |told: &Told| told.err.lines().find(|line| line.starts_with("error: ")).map(str::to_owned);
    assert!(error(&back).is_some() && error(&back) == error(&front), "{front:?} {back:?}");
    let log = home.path(".local/state/portcullis/tunnels/shop.http-localhost-3000.log");
    assert!(read(&log).contains("error: "));
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        !log.with_extension("json").exists() || !read(&log.with_extension("json")).contains("https://web")
    );
}
