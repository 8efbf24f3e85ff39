//! Authorities that are asked for: what is kept of a request until it is answered, and what cert-manager's object says of
//! it. When one is made, and what becomes of the answer, is `gateway/plan/request.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::IssuerRef;
use portcullis_pki::{KeyAlgorithm, PrivateKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::child::text;

/// What is asked, beside the request itself and its key.
const ASKED: &str = "request.json";
const REQUEST: &str = "request.csr";
const KEY: &str = "request.key";
/// Characters of what others say that are repeated.
const LONGEST: usize = 300;

/// A request that is to be answered, or was and is not taken yet: all that is needed to make it again.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What is asked.
    pub asked: Asked,
    /// PKCS #10, PEM.
    pub request_pem: String,
    /// The key that it is for: here, and in no other place.
    pub key: PrivateKey,
}

/// What is asked, of whom, and how often it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What the CertificateRequest is called.
    pub name: String,
    /// Who is asked.
    pub issuer: IssuerRef,
    /// The kind of its key, by its name.
    pub key: String,
    /// How long it is to hold, in seconds.
    pub seconds: i64,
    /// When it was made.
    #[serde(with = "time::serde::timestamp")]
    pub since: OffsetDateTime,
    /// How often it was asked for in a row, with this.
    pub attempt: u32,
    /// The last thing that annotations had asked for by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<String>,
}

impl Asked {
    /// Whether that is what would be asked now.
    pub fn is_of(&self, issuer: &IssuerRef, key: KeyAlgorithm) -> bool {
        self.issuer == *issuer && self.key == key.as_str()
    }
}

impl Pending {
    /// Reads its Secret. None where something is missing: it is asked anew.
    pub fn read(secret: &Secret) -> Option<Self> {
        let [asked, request_pem, key] = [ASKED, REQUEST, KEY].map(|key| text(secret, key));
        let asked = serde_json::from_str(&asked).ok()?;
        let whole = !request_pem.is_empty() && !key.is_empty();
        whole.then(|| Self { asked, request_pem, key: PrivateKey::from_pem(key) })
    }

    /// What its Secret holds: names and values.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn data(&self) -> serde_json::Result<Vec<(String, String)>> {
        Ok(vec![
            (ASKED.to_owned(), serde_json::to_string(&self.asked)?),
            (REQUEST.to_owned(), self.request_pem.clone()),
            (KEY.to_owned(), self.key.expose().to_owned()),
        ])
    }
}

/// What cert-manager's object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet, or why there is nothing yet.
    Waits(Option<String>),
    /// Whoever approves requests denied it; why.
    Denied(String),
    /// It is no good request, or the issuer could not carry it out; why.
    Failed(String),
    /// Certificates, the authority's first, and the root where the issuer knows it. PEM.
    Issued {
        /// The certificate, and those above it.
        certificates: String,
        /// What the issuer calls its root; may be empty.
        root: String,
    },
}

impl Answer {
    /// Reads an object.
    pub fn of(object: &Value) -> Self {
        let status = &object["status"];
        let conditions = || status["conditions"].as_array().into_iter().flatten();
        let named = |kind: &str| conditions().find(|it| it["type"] == kind);
        let holds = |kind: &str| named(kind).filter(|it| it["status"] == "True");
        if let Some(denied) = holds("Denied") {
            return Self::Denied(said(denied));
        }
        if let Some(invalid) = holds("InvalidRequest") {
            return Self::Failed(said(invalid));
        }
        let certificates = decoded(&status["certificate"]);
        match named("Ready") {
            Some(ready) if ready["status"] == "True" && !certificates.is_empty() => {
                Self::Issued { certificates, root: decoded(&status["ca"]) }
            }
            Some(ready) if ready["reason"] == "Failed" || ready["reason"] == "Denied" => {
                Self::Failed(said(ready))
            }
            Some(ready) => Self::Waits(Some(said(ready))),
            None if holds("Approved").is_some() => {
                Self::Waits(Some("approved, and no issuer has taken it up".to_owned()))
            }
            None => Self::Waits(None),
        }
    }
}

/// A value that is kept as base64.
fn decoded(value: &Value) -> String {
    let bytes = serde_json::from_value::<k8s_openapi::ByteString>(value.clone()).unwrap_or_default();
    String::from_utf8(bytes.0).unwrap_or_default()
}

/// Reason and message of a condition, on one line and of bounded length.
fn said(condition: &Value) -> String {
    let [reason, message] = ["reason", "message"].map(|field| condition[field].as_str().unwrap_or_default());
    let text = if message.is_empty() { reason.to_owned() } else { message.to_owned() };
    let plain = text.chars().map(|it| if it.is_control() { ' ' } else { it });
    let mut text: String = plain.take(LONGEST).collect();
    text.truncate(text.trim_end().len());
    text
}

/// Whether there are CertificateRequests to look at, in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Requests {
    /// Nobody has looked yet.
    #[default]
    Unread,
    /// They are looked at.
    There,
    /// There is no such kind.
    Missing,
    /// The operator may not look; why.
    Forbidden(String),
}

/// The same, by what is looked at: a namespace, or all of them.
#[derive(Debug, Default)]
pub(super) struct Looked(HashMap<Option<String>, Requests>);

impl Looked {
    /// Notes what there is; false where that is no news.
    pub(super) fn put(&mut self, scope: Option<&str>, requests: Requests) -> bool {
        let known = self.0.entry(scope.map(str::to_owned)).or_default();
        let is_other = *known != requests;
        *known = requests;
        is_other
    }

    pub(super) fn holds(&self, scope: Option<&str>, requests: &Requests) -> bool {
        self.0.get(&scope.map(str::to_owned)) == Some(requests)
    }

    pub(super) fn at(&self, namespace: &str) -> Requests {
        let everywhere = self.0.get(&None);
        everywhere.or_else(|| self.0.get(&Some(namespace.to_owned()))).cloned().unwrap_or_default()
    }
}

/// cert-manager's object, as the watch reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// Name, owner, labels.
    pub metadata: ObjectMeta,
    /// What is asked.
    #[serde(default)]
    pub spec: Value,
    /// What became of it.
    #[serde(default)]
    pub status: Value,
}

impl kube::Resource for CertificateRequest {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "CertificateRequest".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "cert-manager.io".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "certificaterequests".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(conditions: &Value) -> Answer {
        Answer::of(
            &json!({ "status": { "conditions": conditions, "certificate": "Y2VydA==", "ca": "cm9vdA==" } }),
        )
    }

    #[test]
    fn an_answer_is_what_the_conditions_say_and_a_certificate_counts_only_with_them() {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
        let approved = condition("Approved", "True", "cert-manager.io", "approved");
        let ready = |status: &str, reason: &str| condition("Ready", status, reason, "as\nit is");
        assert_eq!(Answer::of(&json!({})), Answer::Waits(None));
        assert_eq!(
            answer(&json!([approved])),
            Answer::Waits(Some("approved, and no issuer has taken it up".to_owned()))
        );
        assert_eq!(
            answer(&json!([approved, ready("False", "Pending")])),
            Answer::Waits(Some("as it is".to_owned()))
        );
        assert_eq!(
            answer(&json!([approved, ready("False", "Failed")])),
            Answer::Failed("as it is".to_owned())
        );
        assert_eq!(
            answer(&json!([condition("InvalidRequest", "True", "x", "no"), ready("True", "Issued")])),
            Answer::Failed("no".to_owned())
        );
        assert_eq!(
            answer(&json!([condition("Denied", "True", "Policy", ""), ready("False", "Denied")])),
            Answer::Denied("Policy".to_owned())
        );
        assert_eq!(
            answer(&json!([approved, ready("True", "Issued")])),
            Answer::Issued { certificates: "cert".to_owned(), root: "root".to_owned() }
        );
    }

    #[test]
    fn what_others_say_is_one_line_of_bounded_length() {
        let long =
            answer(&json!([{ "type": "Denied", "status": "True", "message": "x\u{1b}[31m\n".repeat(200) }]));
        let Answer::Denied(said) = long else { panic!("{long:?}") };
        assert_eq!((said.chars().count() <= LONGEST, said.chars().any(char::is_control)), (true, false));
    }

    #[test]
    fn what_is_looked_at_everywhere_is_looked_at_in_each_namespace() {
        let mut looked = Looked::default();
        assert_eq!(looked.at("shop"), Requests::Unread);
        assert!(looked.put(Some("shop"), Requests::Missing));
        assert_eq!((looked.at("shop"), looked.at("demo")), (Requests::Missing, Requests::Unread));
        assert!(looked.put(None, Requests::There) && !looked.put(None, Requests::There));
        assert!(looked.holds(None, &Requests::There) && !looked.holds(Some("shop"), &Requests::There));
        assert_eq!(looked.at("demo"), Requests::There);
    }
}
