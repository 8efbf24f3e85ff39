//! Gateways on their way elsewhere and back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::home::{Home, read};

const SHOP: &str = r#"{"endpoint":"https://shop.example:8443","mode":"MutualTLS","project":"p"}"#;

fn home() -> Home {
    let home = Home::new();
    home.stored("shop", SHOP);
    for (file, text) in [("ca.crt", "CA"), ("tls.crt", "CERTIFICATE"), ("tls.key", "PRIVATE KEY")] {
        home.put(&format!("config/portcullis/gateways/shop/mtls/{file}"), text);
    }
    home.put("config/portcullis/gateways/shop/edge_token", "a.b.c");
    home
}

#[test]
fn a_sealed_file_holds_all_and_shows_nothing() {
    let home = home();
    let passphrase = home.put("passphrase", "correct horse\n");
    let file = home.path("shop.age");
    let arguments = [
        "gateway",
        "export",
        "-g",
        "shop",
        file.to_str().unwrap(),
        "--passphrase-file",
        passphrase.to_str().unwrap(),
    ];
    home.well(&arguments);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sealed = fs::read(&file).unwrap();
    for hidden in [&b"PRIVATE"[..], b"shop.example", b"a.b.c"] {
        assert!(!sealed.windows(hidden.len()).any(|it| it == hidden));
    }
    let again = home.run(&arguments);
    assert!(again.code == Some(7) && again.err.contains("nothing is overwritten"), "{again:?}");

    let wrong = home.put("wrong", "incorrect horse\n");
    let told = Home::new().run(&[
        "gateway",
        "add",
        "--bundle",
        file.to_str().unwrap(),
        "--passphrase-file",
        wrong.to_str().unwrap(),
    ]);
    assert!(told.code == Some(4) && told.err.contains("the passphrase is another one"), "{told:?}");
    let asked = home.run(&["gateway", "export", "-g", "shop", "elsewhere"]);
    assert!(
        asked.code == Some(2) && asked.err.contains("--passphrase-file"),
        "without a terminal: {asked:?}"
    );
}

#[test]
fn openshell_s_folder_is_written_and_taken_in_again() {
    let home = home();
    let folder = home.path("openshell");
    home.well(&["gateway", "export", "-g", "shop", folder.to_str().unwrap(), "--form", "openshell"]);
    assert_eq!(read(&folder.join("active_gateway")), "shop");
    let metadata: serde_json::Value =
        serde_json::from_str(&read(&folder.join("gateways/shop/metadata.json"))).unwrap();
    assert_eq!(metadata["gateway_endpoint"], "https://shop.example:8443");
    assert_eq!(metadata["auth_mode"], "mtls");
    assert_eq!(read(&folder.join("gateways/shop/mtls/tls.key")), "PRIVATE KEY");
    assert!(!folder.join("gateways/shop/edge_token").exists(), "tokens go along only where that is said");

    let other = Home::new();
    let told = other.well(&["gateway", "import", folder.to_str().unwrap()]);
    assert!(told.err.contains("shop at https://shop.example:8443"), "{told:?}");
    assert_eq!(read(&other.config("gateways/shop/mtls/tls.key")), "PRIVATE KEY");
    assert!(!other.config("active_gateway").exists(), "nothing was tried, so nothing is active");
    let again = other.run(&["gateway", "import", folder.to_str().unwrap()]);
    assert!(again.code == Some(7) && again.err.contains("--replace"), "{again:?}");
}

#[test]
fn an_older_layout_beside_ours_is_taken_in() {
    let home = Home::new();
    home.put(
        "config/openshell/clusters/cloud_metadata.json",
        r#"{"name":"cloud","gateway_endpoint":"https://cloud.example","auth_mode":"cloudflare_jwt","is_remote":true,"gateway_port":443}"#,
    );
    home.put("config/openshell/clusters/cloud/edge_token", "a.b.c");
    home.put("config/openshell/active_cluster", "cloud");
    home.well(&["gateway", "import"]);
    let told = home.well(&["gateway", "info", "-g", "cloud", "-o", "jsonpath={.mode} {.logged_in}"]);
    assert_eq!(told.out, "Edge true\n");
}
