//! Every command of the documentation is typed by a test, or it is said here why not.
//!
//! A page is typed by tests in `tests/tests`, which read it by `Page::read`. What they do not read must consist of
//! commands that stand on a page that they do, of ours that can be parsed here, or be named in `BY_OTHERS`.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Blocks that those tests do not type: the page, how the block begins, and who sees to it or why nobody can.
const BY_OTHERS: [(&str, &str, &str); 14] = [
    ("ARCHITECTURE.md", "YAML ─►", "a picture"),
    ("docs/reference/cli.md", "$XDG_CONFIG_HOME", "a picture of folders"),
    ("CONTRIBUTING.md", "apt-get install", "packages of a machine: .ci/run installs them"),
    ("CONTRIBUTING.md", "cargo check -p portcullis-operator", "builds: .ci/run does more than these"),
    ("CONTRIBUTING.md", "PORTCULLIS_SEED=42", "gateway/tests/simulation.rs reads both variables"),
    (
        "CONTRIBUTING.md",
        "PORTCULLIS_REVOCATIONS=100",
        "minutes: e2e_revocation.rs and e2e_rotation.rs read them",
    ),
    ("CONTRIBUTING.md", "INSTA_UPDATE=always", "it changes the checkout"),
    (
        "CONTRIBUTING.md",
        "cargo xtask demo",
        "xtask/tests/cluster.rs runs the demo; the others are parsed below",
    ),
    ("README.md", "$ curl --cacert ca.crt", "shortened from what `cargo xtask demo` prints, which tries it"),
    ("README.md", "$ portcullis connector", "the same"),
    ("README.md", "$ portcullis gateway add https", "tests/tests/e2e_cli_tunnel.rs goes this way"),
    ("README.md", "$ portcullis gateway add --from-kube", "docs/how-to/mtls-client.md has it to be typed"),
    (
        "docs/getting-started.md",
        "helm install portcullis",
        "the operator runs already; docs/how-to/install.md",
    ),
    (
        "charts/portcullis/README.md",
        "helm install portcullis .",
        "docs/how-to/install.md, from the folder above",
    ),
];

/// A block of commands.
#[derive(Debug)]
struct Block {
    page: String,
    section: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Files with this ending below a folder of the checkout, or in it.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() && folder.starts_with("docs/") {
            found.extend(files(&format!("{name}/"), ending));
        } else if name.ends_with(ending) {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// All that is for a shell, on all pages.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for page in ["", "charts/portcullis/", "docs/"].iter().flat_map(|folder| files(folder, ".md")) {
        for section in fs::read_to_string(root().join(&page)).unwrap().split("\n## ") {
            for block in section.split("\n```").skip(1).step_by(2) {
                let (language, text) = block.split_once('\n').unwrap();
                if matches!(language, "" | "sh" | "bash" | "console" | "shell") {
                    let section = section.lines().next().unwrap().to_owned();
                    blocks.push(Block { page: page.clone(), section, text: text.to_owned() });
                }
            }
        }
    }
    blocks
}

/// Pages that tests type, with the beginnings of the sections' titles where it is not all of them.
fn typed() -> Vec<(String, Vec<String>)> {
    let mut typed = Vec::new();
    for test in files("tests/tests/", ".rs") {
        let source = fs::read_to_string(root().join(test)).unwrap();
        for call in source.split("Page::read(").skip(1) {
            let (arguments, _) = call.split_once(']').unwrap();
            let mut texts = arguments.split('"').skip(1).step_by(2).map(str::to_owned);
            typed.push((texts.next().unwrap(), texts.collect()));
        }
    }
    typed
}

fn is_typed(block: &Block, typed: &[(String, Vec<String>)]) -> bool {
    typed.iter().any(|(page, sections)| {
        *page == block.page
            && (sections.is_empty() || sections.iter().any(|it| block.section.starts_with(it.as_str())))
    })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let bare = text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim());
    bare.filter(|line| !line.is_empty() && !line.starts_with("# "))
}

#[test]
fn no_command_stands_on_a_page_that_no_test_types() {
    let (blocks, typed) = (blocks(), typed());
    assert!(blocks.len() > 60 && typed.len() > 15, "{} {}", blocks.len(), typed.len());
    let known: BTreeSet<&str> =
        blocks.iter().filter(|it| is_typed(it, &typed)).flat_map(|it| lines(&it.text)).collect();
    let (mut used, mut nobody) = (BTreeSet::new(), Vec::new());
    for block in blocks.iter().filter(|it| !is_typed(it, &typed)) {
        let other = BY_OTHERS.iter().position(|it| it.0 == block.page && block.text.starts_with(it.1));
        used.extend(other);
        let parsed = |line: &str| line.starts_with("cargo xtask ");
        if other.is_none() && !lines(&block.text).all(|line| known.contains(line) || parsed(line)) {
            nobody.push(format!("{}, {}:\n{}", block.page, block.section, block.text));
        }
    }
    assert!(nobody.is_empty(), "no test types these:\n\n{}", nobody.join("\n\n"));
    let idle: Vec<_> = (0..BY_OTHERS.len()).filter(|it| !used.contains(it)).map(|it| BY_OTHERS[it]).collect();
    assert!(idle.is_empty(), "there is no such block that needs a reason: {idle:?}");
}

#[test]
fn every_page_that_is_typed_is_there() {
    for (page, sections) in typed() {
        let text = fs::read_to_string(root().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        for section in sections {
            assert!(text.contains(&format!("\n## {section}")), "{page} has no section {section}");
        }
    }
}

/// What it does takes minutes and is tested elsewhere; that there is such a command is seen by its help.
#[test]
fn every_command_of_xtask_that_a_page_tells_of_is_one() {
    let told: BTreeSet<String> = blocks()
        .iter()
        .flat_map(|block| lines(&block.text))
        .filter_map(|line| line.split("cargo xtask ").nth(1))
        .map(|line| line.split(" -- ").next().unwrap_or_default().replace("HOST/PREFIX", "host/prefix"))
        .collect();
    assert!(told.len() > 6, "{told:?}");
    for command in told {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = xtask.args(command.split_whitespace()).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let rules = fs::read_to_string(root().join("charts/portcullis/files/alerts.yaml")).unwrap();
    let alerts = rules.lines().filter_map(|it| it.trim().trim_start_matches("- ").strip_prefix("alert: "));
    let alerts: BTreeSet<_> = alerts.map(|it| format!("docs/runbooks/{it}.md")).collect();
    let mut pages: BTreeSet<_> = files("docs/runbooks/", ".md").into_iter().collect();
    assert!(pages.remove("docs/runbooks/README.md"));
    assert!(alerts.len() > 10);
    assert_eq!(alerts, pages);
}

#[test]
fn the_index_leads_to_every_page() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in files("docs/", ".md") {
        let inside = page.trim_start_matches("docs/");
        let folder = inside.split_once('/').map_or("", |(folder, _)| folder);
        let listed = match folder {
            "adr" | "runbooks" => index.contains(&format!("({folder}")),
            _ => inside == "README.md" || index.contains(&format!("({inside})")),
        };
        assert!(listed, "docs/README.md does not lead to {page}");
    }
}

#[test]
fn what_every_panel_and_alert_returned_is_written_down() {
    let page = fs::read_to_string(root().join("docs/reference/panels.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: BTreeSet<_> = rows.map(|(row, _)| row.trim_matches('`').to_owned()).collect();
    let mut there = BTreeSet::new();
    for dashboard in ["operator", "gateways", "tunnels"] {
        let file = format!("charts/portcullis/files/dashboards/{dashboard}.json");
        let file = fs::read_to_string(root().join(file)).unwrap();
        let dashboard_file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let panels = dashboard_file["panels"].as_array().unwrap().iter().filter(|it| it["type"] != "row");
        there.extend(panels.map(|it| format!("{dashboard}: {}", it["title"].as_str().unwrap())));
    }
    let rules = fs::read_to_string(root().join("charts/portcullis/files/alerts.yaml")).unwrap();
    let alerts = rules.lines().filter_map(|it| it.trim().trim_start_matches("- ").strip_prefix("alert: "));
    there.extend(alerts.map(str::to_owned));
    let missing: Vec<_> = there.difference(&rows).collect();
    let gone: Vec<_> =
        rows.difference(&there).filter(|it| !it.starts_with("Panel") && !it.starts_with("Alert")).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/reference/panels.md lacks {missing:?}, and has {gone:?}"
    );
}
