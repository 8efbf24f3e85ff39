//! What is told of a Secret: its name, which keys it has, and when certificates in it end. Never what is in it. Pure.

use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::gateways::certificate::shown;

/// A Secret without what makes it one.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    name: String,
    #[serde(rename = "type")]
    type_: String,
    keys: Vec<Key>,
}

/// One of its keys.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    name: String,
    bytes: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Lifetime>,
}

/// From when to when a certificate holds.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lifetime {
    serial: String,
    not_before: String,
    not_after: String,
}

/// What is told of it.
pub(super) fn told(secret: &Secret) -> Told {
    let data = secret.data.iter().flatten();
    let keys = data.map(|(key, value)| Key {
        name: key.clone(),
        bytes: value.0.len(),
        certificates: lifetimes(&value.0),
    });
    Told {
        name: secret.metadata.name.clone().unwrap_or_default(),
        type_: secret.type_.clone().unwrap_or_default(),
        keys: keys.collect(),
    }
}

fn lifetimes(pem: &[u8]) -> Vec<Lifetime> {
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    found
        .filter_map(|der| {
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            let validity = certificate.validity();
            Some(Lifetime {
                serial: certificate.serial.to_str_radix(16),
                not_before: shown(validity.not_before.timestamp()),
                not_after: shown(validity.not_after.timestamp()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBijCCATGgAwIBAgIUQwm5/NfLth3ELRAsRaLtedKcMEkwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPQW4gZXhhbXBsZSByb290MCAXDTI2MTEyNDIwMzU0N1oYDzIx
MjYxMDMxMjAzNTQ3WjAaMRgwFgYDVQQDDA9BbiBleGFtcGxlIHJvb3QwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAATH780j8XfjK9UZTJl17jtsu+1Rpsserlu8XBv2
dAgTRz+t6z22jEoXNiXGdKZnRXR9tX/GhQaT9JWln/qQ9y5wo1MwUTAdBgNVHQ4E
FgQUM1lhHyc092YMLkiBnMWZ7xmMnZMwHwYDVR0jBBgwFoAUM1lhHyc092YMLkiB
nMWZ7xmMnZMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiB8d70+
M7El/6yndH7rS1CVoNo+N/xlib4IkceZ6/6/0gIgOadBmT5g9B5/GgHwRASWafV6
oklzeYMR2hgIw03/3Ak=
-----END CERTIFICATE-----
";

    #[test]
    fn of_a_secret_keys_and_certificates_ends_are_told_and_nothing_that_is_in_it() {
        let secret: Secret = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "door-server" }, "type": "kubernetes.io/tls",
        }))
        .unwrap();
        let hidden = b"-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----\n";
        let bytes = |it: &[u8]| k8s_openapi::ByteString(it.to_vec());
        let data = [
            ("tls.crt", bytes(CERTIFICATE.as_bytes())),
            ("tls.key", bytes(hidden)),
            ("note", bytes(b"hidden")),
        ];
        let secret = Secret { data: Some(data.map(|(key, it)| (key.to_owned(), it)).into()), ..secret };
        let told = serde_json::to_string(&told(&secret)).unwrap();
        assert!(!told.contains("hidden") && !told.contains("MII"), "{told}");
        assert!(told.contains("\"notAfter\":\"2126-10-31T20:35:47Z\""), "{told}");
        assert!(told.contains("\"name\":\"note\",\"bytes\":6}"), "{told}");
    }
}
