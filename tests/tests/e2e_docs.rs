//! The guide, done to the letter: what a reader types, in the order of the page.

use std::path::Path;
use std::process::Stdio;

use portcullis_tests::door::{run, text, tool};
use tokio::process::Command;

/// The commands of a page's sections, whose titles begin like this. One that says at its end that it is refused must be.
fn commands(page: &str, sections: &[&str]) -> String {
    let mut commands = Vec::new();
    for section in page.split("\n## ").filter(|it| sections.iter().any(|title| it.starts_with(title))) {
        for block in section.split("\n```").skip(1).step_by(2) {
            for line in block.lines().skip(1) {
                match line.split_once(" # ") {
                    Some((command, said)) if said.ends_with("refused") => {
                        let refused = format!("echo 'not refused: {command}' >&2; exit 1");
                        commands.push(format!("if {command}; then {refused}; fi"));
                    }
                    _ => commands.push(line.to_owned()),
                }
            }
        }
    }
    commands.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_first_five_minutes_do_what_the_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/getting-started.md")).unwrap();
    // The operator runs already.
    let commands = commands(&page, &["2.", "3.", "4."]);
    assert!(commands.lines().count() > 12 && commands.contains("not refused"), "{commands}");

    // What the reader has: the checkout's examples, a service at the port of the example, and the programs.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        root.canonicalize().unwrap().join("manifests"),
        folder.path().join("manifests"),
    )
    .unwrap();
    std::fs::write(folder.path().join("index.html"), "from the reader's machine").unwrap();
    let mut served = Command::new("python3");
    served.args(["-m", "http.server", "18080", "--bind", "127.0.0.1"]).current_dir(&folder);
    let _served = served.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let cli = std::env::var("PORTCULLIS_CLI_BIN").unwrap();
    let cli = Path::new(&cli).parent().unwrap();
    let tools = std::env::var("PORTCULLIS_TEST_BIN").unwrap();
    let path = format!("{tools}:{}:{}", cli.display(), std::env::var("PATH").unwrap());

    let script = format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{commands}");
    let mut bash = Command::new("bash");
    bash.args(["-euc", &script]).current_dir(&folder).env("PATH", path).kill_on_drop(true);
    let output = bash.stdin(Stdio::null()).output().await.unwrap();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{printed}\n{said}");
    for wanted in ["\"X-Portcullis-User\"", "alice@example.com", "from the reader's machine"] {
        assert!(printed.contains(wanted), "{wanted} is not among\n{printed}\n{said}");
    }
    run(tool("kubectl").args(["delete", "namespace", "demo", "--wait=false"]), None).await;
}
