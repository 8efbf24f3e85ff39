use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Made once: that takes longer than using it.
fn scrubber() -> &'static Scrubber {
    static MADE: std::sync::LazyLock<Scrubber> = std::sync::LazyLock::new(|| Scrubber::new().unwrap());
    &MADE
}

/// Each carries a secret as it may stand in a log, an Event or an annotation.
const CARRIERS: [&str; 16] = [
    "Authorization: Bearer @",
    "authorization: Basic @",
    r#"{"level":"WARN","message":"x","headers":{"authorization":"Bearer @"}}"#,
    "got bearer @, which is none",
    "Cookie: CF_Authorization=@; other=@",
    "set-cookie: edge_session=@",
    "GET /callback?code=1&access_token=@&x=1",
    "client_secret=@",
    "{\"refresh_token\":\"@\"}",
    r#"{\"id_token\": \"@\"}"#,
    "DB_PASSWORD='@'",
    "password: @",
    "--token @ --verbose",
    "api-key=@",
    "connecting to postgres://shop:@@database:5432/shop",
    "X-Api-Key: @",
];

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let plain = "failed to fetch token: connection refused; the Secret demo/door-ca is missing, 3 tokens seen\n\
                 -----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nhttps://door.demo.svc:443/get?x=1\n";
    assert_eq!(scrubber().text(plain), plain);
    let mut object = json!({ "spec": {
        "volumes": [{ "name": "tls", "secret": { "secretName": "door-server", "defaultMode": 292 } }],
        "automountServiceAccountToken": false, "imagePullSecrets": [{ "name": "registry" }],
        "env": [{ "name": "API_TOKEN", "valueFrom": { "secretKeyRef": { "name": "driver", "key": "token" } } },
                { "name": "REGION", "value": "north" }],
    } });
    let before = object.clone();
    scrubber().object(&mut object);
    assert_eq!(object, before);
}

#[test]
fn what_only_repeats_the_object_is_gone() {
    let mut object = json!({ "metadata": { "managedFields": [{}], "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes",
    } } });
    scrubber().object(&mut object);
    assert_eq!(object, json!({ "metadata": { "annotations": { "kept": "yes" } } }));
}

proptest! {
    #[test]
    fn a_secret_is_in_no_text_that_carried_it(
        secret in "[A-Za-z0-9+/_.=-]{12,60}", carrier in 0..CARRIERS.len(), before in "[ a-z\n]{0,20}", after in "( [ a-z]{0,20})?"
    ) {
        // Within the name of a user, a slash is written otherwise.
        let secret = if CARRIERS[carrier].contains("://") { secret.replace('/', "_") } else { secret };
        let text = format!("{before}\n{}{after}", CARRIERS[carrier].replace("@@", "\u{1}").replace('@', &secret).replace('\u{1}', &format!("{secret}@")));
        let scrubbed = scrubber().text(&text);
        prop_assert!(!scrubbed.contains(&secret), "{scrubbed}");
        prop_assert!(scrubbed.contains(GONE), "{scrubbed}");
    }

    #[test]
    fn a_private_key_is_gone_also_where_it_was_cut_off(
        kind in "(EC |RSA |ENCRYPTED |OPENSSH )?", body in "[A-Za-z0-9+/=\n]{20,200}", ends in any::<bool>(), before in "[ a-z\n]{0,20}"
    ) {
        let end = if ends { format!("\n-----END {kind}PRIVATE KEY-----") } else { String::new() };
        let text = format!("{before}-----BEGIN {kind}PRIVATE KEY-----\n{body}{end}");
        prop_assert_eq!(scrubber().text(&text), format!("{before}(private key {GONE})"));
    }

    #[test]
    fn a_token_is_gone_wherever_it_stands(
        head in "[A-Za-z0-9_-]{10,40}", body in "[A-Za-z0-9_-]{10,80}", seal in "[A-Za-z0-9_-]{10,80}", around in "[ \"',]"
    ) {
        let token = format!("eyJ{head}.{body}.{seal}");
        let scrubbed = scrubber().text(&format!("it is{around}{token}{around} and so on"));
        prop_assert!(!scrubbed.contains(&body) && !scrubbed.contains(&seal), "{scrubbed}");
    }

    #[test]
    fn a_secret_is_in_no_object_that_carried_it(
        secret in "[A-Za-z0-9]{12,40}",
        name in "(APP_)?(TOKEN|PASSWORD|CLIENT_SECRET|api_key|Passphrase|CREDENTIALS|privateKey|accessKey)",
    ) {
        let mut object = json!({
            "env": [{ "name": name, "value": secret }, { "name": "other", "value": format!("{name}={secret}") }],
            "args": [format!("--{name}={secret}"), format!("--{name}"), secret, "--plain", "kept"],
            "annotations": { &name: secret, "text": format!("{{\"{name}\":\"{secret}\"}}") },
        });
        scrubber().object(&mut object);
        let text = object.to_string();
        prop_assert!(!text.contains(&secret), "{text}");
        prop_assert!(text.contains("kept"), "{text}");
    }

    #[test]
    fn twice_is_once(text in "(token|secret|password|bearer|[=: \"']|[a-z]{3,15}){0,20}") {
        let once = scrubber().text(&text);
        prop_assert_eq!(scrubber().text(&once), once);
    }
}
