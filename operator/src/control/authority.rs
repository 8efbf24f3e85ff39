//! The control channel's own authority: one Secret in the operator's namespace, made by the first operator that leads.
//! No certificate of it opens a Gateway, and no Gateway's certificate opens the control channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use portcullis_pki::{Authority, AuthorityProfile, KeyAlgorithm, Mint, NameConstraints, issue_authority};

use crate::cause::chain;
use crate::clock::Clock;
use crate::names;
use crate::world::Kind;
use crate::world::child::{authority_keys, read_authority_secret};
use crate::writer::{If, Writer};

/// Until somebody replaces it by hand: both sides of the channel live in this cluster.
const LIFETIME: time::Duration = time::Duration::days(3650);
/// How often to look for it while another operator has yet to make it.
const PERIOD: Duration = Duration::from_millis(500);

/// What it takes to obtain the authority.
pub struct Source<'a> {
    /// For reading the Secret.
    pub client: &'a Client,
    /// For making it.
    pub writer: &'a Writer,
    /// The operator's namespace.
    pub namespace: &'a str,
    /// The name that replicas dial; the authority certifies no other (docs/adr/0004).
    pub host: &'a str,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Keys and serials.
    pub mint: &'a dyn Mint,
}

impl Source<'_> {
    /// Reads the authority, or makes it once this operator leads; waits until there is one. What is wrong meanwhile goes
    /// to the log, in words that say what to do.
    pub async fn obtain(&self) -> Arc<Authority> {
        let mut said = String::new();
        loop {
            let wrong = match self.attempt().await {
                Ok(Some(authority)) => return Arc::new(authority),
                Ok(None) => "waiting for the leading operator to make it".to_owned(),
                Err(error) => chain(error.as_ref()),
            };
            if wrong != said {
                tracing::warn!(secret = names::CONTROL_AUTHORITY, "no control authority yet: {wrong}");
                said = wrong;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn attempt(&self) -> anyhow::Result<Option<Authority>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = secrets.get_opt(names::CONTROL_AUTHORITY).await;
        if let Some(secret) = found.with_context(|| format!("failed to read Secret {}", self.secret()))? {
            let authority = read_authority_secret(&secret).with_context(|| {
                format!(
                    "Secret {} cannot be used; restore it, or delete it and restart the operator",
                    self.secret()
                )
            })?;
            return Ok(Some(authority));
        }
        let profile = AuthorityProfile {
            common_name: "portcullis control".to_owned(),
            lifetime: LIFETIME,
            name_constraints: NameConstraints::covering([self.host], []),
            key: KeyAlgorithm::P256,
        };
        let authority = issue_authority(&profile, 1, self.clock.now(), self.mint)?;
        match self.writer.apply(Kind::Secret, &self.written(&authority)?, If::Absent).await {
            Ok(_) => Ok(Some(authority)),
            // Another one was first, or this operator does not lead: look again.
            Err(error) if error.code() == 409 => Ok(None),
            Err(crate::writer::Error::NotLeading { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to make Secret {}", self.secret())),
        }
    }

    fn secret(&self) -> String {
        format!("{}/{}", self.namespace, names::CONTROL_AUTHORITY)
    }

    fn written(&self, authority: &Authority) -> serde_json::Result<serde_json::Value> {
        let [certificate, key] = authority_keys(authority.generation);
        let data = [(certificate, authority.certificate_pem.as_str()), (key, authority.key.expose())];
        let mut secret = Secret {
            type_: Some("portcullis.dev/authority".to_owned()),
            data: Some(data.map(|(key, text)| (key, ByteString(text.as_bytes().to_vec()))).into()),
            ..Secret::default()
        };
        secret.metadata.name = Some(names::CONTROL_AUTHORITY.to_owned());
        secret.metadata.namespace = Some(self.namespace.to_owned());
        secret.metadata.labels =
            Some(BTreeMap::from([(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())]));
        serde_json::to_value(&secret)
    }
}
