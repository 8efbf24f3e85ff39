//! A gateway whose authority is an intermediate of somebody else's: what it shows leads to the root, and of what is below that
//! root only what the intermediate has signed comes in.

use portcullis_pki::{Authority, read_brought};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::AlertDescription;
use time::Duration;

use crate::handshake::alert;
use crate::support::{Backend, Door, eventually, pki};

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) =
        (pki::now() - Duration::days(1), pki::now() + Duration::days(365));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A root, and intermediates below it.
fn company(names: &[&str]) -> (Authority, Vec<Authority>) {
    let key = KeyPair::generate().unwrap();
    let root = params("root").self_signed(&key).unwrap().pem();
    let below = names.iter().map(|name| {
        let signer = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        let signer = Issuer::from_ca_cert_pem(&root, signer).unwrap();
        let own = KeyPair::generate().unwrap();
        let certificate = params(name).signed_by(&own, &signer).unwrap().pem();
        read_brought(1, &certificate, &root, &own.serialize_pem()).unwrap()
    });
    let below = below.collect();
    (read_brought(1, &root, "", &key.serialize_pem()).unwrap(), below)
}

#[tokio::test]
async fn what_is_shown_leads_to_the_root_and_only_what_the_intermediate_has_signed_comes_in() {
    let (root, intermediates) = company(&["issuing", "other"]);
    let [issuing, other] = &intermediates[..] else { panic!("two") };
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    let server = pki::server(issuing);
    door.write_pair(&server);
    door.snapshot.trust = vec![issuing.certificate_pem.clone()];
    door.snapshot.server_fingerprint.clone_from(&server.facts.fingerprint);
    door.write_snapshot();
    let ours = pki::client_config(&root, Some(&pki::client(issuing, "ci")), "h2");
    eventually("it shows the new certificate", || async { door.tls_with(ours.clone()).await.is_ok() }).await;
    let stream = door.tls_with(ours).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(shown, pki::chain(&server), "the leaf, and what leads to the root");
    assert_eq!(shown.len(), 2);

    let theirs = pki::client_config(&root, Some(&pki::client(other, "ci")), "h2");
    assert_eq!(alert(&door, theirs).await, AlertDescription::UnknownCA);
    let of_root = pki::client_config(&root, Some(&pki::client(&root, "ci")), "h2");
    assert_eq!(alert(&door, of_root).await, AlertDescription::UnknownCA);
}
