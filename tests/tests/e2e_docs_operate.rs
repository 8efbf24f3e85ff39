//! The guide for whoever runs it, done to the letter: installing, rotating, revoking, looking, logging in, tunnels without a
//! terminal, and what the runbooks say to look at.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use portcullis_tests::chart::HELM;
use portcullis_tests::door::{Door, kubectl, run, tool};
use portcullis_tests::page::{Page, Reader, holds, is_as_shown, root};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::{bring_credentials, drivers};
use portcullis_tests::{install_definitions, is, tunnel, until};
use serde_json::{Value, json};
use tokio::sync::Mutex;

const SYSTEM: &str = "portcullis-system";
const RELEASE: &str = "portcullis";

/// The pages all use the same port of this machine, and some of them the one operator.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The release's values, as the cluster was set up.
async fn values() -> Value {
    let values = HELM.done(SYSTEM, &["get", "values", RELEASE, "--output=json"], "").await;
    serde_json::from_str(&values).unwrap()
}

/// The operator as it was before, for the tests that come next.
async fn install_again(values: &Value) {
    HELM.done(
        SYSTEM,
        &["upgrade", "--install", RELEASE, "--take-ownership", "--force-conflicts"],
        &values.to_string(),
    )
    .await;
    let wait = ["rollout", "status", "deployment/portcullis-operator", "--timeout=240s"];
    kubectl(SYSTEM, &wait, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_taken_away_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/revoke.md", &[]).at(&[("demo", &door.namespace)]);
    assert_eq!(page.commands.matches("not refused").count(), 2, "{}", page.commands);
    let printed = Reader::new().types(&page).await;
    holds(&printed, &["bob", "alice", "\"enforcedAt\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_rotated_back_and_at_once_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/rotate.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    let done = ["\"phase\":\"Publishing\"", "rollback=2026-01", "emergency=stolen-2026-01", "takes you for"];
    holds(&printed, &done);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_seen_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, values) = (Door::ready(&httpbin("[{name: alice}]")).await, values().await);
    let kinds = ["servicemonitors", "podmonitors", "prometheusrules"];
    let kinds = kinds.map(|kind| format!("monitoring.coreos.com_{kind}.yaml"));
    install_definitions(&door.client, &kinds.each_ref().map(String::as_str)).await;
    let page =
        Page::read("docs/how-to/observe.md", &[]).at(&[("-n demo", &format!("-n {}", door.namespace))]);
    let reader = Reader::new();
    reader.has("charts");
    reader.keeps(&door.bundle("alice").await);
    let printed = reader.types(&page).await;
    install_again(&values).await;
    let seen = [
        "servicemonitor.monitoring.coreos.com/portcullis-operator",
        "podmonitor.monitoring.coreos.com/portcullis-gateways",
        "prometheusrule.monitoring.coreos.com/portcullis-operator",
        r#""path":"/get""#,
        "gateway/door",
    ];
    holds(&printed, &seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_kept_without_a_terminal_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let laptop = "{name: laptop, roles: [user], scopes: ['project:read', 'tunnel:read', 'tunnel:write']}";
    let spec = format!("{{tunnels: {{domain: kept.example.com}}, clients: [{laptop}]}}");
    let door = Door::ready(&spec).await;
    let page = Page::read("docs/how-to/keep-a-tunnel.md", &[]).at(&[("demo", &door.namespace)]);
    let reader = Reader::new();
    let _served = reader.serves(18080).await;
    let printed = reader.types(&page).await;
    holds(&printed, &["kept.example.com", "portcullis-door.web.service", "condition met", "here"]);

    // The same Gateway, without the command line.
    let page = Page::read("docs/reference/tunnels-api.md", &[]).at(&[("demo", &door.namespace)]);
    let mut reader = Reader::new();
    reader.hosts.push((door.host(), door.address().await));
    reader.keeps(&door.bundle("laptop").await);
    let printed = reader.types(&page).await;
    holds(&printed, &["\"isDefault\": true", "\"created\": true", "\"name\": \"merry-teal-otter\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::keycloak().await);
    Provider::bring_roots(&door).await;
    let spec = json!({
        "replicas": 1,
        "access": provider.edge_access("portcullis-edge"),
        "oidc": provider.oidc(true),
        "clients": [{ "name": "laptop" }],
        "pki": { "server": { "dnsNames": ["door.example.com"] } },
    });
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
    let issuer = provider.issuer.as_str();
    let page = Page::read("docs/how-to/log-in.md", &[]);
    let page = page.at_shown(&[("https://login.example.com/realms/shop", issuer)]);
    let mut reader = Reader::new();
    reader.hosts.push(provider.resolved());
    reader.hosts.push(("door.example.com".to_owned(), door.address().await));
    reader.keeps(&door.bundle("laptop").await);
    let company = reader.folder.path().join("company-ca.crt");
    std::fs::copy(portcullis_tests::real::roots(), &company).unwrap();
    // A browser of few words, in which alice signs in, and then bob.
    let browser = reader.folder.path().join("browser");
    std::fs::write(&browser, BROWSER).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    reader.variables.push(("BROWSER", browser.display().to_string()));
    reader.variables.push(("CURL_CA_BUNDLE", company.display().to_string()));
    let printed = reader.types(&page).await;
    is_as_shown(&printed, &page);
    holds(&printed, &["CreateTunnel", "bob", "logged out"]);
}

/// Signs in with the form that Keycloak shows: `alice` the first time, `bob` the next.
const BROWSER: &str = r#"#!/bin/bash
set -eu
jar=$(mktemp)
who=alice
[ -e "$HOME/alice-was-here" ] && who=bob
touch "$HOME/alice-was-here"
form=$(curl --silent --fail --location --cookie-jar "$jar" --cookie "$jar" "$1" | sed -n 's/.*action="\([^"]*\)".*/\1/p' | head -1 | sed 's/&amp;/\&/g')
curl --silent --fail --location --output /dev/null --cookie-jar "$jar" --cookie "$jar" --data-urlencode "username=$who" --data-urlencode "password=$who-password" "$form"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_installed_and_uninstalled_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (client, values) = (portcullis_tests::client().await, values().await);
    install_definitions(&client, &["monitoring.coreos.com_servicemonitors.yaml"]).await;
    let installed = tokio::spawn(is_installed()).await;
    let gone = ["delete", "namespace", "shop", "bank", "demo", "--ignore-not-found", "--wait=false"];
    run(tool("kubectl").args(gone), None).await;
    // The tests that come after this one need an operator; what was installed without Helm becomes the release's.
    kubectl(SYSTEM, &["delete", "--ignore-not-found", "deployment/portcullis-operator"], None).await;
    install_again(&values).await;
    installed.unwrap();
}

async fn is_installed() {
    let reader = Reader::new();
    reader.has("charts");
    reader.has("manifests");
    HELM.done(SYSTEM, &["uninstall", RELEASE, "--wait"], "").await;
    let with_helm = Page::read("docs/how-to/install.md", &["With Helm", "Upgrade", "Uninstall"]);
    let printed = reader.types(&with_helm).await;
    holds(
        &printed,
        &[
            "Succeeded",
            "Rollback was a success",
            "release \"portcullis\" uninstalled",
            "gateways.portcullis.dev\" deleted",
        ],
    );
    let rendered = std::fs::read_to_string(reader.folder.path().join("rendered.yaml")).unwrap();
    holds(
        &rendered,
        &["registry.example/team/portcullis-operator:v1", "kind: ServiceMonitor", "namespace: shop"],
    );
    // A namespace that an earlier page has made may still be on its way out.
    run(tool("kubectl").args(["wait", "--for=delete", "namespace/demo", "--timeout=180s"]), None).await;
    run(tool("kubectl").args(["create", "namespace", "demo"]), None).await;
    let without = Page::read("docs/how-to/install.md", &["Without Helm"]);
    let printed = reader.types(&without).await;
    holds(&printed, &["deployment.apps/portcullis-operator serverside-applied"]);
}

/// What a runbook tells to type, with the names of what there is. Each must go well by itself; whether what it prints holds
/// what is looked for is another question.
fn to_type(runbook: &str, names: &[(&str, &str)]) -> String {
    let mut script = String::new();
    let spans = runbook.split('`').skip(1).step_by(2);
    for span in spans.filter(|it| is_a_command(it)) {
        let (command, looked_for) = span.split_once(" | ").unwrap_or((span, "cat"));
        let filled = names.iter().fold(command.to_owned(), |text, (name, here)| text.replace(name, here));
        writeln!(script, "echo '$ '{}", quoted(&filled)).unwrap();
        if filled.contains(" port-forward ") {
            writeln!(script, "{filled} &").unwrap();
        } else {
            let looked_for =
                names.iter().fold(looked_for.to_owned(), |text, (name, here)| text.replace(name, here));
            writeln!(script, "{filled} > printed\n{{ {looked_for}; }} < printed || [ $? = 1 ]").unwrap();
        }
    }
    script
}

/// Whether a span of a page is more than a name: a program of ours or of Kubernetes, and what it is to do.
fn is_a_command(span: &str) -> bool {
    let mut words = span.split(' ');
    matches!(words.next(), Some("kubectl" | "portcullis" | "curl" | "helm")) && words.count() > 1
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_runbooks_goes_well_at_a_gateway_that_is_well() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    bring_credentials(&door).await;
    let (drivers, template) = drivers();
    let spec = json!({
        "tunnels": { "domain": "runbooks.example.com" },
        "clients": [{ "name": "alice" }],
        "drivers": drivers,
        "podTemplate": template,
    });
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    // What is called NAME on the pages is a Gateway, a Tunnel, or a Deployment.
    let tunnelled =
        "{gatewayRef: {name: door}, label: web, endpoint: 'http://localhost:8080', access: {auth: None}}";
    tunnel::apply(&door.client, &door.namespace, "door", tunnelled).await;
    let mut pages: Vec<_> =
        std::fs::read_dir(root().join("docs/runbooks")).unwrap().map(|it| it.unwrap().path()).collect();
    pages.sort();
    let mut page = Page { files: Vec::new(), commands: String::new(), shown: Vec::new() };
    for path in &pages {
        let runbook = std::fs::read_to_string(path).unwrap();
        // A pod that one page has told to delete is not there for the next.
        let find = "POD=$(kubectl -n ITS-NAMESPACE get pods -l portcullis.dev/gateway=NAME --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')";
        let names = [
            ("ITS-NAMESPACE", door.namespace.as_str()),
            ("NAMESPACE", SYSTEM),
            ("NAME", "door"),
            ("POD", "$POD"),
        ];
        let script = to_type(&runbook, &names);
        if script.is_empty() {
            continue;
        }
        let find = names[..3].iter().fold(find.to_owned(), |text, (name, here)| text.replace(name, here));
        let title = path.file_stem().and_then(|it| it.to_str()).unwrap();
        writeln!(page.commands, "echo {title}\n{find}\n{script}kill $(jobs -p) 2>/dev/null || true\nwait")
            .unwrap();
    }
    let printed = Reader::new().types(&page).await;
    println!("{printed}");
    let shown = printed.lines().filter(|it| it.starts_with("$ ")).count();
    assert!(shown > 40, "{shown} commands on {} pages", pages.len());
}

fn httpbin(clients: &str) -> String {
    format!(
        "{{clients: {clients}, backends: [{{name: httpbin, match: {{pathPrefix: /}}, service: {{name: httpbin, port: 80}}}}]}}"
    )
}
