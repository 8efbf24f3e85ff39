//! What somebody sees who sits at a terminal of 80 columns.

use std::process::Command;

use crate::home::{Home, Told};

/// Runs it at a terminal (util-linux `script`), with these variables.
fn seen(home: &Home, arguments: &str, variables: &[(&str, &str)]) -> Told {
    let line = format!("stty cols 80 rows 24; {} {arguments}", env!("CARGO_BIN_EXE_portcullis"));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).env_clear();
    script.env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color").env("HOME", home.path(""));
    script.env("XDG_CONFIG_HOME", home.path("config")).envs(variables.iter().copied());
    Told::of(&script.stdin(std::process::Stdio::null()).output().unwrap())
}

#[test]
fn an_error_is_red_there_unless_colours_are_unwanted() {
    let home = Home::new();
    let told = seen(&home, "gateway info", &[]);
    assert!(told.code == Some(3) && told.out.contains("\x1b[1;31merror:\x1b[0m no gateway"), "{told:?}");
    for (arguments, variables) in [
        ("gateway info --no-color", &[][..]),
        ("gateway info", &[("NO_COLOR", "1")]),
        ("gateway info", &[("TERM", "dumb")]),
    ] {
        let told = seen(&home, arguments, variables);
        assert!(told.out.starts_with("error: ") && !told.out.contains('\x1b'), "{told:?}");
    }
}

#[test]
fn a_step_is_shown_while_it_runs_and_goes_when_it_fails() {
    let home = Home::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = format!("gateway add https://{} --timeout 1s", silent.local_addr().unwrap());
    let told = seen(&home, &arguments, &[]);
    assert_eq!(told.code, Some(6), "{told:?}");
    let (spinner, error) = told.out.split_once("\x1b[1;31merror:").unwrap();
    assert!(spinner.contains("trying https://127.0.0.1:"), "{told:?}");
    assert!(spinner.ends_with("\x1b[2K") || spinner.ends_with('\r'), "the line is cleared: {told:?}");
    assert!(error.contains("did not answer within 1s"), "{told:?}");
    let quiet = seen(&home, &format!("{arguments} -q"), &[]);
    assert!(!quiet.out.contains("trying"), "{quiet:?}");
}

#[test]
fn help_and_tables_fit_into_80_columns() {
    let home = Home::new();
    home.stored("shop", r#"{"endpoint":"https://door.shop.example.com:8443","mode":"MutualTLS"}"#);
    for arguments in
        ["-h", "--help", "gateway add --help", "gateway list", "connector -h", "gateway info -g shop"]
    {
        let told = seen(&home, arguments, &[("NO_COLOR", "1")]);
        let longest =
            told.out.lines().filter(|it| !it.contains("Stored in:")).map(|it| it.chars().count()).max();
        assert!(longest.is_some_and(|it| it <= 80), "{arguments}: {longest:?}\n{}", told.out);
    }
}
