//! Takes certificates of a client back: writes their serials into the Gateway's spec, and waits until its status says that
//! every replica has cut what they had opened.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, Resource as _};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use portcullis_api::{Gateway, RevocationStatus};
use serde_json::{Value, json};

use super::connect::said;
use crate::failure::{Exit, Failure, chain};

/// How often the Gateway may change while it is written.
const TRIES: usize = 5;

/// Where the Gateway is.
pub struct Revoking {
    client: Client,
    namespace: String,
    name: String,
}

impl Revoking {
    /// Of this Gateway.
    pub fn of(client: Client, namespace: String, name: String) -> Self {
        Self { client, namespace, name }
    }

    /// Writes the serials, or those of every certificate that the client has. Which they are.
    ///
    /// # Errors
    /// Where there is no such Gateway or client, or the cluster refuses.
    pub async fn write(&self, of: &str, serials: &[String]) -> Result<Vec<String>, Failure> {
        let title = format!("the Gateway {}/{}", self.namespace, self.name);
        // As the server has it: fields that we do not know stay as they are.
        let resource = ApiResource::erase::<Gateway>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let parameters =
            PatchParams { field_manager: Some("portcullis-cli".to_owned()), ..PatchParams::default() };
        for _ in 0..TRIES {
            let found = api.get(&self.name).await.map_err(|error| said("read", &title, &error))?;
            let (patch, revoked) = patch(&title, &found, of, serials)?;
            match api.patch(&self.name, &parameters, &Patch::Merge(patch)).await {
                Ok(_) => return Ok(revoked),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(said("change", &title, &error)),
            }
        }
        Err(Failure::new(Exit::Conflict, format!("{title} changes all the time")).hint("run it again"))
    }

    /// Waits until every replica has said that they open nothing any more. What the status says of them then.
    ///
    /// # Errors
    /// Where the cluster does not answer, or the Gateway goes.
    pub async fn enforced(&self, serials: &[String]) -> Result<Vec<RevocationStatus>, Failure> {
        let api: Api<Gateway> = Api::namespaced(self.client.clone(), &self.namespace);
        let gateway = await_condition(api, &self.name, are_enforced(serials)).await.map_err(|error| {
            Failure::new(Exit::Unreachable, format!("failed to follow the Gateway: {}", chain(&error)))
        })?;
        let status = gateway.and_then(|gateway| gateway.status).unwrap_or_default();
        Ok(status.revocations.into_iter().filter(|it| serials.contains(&it.serial)).collect())
    }
}

fn are_enforced(serials: &[String]) -> impl Condition<Gateway> {
    move |gateway: Option<&Gateway>| {
        let Some(gateway) = gateway else { return true };
        let revoked = gateway.status.as_ref().map(|it| it.revocations.as_slice()).unwrap_or_default();
        serials.iter().all(|serial| revoked.iter().any(|it| it.serial == *serial && it.enforced_at.is_some()))
    }
}

/// The patch that adds the serials to what the client's entry has, good for the Gateway as it was read only. A merge patch
/// replaces a list as a whole.
fn patch(
    title: &str,
    found: &DynamicObject,
    client: &str,
    serials: &[String],
) -> Result<(Value, Vec<String>), Failure> {
    let mut clients = found.data["spec"]["clients"].as_array().cloned().unwrap_or_default();
    let names: Vec<_> = clients.iter().filter_map(|it| it["name"].as_str()).collect();
    let Some(at) = names.iter().position(|name| *name == client) else {
        let missing = Failure::new(Exit::NotFound, format!("{title} has no client `{client}`"));
        return Err(missing.hint(if names.is_empty() {
            "its spec.clients is empty; what a client had that is gone from there is revoked by itself"
                .to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        }));
    };
    let revoked = if serials.is_empty() { issued(found, client) } else { serials.to_vec() };
    if revoked.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("{title} has issued nothing to `{client}` yet"))
            .hint("give a --serial, or wait until the Gateway is Ready"));
    }
    let mut all: Vec<_> = clients[at]["revoke"].as_array().cloned().unwrap_or_default();
    for serial in &revoked {
        if !all.iter().any(|it| it.as_str() == Some(serial)) {
            all.push(json!(serial));
        }
    }
    clients[at]["revoke"] = Value::Array(all);
    let version = found.meta().resource_version.clone();
    Ok((json!({ "metadata": { "resourceVersion": version }, "spec": { "clients": clients } }), revoked))
}

/// Every certificate of a client that still opens the Gateway, as the status has it.
fn issued(found: &DynamicObject, client: &str) -> Vec<String> {
    let known = found.data["status"]["clients"].as_array().into_iter().flatten();
    known
        .filter(|it| it["name"].as_str() == Some(client))
        .flat_map(|it| {
            let others =
                ["superseded", "renewed"].into_iter().filter_map(|list| it[list].as_array()).flatten();
            std::iter::once(&it["certificate"]).chain(others).filter_map(|it| it["serial"].as_str())
        })
        .filter(|serial| !serial.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway",
            "metadata": { "name": "door", "namespace": "shop", "resourceVersion": "7" },
            "spec": { "clients": [{ "name": "ci", "tomorrow": 1 }, { "name": "alice", "revoke": ["01"] }, { "name": "new" }] },
            "status": { "clients": [
                { "name": "ci", "certificate": { "serial": "0a" } },
                { "name": "alice", "certificate": { "serial": "03" }, "superseded": [{ "serial": "02" }], "renewed": [{ "serial": "04" }] }
            ] }
        }))
        .unwrap()
    }

    #[test]
    fn all_that_a_client_has_is_added_and_everything_else_stays() {
        let (patch, revoked) = patch("it", &gateway(), "alice", &[]).unwrap();
        assert_eq!(revoked, ["03", "02", "04"]);
        let wanted = json!([{ "name": "ci", "tomorrow": 1 }, { "name": "alice", "revoke": ["01", "03", "02", "04"] }, { "name": "new" }]);
        assert_eq!(patch["spec"]["clients"], wanted);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn a_serial_that_is_named_is_the_only_one_and_stands_there_once() {
        let (patch, revoked) = patch("it", &gateway(), "alice", &["01".to_owned()]).unwrap();
        assert_eq!(
            (revoked, &patch["spec"]["clients"][1]["revoke"]),
            (vec!["01".to_owned()], &json!(["01"]))
        );
    }

    #[test]
    fn who_is_no_client_is_told_who_is_and_who_has_nothing_loses_nothing() {
        let stranger = patch("it", &gateway(), "bob", &[]).unwrap_err();
        assert_eq!(stranger.exit, Exit::NotFound);
        assert!(stranger.hint.unwrap().contains("ci, alice, new"));
        assert!(patch("it", &gateway(), "new", &[]).unwrap_err().message.contains("nothing to `new`"));
    }

    #[test]
    fn it_is_enforced_when_every_serial_is() {
        let status = |enforced: &[Option<&str>]| {
            let revocations = enforced.iter().enumerate().map(|(number, at)| {
                json!({ "serial": format!("0{number}"), "client": "alice", "notAfter": "", "revokedAt": "", "enforcedAt": at })
            });
            let gateway: Gateway = serde_json::from_value(json!({
                "metadata": {}, "spec": { "backends": [] }, "status": { "revocations": revocations.collect::<Vec<_>>() }
            }))
            .unwrap();
            gateway
        };
        let serials = ["00".to_owned(), "01".to_owned()];
        let enforced = |gateway: &Gateway| are_enforced(&serials).matches_object(Some(gateway));
        assert!(!enforced(&status(&[Some("now")])));
        assert!(!enforced(&status(&[Some("now"), None])));
        assert!(enforced(&status(&[Some("now"), Some("now")])));
    }
}
