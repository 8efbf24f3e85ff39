//! The examples: each is taken by the API server as it stands and carried out by the operator, and together they show
//! every field that there is.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::Client;
use portcullis_api::Gateway;
use portcullis_tests::cert_manager::{self, CertManager};
use portcullis_tests::company::{Company, Keys, put_secret};
use portcullis_tests::operator::Operator;
use portcullis_tests::{apply_strictly, client, condition, namespace, until};
use serde_json::Value;

/// Every file of `manifests/examples`, by name.
fn examples() -> Vec<(String, Vec<Value>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let documents = serde_norway::Deserializer::from_str(&text);
        let documents = documents.map(|it| serde::Deserialize::deserialize(it).unwrap()).collect();
        (path.file_name().unwrap().to_string_lossy().into_owned(), documents)
    };
    files.iter().filter(|path| path.extension().is_some_and(|it| it == "yaml")).map(read).collect()
}

#[tokio::test]
async fn every_example_is_taken_as_it_stands_and_carried_out_and_another_apply_changes_nothing() {
    let client = client().await;
    cert_manager::install(&client).await;
    for (file, documents) in examples() {
        let namespace = namespace(&client).await;
        let operator = Operator::start(&namespace).await;
        // The test has a namespace of its own.
        for document in documents.iter().filter(|it| it["kind"] != "Namespace") {
            let applied = apply_strictly(&client, &namespace, document).await;
            applied.unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        for document in documents.iter().filter(|it| it["kind"] == "Gateway") {
            let _cert_manager = bring_along(&client, &namespace, document).await;
            let name = document["metadata"]["name"].as_str().unwrap();
            let suspended = document["spec"]["suspend"] == true;
            let holds = |gateway: &Gateway, kind: &str, reason: &str| {
                condition(gateway, kind).is_some_and(|it| it.0 == "True" && it.1 == reason)
            };
            until(&client, &namespace, name, |gateway| {
                if suspended {
                    return holds(gateway, "Accepted", "Suspended");
                }
                holds(gateway, "Accepted", "Accepted")
                    && holds(gateway, "CertificatesReady", "Issued")
                    && holds(gateway, "ResolvedRefs", "ResolvedRefs")
            })
            .await;
        }
        operator.stop().await;
        // A pipeline that applies it again changes nothing.
        for document in documents.iter().filter(|it| it["kind"] != "Namespace") {
            let again = async || apply_strictly(&client, &namespace, document).await.unwrap().metadata;
            let (first, second) = (again().await, again().await);
            assert_eq!(first.resource_version, second.resource_version, "{file}: {document}");
        }
    }
}

/// What an example says that its admin makes beforehand.
async fn bring_along(client: &Client, namespace: &str, gateway: &Value) -> Option<CertManager> {
    if let Some(name) = gateway["spec"]["pki"]["ca"]["secretRef"]["name"].as_str() {
        let company = Company::new("Example", Keys::Ec);
        let issuing = company.issuing(1);
        let data =
            [("tls.crt", &*issuing.certificate), ("tls.key", &issuing.key), ("ca.crt", &company.root())];
        put_secret(client, namespace, name, &data).await;
    }
    gateway["spec"]["pki"]["ca"].get("issuerRef")?;
    let company = Company::new("Example", Keys::Ec);
    let data = [("tls.crt", &*company.root()), ("tls.key", &company.root_key())];
    put_secret(client, namespace, "shop-root", &data).await;
    Some(CertManager::start(Some(namespace), true))
}

#[test]
fn every_field_of_every_spec_is_in_an_example() {
    let shown: BTreeSet<String> = examples().iter().flat_map(|(_, it)| it).flat_map(shown_fields).collect();
    for crd in portcullis_api::crd::all() {
        let kind = &crd.spec.names.kind;
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let mut fields = BTreeSet::new();
            collect(&schema.properties.as_ref().unwrap()["spec"], &format!("{kind}.spec"), &mut fields);
            assert!(fields.len() > 20, "{fields:#?}");
            let missing: Vec<_> = fields.difference(&shown).collect();
            assert!(missing.is_empty(), "in no file of manifests/examples: {missing:#?}");
        }
    }
}

/// The paths of all properties below a schema; what it leaves open has none.
fn collect(schema: &JSONSchemaProps, path: &str, fields: &mut BTreeSet<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        collect(property, &path, fields);
        fields.insert(path);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect(items, path, fields);
    }
}

/// The paths of everything that a document sets.
fn shown_fields(document: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let path = format!("{path}.{name}");
                    walk(value, &path, fields);
                    fields.insert(path);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, fields)),
            _ => {}
        }
    }
    let mut fields = BTreeSet::new();
    walk(document, document["kind"].as_str().unwrap_or_default(), &mut fields);
    fields
}
