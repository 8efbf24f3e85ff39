//! OpenShell's directory, as its command line and its Python SDK read it, and the layouts that were before.
//!
//! ```text
//! active_gateway                        or active_cluster
//! gateways/<name>/metadata.json         or clusters/<name>_metadata.json
//! gateways/<name>/mtls/…  edge_token    or clusters/<name>/…
//! ```

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Portable, Tokens};
use crate::failure::{Exit, Failure};
use crate::gateways::endpoint;
use crate::line::address;
use crate::store::folder::Folder;
use crate::store::{Bundle, Edge, Error, Metadata, Mode, Name, Oidc};

const METADATA: &str = "metadata.json";
const OLDER: &str = "_metadata.json";

/// Writes a gateway into such a directory, and makes it the active one there.
///
/// # Errors
/// Where it cannot be written.
pub fn export(at: &Path, portable: &Portable) -> Result<(), Failure> {
    let root = Folder::create(at)?;
    let folder = root.make("gateways")?.make(portable.name.as_str())?;
    let mut bytes = serde_json::to_vec_pretty(&written(portable)?)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to write the gateway: {error}")))?;
    bytes.push(b'\n');
    folder.write(METADATA, &bytes)?;
    folder.replace_folder("mtls", |mtls| portable.bundle.write(mtls))?;
    for (file, token) in [("edge_token", &portable.tokens.edge), ("oidc_token.json", &portable.tokens.oidc)] {
        match token {
            Some(token) => folder.write(file, token)?,
            None => folder.remove(file)?,
        }
    }
    root.write("active_gateway", portable.name.as_str().as_bytes())?;
    Ok(())
}

fn written(portable: &Portable) -> Result<Value, Failure> {
    let metadata = &portable.metadata;
    let url = endpoint(&metadata.endpoint)
        .map_err(|reason| Failure::new(Exit::Failed, format!("its endpoint is none: {reason}")))?;
    let mode = match (metadata.mode, &metadata.oidc) {
        (Mode::Edge, _) => "cloudflare_jwt",
        (_, Some(_)) => "oidc",
        (Mode::MutualTLS, None) => "mtls",
        (Mode::Plaintext, None) => "plaintext",
    };
    let (_, port) = address(&url);
    let mut fields = json!({
        "name": portable.name,
        "gateway_endpoint": metadata.endpoint,
        "is_remote": true,
        "gateway_port": port,
        "auth_mode": mode,
    });
    if let (Some(oidc), Some(fields)) = (&metadata.oidc, fields.as_object_mut()) {
        fields.insert("oidc_issuer".to_owned(), json!(oidc.issuer));
        fields.insert("oidc_client_id".to_owned(), json!(oidc.client_id));
        if !oidc.audience.is_empty() {
            fields.insert("oidc_audience".to_owned(), json!(oidc.audience));
        }
        if !oidc.scopes.is_empty() {
            fields.insert("oidc_scopes".to_owned(), json!(oidc.scopes.join(" ")));
        }
    }
    Ok(fields)
}

/// What there is in such a directory: gateways, and which of them cannot be read and why.
///
/// # Errors
/// Where there is no such directory.
pub fn read_folder(at: &Path) -> Result<Vec<Result<Portable, String>>, Failure> {
    let root = Folder::open(at)?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no folder {}", at.display()))
            .hint("give the folder of OpenShell's configuration, or one of an older layout")
    })?;
    let mut found = Vec::new();
    if let Some(gateways) = root.child("gateways")? {
        for name in gateways.folders()? {
            if let Some(folder) = gateways.child(&name)?
                && let Some(bytes) = folder.read(METADATA)?
            {
                found.push(gateway(&name, &bytes, Some(&folder)));
            }
        }
    }
    if let Some(clusters) = root.child("clusters")? {
        for (file, _) in clusters.list()? {
            if let Some(name) = file.strip_suffix(OLDER)
                && let Some(bytes) = clusters.read(&file)?
            {
                found.push(gateway(name, &bytes, clusters.child(name)?.as_ref()));
            }
        }
    }
    Ok(found)
}

fn gateway(called: &str, bytes: &[u8], folder: Option<&Folder>) -> Result<Portable, String> {
    let wrong = |reason: String| format!("{called}: {reason}");
    let name = Name::near(called).ok_or_else(|| wrong("no name can be made of it".to_owned()))?;
    let fields: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let metadata = metadata(&fields).map_err(&wrong)?;
    let kept = |error: Error| wrong(error.to_string());
    let (mut bundle, mut tokens) = (Bundle::default(), Tokens::default());
    if let Some(folder) = folder {
        if let Some(mtls) = folder.child("mtls").map_err(kept)? {
            bundle = Bundle::read(&mtls).map_err(kept)?.unwrap_or_default();
        }
        tokens.edge = folder.read("edge_token").map_err(kept)?;
        if tokens.edge.is_none() {
            // As it was called before.
            tokens.edge = folder.read("cf_token").map_err(kept)?;
        }
        tokens.oidc = folder.read("oidc_token.json").map_err(kept)?;
    }
    Ok(Portable { name, metadata, bundle, tokens })
}

fn metadata(fields: &Map<String, Value>) -> Result<Metadata, String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    let Some(url) = text("gateway_endpoint").or_else(|| text("endpoint")) else {
        return Err("its metadata names no endpoint".to_owned());
    };
    let uri = endpoint(url)?;
    if fields.contains_key("endpoint") {
        return serde_json::from_value(Value::Object(fields.clone())).map_err(|error| error.to_string());
    }
    let oidc = text("oidc_issuer").map(|issuer| Oidc {
        issuer: issuer.to_owned(),
        client_id: text("oidc_client_id").unwrap_or_default().to_owned(),
        audience: text("oidc_audience").unwrap_or_default().to_owned(),
        scopes: text("oidc_scopes").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        ..Oidc::default()
    });
    let mode = match text("auth_mode") {
        Some("cloudflare_jwt") => Mode::Edge,
        Some("plaintext") => Mode::Plaintext,
        _ if uri.scheme_str() == Some("http") => Mode::Plaintext,
        _ => Mode::MutualTLS,
    };
    let edge = (mode == Mode::Edge).then(|| Edge {
        header: "cf-access-jwt-assertion".to_owned(),
        cookie: "CF_Authorization".to_owned(),
        ..Edge::default()
    });
    let endpoint = url.trim_end_matches('/').to_owned();
    Ok(Metadata { endpoint, mode, oidc, edge, ..Metadata::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(root: &Path, file: &str, text: &str) {
        let at = root.join(file);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    #[test]
    fn both_layouts_are_read_and_what_cannot_be_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(
            root,
            "gateways/lab/metadata.json",
            r#"{"name":"lab","gateway_endpoint":"https://lab:8080","is_remote":false,"gateway_port":8080}"#,
        );
        put(root, "gateways/lab/mtls/ca.crt", "ca");
        put(root, "gateways/lab/mtls/tls.crt", "certificate");
        put(root, "gateways/lab/mtls/tls.key", "key");
        put(root, "gateways/cut/metadata.json", r#"{"name":"cut","gatew"#);
        put(
            root,
            "clusters/My_Cloud_metadata.json",
            r#"{"name":"My_Cloud","gateway_endpoint":"https://cloud.example","is_remote":true,"gateway_port":443,"auth_mode":"cloudflare_jwt"}"#,
        );
        put(root, "clusters/My_Cloud/edge_token", "a.b.c");
        put(
            root,
            "clusters/plain_metadata.json",
            r#"{"gateway_endpoint":"http://127.0.0.1:8080","auth_mode":"plaintext"}"#,
        );
        let found = read_folder(root).unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
        let good: Vec<_> = good.into_iter().map(Result::unwrap).collect();
        let names: Vec<_> = good.iter().map(|it| (it.name.as_str(), it.metadata.mode)).collect();
        assert_eq!(names, [("lab", Mode::MutualTLS), ("my-cloud", Mode::Edge), ("plain", Mode::Plaintext)]);
        assert!(good[0].bundle.identity.is_some());
        assert_eq!(good[1].tokens.edge.as_deref(), Some(&b"a.b.c"[..]));
        assert!(bad.len() == 1 && bad[0].as_ref().unwrap_err().starts_with("cut: "), "{bad:?}");
    }

    #[test]
    fn what_is_exported_is_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("openshell");
        let oidc = Oidc {
            issuer: "https://idp".to_owned(),
            client_id: "cli".to_owned(),
            audience: "door".to_owned(),
            scopes: vec!["openid".to_owned(), "tunnel:read".to_owned()],
            ..Oidc::default()
        };
        let portable = Portable {
            name: "shop".parse().unwrap(),
            metadata: Metadata {
                endpoint: "https://door:8443".to_owned(),
                oidc: Some(oidc),
                ..Metadata::default()
            },
            bundle: Bundle { ca: Some(b"ca".to_vec()), identity: Some((b"c".to_vec(), b"k".to_vec())) },
            tokens: Tokens::default(),
        };
        export(&at, &portable).unwrap();
        assert_eq!(read_folder(&at).unwrap(), [Ok(portable)]);
        assert_eq!(fs::read_to_string(at.join("active_gateway")).unwrap(), "shop");
        let written: Value =
            serde_json::from_slice(&fs::read(at.join("gateways/shop/metadata.json")).unwrap()).unwrap();
        assert_eq!((&written["auth_mode"], &written["gateway_port"]), (&json!("oidc"), &json!(8443)));
    }
}
