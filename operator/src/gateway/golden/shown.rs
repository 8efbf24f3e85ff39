//! Writes a case's outcome as YAML that is the same in every run: certificates by what they say, keys and digests by
//! what they are.

use base64::Engine as _;
use serde_json::{Value, json};
use x509_parser::pem::Pem;

/// The outcome, readable and repeatable.
pub(crate) fn shown(outcome: &Value) -> String {
    serde_norway::to_string(&shown_value(outcome)).unwrap()
}

fn shown_value(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let secret =
                    matches!(key.rsplit_once('.'), Some((_, "crt" | "key" | "chain" | "root" | "csr")))
                        || key == "course.json"
                        || key == "request.json";
                let value = if secret { shown_secret(value) } else { shown_value(value) };
                let shown = match key.as_str() {
                    "serial" => json!("<serial>"),
                    "revoked" => {
                        value.as_array().map(|all| json!(vec!["<serial>"; all.len()])).unwrap_or(value)
                    }
                    _ => value,
                };
                (key.split(' ').map(shown_word).collect::<Vec<_>>().join(" "), shown)
            })
            .collect(),
        Value::Array(items) => items.iter().map(shown_value).collect(),
        Value::String(text) => shown_text(text),
        other => other.clone(),
    }
}

fn shown_secret(value: &Value) -> Value {
    let text = value.as_str().unwrap();
    // A ConfigMap has it as it is.
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else { return shown_text(text) };
    shown_text(&String::from_utf8(bytes).unwrap())
}

fn shown_text(text: &str) -> Value {
    if text.starts_with("-----BEGIN PRIVATE KEY-----") {
        return json!("<private key>");
    }
    // In base64 too.
    if text.starts_with("-----BEGIN CERTIFICATE REQUEST-----")
        || text.starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNU")
    {
        return json!("<request>");
    }
    if text.starts_with("-----BEGIN CERTIFICATE-----") {
        let certificates = Pem::iter_from_buffer(text.as_bytes()).map(|pem| {
            let pem = pem.unwrap();
            let certificate = pem.parse_x509().unwrap();
            let names = certificate.subject_alternative_name().unwrap().map(|names| {
                names.value.general_names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            });
            let validity = certificate.validity();
            format!(
                "{} by {}, {} to {}, {}",
                certificate.subject(),
                certificate.issuer(),
                validity.not_before,
                validity.not_after,
                names.unwrap_or_else(|| "no names".to_owned()),
            )
        });
        return json!(certificates.collect::<Vec<_>>());
    }
    if let Ok(document) = serde_json::from_str::<Value>(text)
        && document.is_object()
    {
        return shown_value(&document);
    }
    json!(text.split(' ').map(shown_word).collect::<Vec<_>>().join(" "))
}

fn shown_word(word: &str) -> String {
    let digits = word.trim_matches(|it: char| !it.is_ascii_alphanumeric());
    let is_fingerprint = digits.len() == 64 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let is_version = digits.len() == 16 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let is_key_id = digits.len() == 40 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    if let Some((_, digest)) = digits.rsplit_once('-').filter(|(name, _)| name.contains("-ca-"))
        && digest.len() == 8
        && digest.bytes().all(|it| it.is_ascii_hexdigit())
    {
        return word.replace(digest, "<key>");
    }
    match (is_fingerprint, is_version, is_key_id) {
        (true, ..) => word.replace(digits, "<fingerprint>"),
        (_, true, _) => word.replace(digits, "<version>"),
        (.., true) => word.replace(digits, "<key id>"),
        _ => word.to_owned(),
    }
}
