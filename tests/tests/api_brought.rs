//! An authority that somebody else has issued, by openssl, in a Secret: taken, followed, refused in words, and kept in use
//! where its Secret goes.

use kube::Client;
use portcullis_api::{Gateway, RotationPhase};
use portcullis_operator::world::Kind;
use portcullis_tests::company::{Company, Keys, Signed, delete_secret, put_config_map, put_secret};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, obedient, ready_pod, secret};
use portcullis_tests::settled::settled;
use portcullis_tests::{apply, children, client, is, message, namespace, until, until_child};

const SPEC: &str = "{clients: [{name: alice}], pki: {ca: {secretRef: {name: example-issuing-ca}, publishFor: 0s, retireAfter: 1s}}}";

async fn bring(client: &Client, namespace: &str, company: &Company, issuing: &Signed) {
    let data = [("tls.crt", &*issuing.certificate), ("tls.key", &issuing.key), ("ca.crt", &company.root())];
    put_secret(client, namespace, "example-issuing-ca", &data).await;
}

fn is_signed_by(subject: &'static str, generation: i64) -> impl Fn(&Gateway) -> bool {
    move |gateway| {
        let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
        ca.is_some_and(|ca| {
            let brought = ca.brought.as_ref().map(|brought| brought.subject.as_str());
            (ca.phase, ca.generation, brought) == (RotationPhase::Stable, generation, Some(subject))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_of_an_authority_that_openssl_made_lead_to_its_root_for_openssl() {
    for keys in [Keys::Ec, Keys::Rsa] {
        let client = client().await;
        let namespace = namespace(&client).await;
        let company = Company::new("Example", keys);
        let operator = Operator::start(&namespace).await;
        apply(&client, &namespace, "door", SPEC).await.unwrap();
        let waits =
            until(&client, &namespace, "door", is("CertificatesReady", "False", "SecretNotFound")).await;
        let said = message(&waits, "CertificatesReady");
        assert!(
            said.starts_with("Secret example-issuing-ca, which spec.pki.ca.secretRef names, is not there."),
            "{said}"
        );
        bring(&client, &namespace, &company, &company.issuing(1)).await;
        until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
        until(&client, &namespace, "door", is_signed_by("CN=Example Issuing CA 1", 1)).await;
        for (name, side) in [("door-server", "sslserver"), ("door-client-alice", "sslclient")] {
            let data = secret(&client, &namespace, name).await;
            assert_eq!(company.verify(&data["tls.crt"], side), Ok(()), "{name}");
            assert_eq!(data["ca.crt"], company.root());
        }
        operator.stop().await;
        settled(&client, &namespace, "door").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_into_the_secret_takes_over_in_phases_and_what_cannot_sign_is_refused() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let company = Company::new("Example", Keys::Ec);
    let (first, second) = (company.issuing(1), company.issuing(2));
    bring(&client, &namespace, &company, &first).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let serves = obedient(client.clone(), namespace.clone(), &operator);

    let swapped = Signed { certificate: second.certificate.clone(), key: first.key.clone() };
    bring(&client, &namespace, &company, &swapped).await;
    let warned = until(&client, &namespace, "door", is("Warning", "True", "AuthorityRefused")).await;
    let said = message(&warned, "Warning");
    assert!(said.contains("the private key does not match the certificate"), "{said}");
    assert!(is_signed_by("CN=Example Issuing CA 1", 1)(&warned), "{:#?}", warned.status);
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;

    bring(&client, &namespace, &company, &second).await;
    until(&client, &namespace, "door", is_signed_by("CN=Example Issuing CA 2", 2)).await;
    let data = secret(&client, &namespace, "door-client-alice").await;
    assert_eq!(company.verify(&data["tls.crt"], "sslclient"), Ok(()));

    // Whoever begins anew finds it where it was kept.
    delete_secret(&client, &namespace, "example-issuing-ca").await;
    until(&client, &namespace, "door", is("Warning", "True", "SecretNotFound")).await;
    serves.abort();
    operator.stop().await;
    let operator = Operator::start(&namespace).await;
    let serves = obedient(client.clone(), namespace.clone(), &operator);
    apply(&client, &namespace, "door", &SPEC.replace("{name: alice}", "{name: alice}, {name: bob}"))
        .await
        .unwrap();
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    let data = secret(&client, &namespace, "door-client-bob").await;
    assert_eq!(company.verify(&data["tls.crt"], "sslclient"), Ok(()));
    serves.abort();
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_of_other_authorities_are_told_as_they_are_written_and_missed_in_words() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let company = Company::new("Example", Keys::Ec);
    let operator = Operator::start(&namespace).await;
    let spec = "{access: {clientAuthorities: [{name: corp, caBundleRef: {name: corp-roots}, identities: [{uri: 'spiffe://corp.example/team/*'}]}]}}";
    apply(&client, &namespace, "door", spec).await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    let missing = until(&client, &namespace, "door", is("ResolvedRefs", "False", "RootsNotFound")).await;
    let said = message(&missing, "ResolvedRefs");
    assert!(
        said.starts_with("access.clientAuthorities[corp]: ConfigMap corp-roots is not there: make it"),
        "{said}"
    );

    put_config_map(&client, &namespace, "corp-roots", &[("ca.crt", "words")]).await;
    let empty = |gateway: &Gateway| {
        message(gateway, "ResolvedRefs").contains("ca.crt of ConfigMap corp-roots has no roots to trust")
    };
    until(&client, &namespace, "door", empty).await;

    put_config_map(&client, &namespace, "corp-roots", &[("ca.crt", &company.root())]).await;
    until(&client, &namespace, "door", is("ResolvedRefs", "True", "ResolvedRefs")).await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    let mut replica = Replica::attach_soon(operator.control, &shows, "door-1").await;
    let (_, read) = replica.snapshot().await;
    assert_eq!(read.client_authorities[0].roots, company.root());
    let other = Company::new("Other", Keys::Ec);
    put_config_map(&client, &namespace, "corp-roots", &[("ca.crt", &other.root())]).await;
    while replica.snapshot().await.1.client_authorities[0].roots != other.root() {}
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_in_a_config_map_for_as_long_as_they_are_to_be_and_the_certificate_of_public_names_in_the_status()
 {
    let client = client().await;
    let namespace = namespace(&client).await;
    let company = Company::new("Example", Keys::Ec);
    let operator = Operator::start(&namespace).await;
    let spec = "{pki: {publishTrust: true}, tunnels: {domain: t.example.com, certificateRef: {name: t-example-com}}}";
    apply(&client, &namespace, "door", spec).await.unwrap();
    let warned = until(&client, &namespace, "door", is("Warning", "True", "PublicCertificateUnusable")).await;
    let said = message(&warned, "Warning");
    assert!(said.starts_with("Secret t-example-com of spec.tunnels.certificateRef is not there: "), "{said}");
    until_child(&client, &namespace, Kind::ConfigMap, "door-trust", |it| it.is_some()).await;
    let trust = children(&client, &namespace, Kind::ConfigMap).get("door-trust").await.unwrap();
    let server = secret(&client, &namespace, "door-server").await;
    assert_eq!(trust.data["data"]["ca.crt"], server["ca.crt"].as_str());

    // Whatever it names: it is its time that is told.
    let public = company.client("public", &["https://t.example.com"]);
    let data = [("tls.crt", &*public.certificate), ("tls.key", &public.key)];
    put_secret(&client, &namespace, "t-example-com", &data).await;
    let shown = |gateway: &Gateway| {
        let status = gateway.status.as_ref().and_then(|status| status.public_certificate.as_ref());
        status.is_some_and(|shown| shown.not_after.ends_with('Z') && shown.fingerprint.len() == 64)
    };
    let told = until(&client, &namespace, "door", shown).await;
    assert!(told.status.unwrap().conditions.iter().all(|it| it.type_ != "Warning"));

    apply(&client, &namespace, "door", "{pki: {publishTrust: false}}").await.unwrap();
    until_child(&client, &namespace, Kind::ConfigMap, "door-trust", |it| it.is_none()).await;
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}
