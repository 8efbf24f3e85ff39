//! The command line against real Gateways: added from the cluster, by a URL, from a file; tried, listed, forgotten.

use std::time::Instant;

use portcullis_tests::command::Home;
use portcullis_tests::door::{Door, text};
use portcullis_tests::real::BRIDGE;

const SPEC: &str = "
clients: [{name: laptop, user: alice, roles: [user], scopes: ['tunnel:write']}]
";

#[tokio::test(flavor = "multi_thread")]
async fn from_a_machine_that_knows_nothing_one_command_makes_a_gateway_known() {
    let door = Door::ready(SPEC).await;
    let home = Home::new();
    let object = format!("{}/door", door.namespace);
    let began = Instant::now();
    let added = home.run(&["gateway", "add", "--from-kube", &object]).await;
    println!("gateway add --from-kube: {:?}\n{}", began.elapsed(), text(&added.stderr));
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert!(text(&added.stderr).contains("takes you for alice"), "{}", text(&added.stderr));

    let name = format!("{}-door", door.namespace);
    let status = home.json(&["gateway", "status"]).await;
    assert_eq!((&status["reachable"], &status["authenticated"]), (&true.into(), &true.into()), "{status}");
    assert_eq!((&status["user"], &status["gateway"]), (&"alice".into(), &object.clone().into()), "{status}");
    assert_eq!((&status["mode"], &status["proof"]), (&"MutualTLS".into(), &"client-certificate".into()));
    assert_eq!(status["scopes"], serde_json::json!(["tunnel:write"]));
    let info = home.json(&["gateway", "info"]).await;
    assert_eq!((&info["name"], &info["chosen_by"]), (&name.clone().into(), &"active".into()), "{info}");
    assert_eq!(home.well(&["gateway", "list", "-o", "name"]).await, format!("{name}\n"));

    // Again, as with a bundle that was renewed: nothing else changes.
    home.well(&["gateway", "add", "--from-kube", &object]).await;
    home.well(&["gateway", "remove", &name]).await;
    assert!(home.fails(&["gateway", "status"], 3).await.contains("no gateway is chosen"));

    // A client that is removed from the spec is denied, and what answers is still reachable.
    home.well(&["gateway", "add", "--from-kube", &object]).await;
    door.apply("{clients: [{name: other}]}").await;
    door.until_ready().await;
    let began = Instant::now();
    let denied = loop {
        let output = home.run(&["gateway", "status", "-o", "json"]).await;
        if output.status.code() == Some(4) {
            break output;
        }
        assert!(
            began.elapsed() < portcullis_tests::PATIENCE,
            "{} {}",
            text(&output.stdout),
            text(&output.stderr)
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let status: serde_json::Value = serde_json::from_slice(&denied.stdout).unwrap();
    assert_eq!((&status["reachable"], &status["authenticated"]), (&true.into(), &false.into()), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_through_the_gateway_with_a_key_of_this_machine_and_goes_with_its_client() {
    let spec = |scope: &str| {
        format!("{{clients: [{{name: laptop, user: alice, scopes: ['{scope}']}}, {{name: ci}}]}}")
    };
    let door = Door::ready(&spec("tunnel:read")).await;
    let home = Home::new();
    let object = format!("{}/door", door.namespace);
    home.well(&["gateway", "add", "--from-kube", &object, "--client", "laptop"]).await;
    let refused = home.fails(&["gateway", "renew"], 4).await;
    assert!(refused.contains("identity:renew"), "{refused}");

    door.apply(&spec("identity:renew")).await;
    door.until_ready().await;
    let folder = format!(".config/portcullis/gateways/{}-door/mtls", door.namespace);
    let stored =
        || ["tls.crt", "tls.key"].map(|it| std::fs::read_to_string(home.path(&folder).join(it)).unwrap());
    let before = stored();
    let renewed = home.json(&["gateway", "renew"]).await;
    let after = stored();
    assert!(before[0] != after[0] && before[1] != after[1], "certificate and key are new");
    assert_eq!(home.json(&["gateway", "status"]).await["user"], "alice");
    let status = door.until_ready().await.status.unwrap();
    let serials: Vec<_> = status.clients[0].renewed.iter().map(|it| it.serial.as_str()).collect();
    assert_eq!(serials, [renewed["serial"].as_str().unwrap()]);

    door.apply("{clients: [{name: ci}]}").await;
    door.until_enforced(renewed["serial"].as_str().unwrap()).await;
    assert!(home.fails(&["gateway", "status"], 4).await.contains("revoked"), "it goes with its client");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_clients_none_is_guessed_and_what_is_not_there_is_said() {
    let door = Door::ready("{clients: [{name: ci}, {name: laptop}]}").await;
    let home = Home::new();
    let object = format!("{}/door", door.namespace);
    let several = home.fails(&["gateway", "add", "--from-kube", &object], 2).await;
    assert!(several.contains("--client with one of: ci, laptop"), "{several}");
    let unknown = home.fails(&["gateway", "add", "--from-kube", &object, "--client", "phone"], 3).await;
    assert!(unknown.contains("there are: ci, laptop"), "{unknown}");
    let gone =
        home.fails(&["gateway", "add", "--from-kube", &format!("{}/nothing", door.namespace)], 3).await;
    assert!(gone.contains("check the name"), "{gone}");
    home.well(&[
        "gateway",
        "add",
        "--from-kube",
        "door",
        "-n",
        &door.namespace,
        "--client",
        "ci",
        "--name",
        "shop",
    ])
    .await;
    assert_eq!(home.json(&["gateway", "status", "-g", "shop"]).await["user"], "ci");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_gateway_of_this_machines_cluster_and_of_another_machines_are_found_by_themselves() {
    let door = Door::ready(SPEC).await;
    let home = Home::new();
    home.well(&["gateway", "add", "--local", "-n", &door.namespace]).await;
    assert_eq!(home.json(&["gateway", "status"]).await["user"], "alice");

    // Another machine that has kubectl and no portcullis; what ssh itself does is tested with a real sshd in cli/.
    let other = Home::new();
    let tools = std::env::var("PORTCULLIS_TEST_BIN").unwrap();
    let ssh =
        format!("#!/bin/sh\nfor command; do :; done\nPATH={tools}:/usr/bin:/bin exec sh -c \"$command\"\n");
    let ssh = other.put("bin/ssh", ssh.as_bytes());
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", ssh.parent().unwrap().display());
    let mut add = other.portcullis(&["gateway", "add", "--remote", "far", "-n", &door.namespace]);
    let added = add.env("PATH", path).output().await.unwrap();
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert!(text(&added.stderr).contains("by kubectl at far"), "{}", text(&added.stderr));
    assert_eq!(other.json(&["gateway", "status"]).await["user"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_by_url_into_a_sealed_file_and_onto_another_machine() {
    let door = Door::ready(SPEC).await;
    let home = Home::new();
    let bundle = door.bundle("laptop").await;
    let url = format!("https://{}", door.address().await);
    let ca = bundle.join("ca.crt");
    // Without a certificate it is found out that one is demanded.
    let host = door.host();
    let demanded =
        home.fails(&["gateway", "add", &url, "--server-name", &host, "--ca", ca.to_str().unwrap()], 4).await;
    assert!(demanded.contains("demands a client certificate") && demanded.contains("--bundle"), "{demanded}");
    let unknown = home.fails(&["gateway", "add", &url, "--server-name", &host], 5).await;
    assert!(unknown.contains("--ca FILE"), "{unknown}");
    let bundle = bundle.to_str().unwrap();
    home.well(&["gateway", "add", &url, "--server-name", &host, "--bundle", bundle, "--name", "shop"]).await;
    assert_eq!(home.json(&["gateway", "status"]).await["user"], "alice");
    // The URL alone finds what is stored for it.
    let by_url = home.json(&["gateway", "status", "--gateway-endpoint", &url]).await;
    assert_eq!((&by_url["name"], &by_url["user"]), (&"shop".into(), &"alice".into()));

    let passphrase = home.put("passphrase", b"correct horse\n");
    let (file, passphrase) = (home.path("shop.age"), passphrase.to_str().unwrap());
    home.well(&["gateway", "export", file.to_str().unwrap(), "--passphrase-file", passphrase]).await;
    let other = Home::new();
    other
        .well(&["gateway", "add", "--bundle", file.to_str().unwrap(), "--passphrase-file", passphrase])
        .await;
    assert_eq!(other.json(&["gateway", "status"]).await["user"], "alice");

    // Whoever believes anybody still shows who they are.
    let insecure = other.run(&["gateway", "status", "--insecure-skip-tls-verify", "-o", "json"]).await;
    assert!(insecure.status.success() && text(&insecure.stderr).contains("warning:"), "{insecure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_tls_is_found_out_by_its_url() {
    let spec = format!(
        "{{replicas: 1, access: {{mode: Plaintext, trustedProxies: ['{BRIDGE}/32']}}, service: {{port: 80}}}}"
    );
    let door = Door::ready(&spec).await;
    let home = Home::new();
    let url = format!("http://{}:80", door.address().await);
    let added = home.run(&["gateway", "add", &url, "--name", "plain"]).await;
    assert!(added.status.success(), "{}", text(&added.stderr));
    let info = home.json(&["gateway", "info"]).await;
    assert_eq!((&info["mode"], &info["name"]), (&"Plaintext".into(), &"plain".into()), "{info}");
    // Nobody is known there without a provider, and that is said.
    let status = home.run(&["gateway", "status", "-o", "json"]).await;
    let said: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&said["reachable"], &said["authenticated"]), (&true.into(), &false.into()), "{said}");
    assert_eq!(status.status.code(), Some(4));
}
