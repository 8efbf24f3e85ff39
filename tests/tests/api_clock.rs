//! Certificates over weeks, with a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use portcullis_api::Gateway;
use portcullis_operator::clock::{Clock as _, SetClock, SystemClock};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::secret;
use portcullis_tests::{apply, client, is, namespace, until};
use serde_json::json;
use time::Duration;

struct Life {
    client: Client,
    namespace: String,
    operator: Operator,
    clock: Arc<SetClock>,
    others: usize,
}

impl Life {
    async fn begin() -> Self {
        let client = client().await;
        let namespace = namespace(&client).await;
        let clock = Arc::new(SetClock::new(SystemClock.now()));
        let operator = Operator::start_with(&namespace, |_| {}, Arc::default(), clock.clone()).await;
        apply(&client, &namespace, "door", "clients: [{name: alice}]").await.unwrap();
        until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
        Self { client, namespace, operator, clock, others: 0 }
    }

    /// Moves the clock on and has the Gateway visited; returns what that wrote of it.
    async fn pass(&mut self, span: Duration) -> Vec<String> {
        let before = self.operator.script.writes().len();
        self.clock.advance(span);
        let api: Api<Gateway> = Api::namespaced(self.client.clone(), &self.namespace);
        let touch =
            json!({ "metadata": { "annotations": { "example.com/at": self.clock.now().to_string() } } });
        api.patch("door", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        // Whoever comes after it in the queue is done after it.
        for _ in 0..2 {
            self.others += 1;
            let other = format!("other-{}", self.others);
            apply(&self.client, &self.namespace, &other, "clients: []").await.unwrap();
            until(&self.client, &self.namespace, &other, is("CertificatesReady", "True", "Issued")).await;
        }
        let mut writes = self.operator.script.writes().split_off(before);
        writes.retain(|write| write.contains("/door"));
        writes
    }

    /// What is in the Secrets now.
    async fn secrets(&self) -> [BTreeMap<String, String>; 3] {
        let read = |name| secret(&self.client, &self.namespace, name);
        [read("door-ca").await, read("door-server").await, read("door-client-alice").await]
    }
}

#[tokio::test]
async fn a_server_certificate_is_renewed_after_two_thirds_of_a_week_and_a_bundle_after_those_of_a_month() {
    let mut life = Life::begin().await;
    let [authority, server, bundle] = life.secrets().await;
    assert_eq!(life.pass(Duration::days(4)).await, Vec::<String>::new(), "nothing is due after four days");

    let writes = life.pass(Duration::days(1)).await;
    assert!(!writes.is_empty());
    let [same_authority, renewed, same_bundle] = life.secrets().await;
    assert_eq!((&same_authority, &same_bundle), (&authority, &bundle));
    for key in ["tls.crt", "tls.key", "control.crt", "control.key"] {
        assert_ne!(renewed[key], server[key], "{key} is new");
    }
    for key in ["ca.crt", "control-ca.crt"] {
        assert_eq!(renewed[key], server[key], "{key} stays");
    }
    let touched = |writes: &[String], name: &str| writes.iter().any(|it| it.ends_with(name));
    assert!(touched(&writes, "/secrets/door-server") && touched(&writes, "/configmaps/door-config"));
    assert!(!touched(&writes, "/deployments/door"), "no pod is restarted: {writes:#?}");
    assert_eq!(life.pass(Duration::hours(1)).await, Vec::<String>::new(), "once is enough");

    // To the twenty-first day, in steps that every renewal falls into.
    for _ in 0..3 {
        life.pass(Duration::days(4)).await;
    }
    let [same_authority, _, same_bundle] = life.secrets().await;
    assert_eq!((&same_authority, &same_bundle), (&authority, &bundle), "nothing of the bundle by day 17");
    life.pass(Duration::days(4)).await;
    let [same_authority, _, renewed] = life.secrets().await;
    assert_eq!(same_authority, authority);
    assert_ne!(renewed["tls.crt"], bundle["tls.crt"]);
    assert_ne!(renewed["tls.key"], bundle["tls.key"], "with a new key");
    assert_eq!(renewed["ca.crt"], bundle["ca.crt"]);
    assert_eq!(life.pass(Duration::hours(1)).await, Vec::<String>::new());
    let gateway = until(&life.client, &life.namespace, "door", |_| true).await;
    let status = gateway.status.unwrap();
    let end = |text: &str| {
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    let now = life.clock.now();
    assert!(end(&status.server_certificate.unwrap().not_after) > now + Duration::days(2));
    assert!(end(&status.clients[0].certificate.not_after) > now + Duration::days(29));
    life.operator.stop().await;
}
