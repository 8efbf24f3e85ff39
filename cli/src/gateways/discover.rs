//! What a gateway says of itself before it knows who is asking: its mode, and where to log in.

use http::{StatusCode, header};
use serde::Deserialize;

use super::Resolved;
use crate::channel::{Access, Document, NoDocument, get, read};
use crate::failure::{Exit, Failure};
use crate::store::{Edge, Mode, Oidc};

const DISCOVERY: &str = "/auth/oidc-config";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovered {
    /// The document, of a gateway that lets anybody read it.
    Says(Config),
    /// Something in front of it wants a login before anything is read.
    Edge,
    /// Nothing is read without a client certificate.
    CertificateRequired(String),
}

/// `/auth/oidc-config`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// How callers come in.
    pub mode: Mode,
    /// Where to log in, where tokens are believed.
    pub oidc: Option<Oidc>,
    /// How the edge's token is carried.
    pub edge: Option<Edge>,
}

/// Asks it.
///
/// # Errors
/// Where nothing answers, or nothing that is a gateway.
pub async fn discover(gateway: &Resolved, access: &Access) -> Result<Discovered, Failure> {
    match get(gateway, access, DISCOVERY).await {
        Ok(document) => what(gateway, &document),
        Err(NoDocument::CertificateRequired(failure)) => Ok(Discovered::CertificateRequired(failure.message)),
        Err(NoDocument::Failed(failure)) => Err(failure),
    }
}

fn what(gateway: &Resolved, document: &Document) -> Result<Discovered, Failure> {
    match document.status {
        StatusCode::OK => {
            // An edge's own login page is answered with 200 by some.
            let is_json = document
                .headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
            if is_json {
                read(gateway, document).map(Discovered::Says)
            } else {
                no_gateway(gateway, document)
            }
        }
        status if status.is_redirection() && leads_away(gateway, document) => Ok(Discovered::Edge),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Discovered::Edge),
        status if status.is_server_error() => Err(Failure::new(
            Exit::Unreachable,
            format!("what is in front of the gateway {} answers with status {status}", gateway.title()),
        )
        .hint("is the gateway ready? `kubectl get gateways.portcullis.dev` says so")),
        _ => no_gateway(gateway, document),
    }
}

/// Whether an answer sends a browser to another host, as a login does.
fn leads_away(gateway: &Resolved, document: &Document) -> bool {
    let Some(location) = document.headers.get(header::LOCATION).and_then(|it| it.to_str().ok()) else {
        return false;
    };
    let to = location.parse::<http::Uri>().ok();
    let host = to.as_ref().and_then(http::Uri::host);
    host.is_some_and(|host| Some(host) != gateway.endpoint.host()) || location.contains("login")
}

/// Where else the same host is, if an answer says so.
fn elsewhere(gateway: &Resolved, document: &Document) -> Option<String> {
    let to: http::Uri = document.headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let same = to.host().is_some() && to.host() == gateway.endpoint.host();
    let authority = to.authority()?;
    same.then(|| format!("{}://{authority}", to.scheme_str().unwrap_or("https")))
}

fn no_gateway<T>(gateway: &Resolved, document: &Document) -> Result<T, Failure> {
    let message = format!(
        "what answers at {} is no gateway of Portcullis: {DISCOVERY} has status {}",
        gateway.endpoint, document.status
    );
    let hint = match elsewhere(gateway, document) {
        Some(url) => format!("it leads to {url}: is the gateway there?"),
        None => "check the URL".to_owned(),
    };
    Err(Failure::new(Exit::Unreachable, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::{Given, Known, resolve};
    use bytes::Bytes;
    use http::HeaderMap;

    fn gateway() -> Resolved {
        let given = Given { endpoint: Some("https://door.example".parse().unwrap()), ..Given::default() };
        resolve(&given, &Known::default()).unwrap()
    }

    fn answered(status: u16, fields: &[(&'static str, &str)], body: &str) -> Result<Discovered, Exit> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let document = Document { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        what(&gateway(), &document).map_err(|failure| failure.exit)
    }

    #[test]
    fn a_gateway_says_its_mode_and_where_to_log_in() {
        let json = [("content-type", "application/json")];
        let body = r#"{"mode":"Edge","oidc":{"issuer":"https://idp","client_id":"cli","audience":"door","scopes":["openid"],"new":1},"edge":{"header":"x-jwt","cookie":"c"},"new":2}"#;
        let Ok(Discovered::Says(config)) = answered(200, &json, body) else { panic!("not read") };
        assert_eq!(config.mode, Mode::Edge);
        assert_eq!(config.oidc.unwrap().scopes, ["openid"]);
        assert_eq!(config.edge.unwrap().cookie, "c");
        let plain = answered(200, &json, r#"{"mode":"Plaintext","oidc":null,"edge":null}"#);
        assert!(matches!(plain, Ok(Discovered::Says(Config { mode: Mode::Plaintext, .. }))), "{plain:?}");
    }

    #[test]
    fn a_login_in_front_is_an_edge_and_anything_else_is_no_gateway() {
        for location in ["https://team.cloudflareaccess.com/cdn-cgi/access/login/x", "/oauth2/login"] {
            assert_eq!(answered(302, &[("location", location)], ""), Ok(Discovered::Edge), "{location}");
        }
        assert_eq!(answered(401, &[], ""), Ok(Discovered::Edge));
        assert_eq!(answered(301, &[("location", "https://door.example/else")], ""), Err(Exit::Unreachable));
        assert_eq!(answered(200, &[("content-type", "text/html")], "<html>"), Err(Exit::Unreachable));
        assert_eq!(answered(404, &[], ""), Err(Exit::Unreachable));
        assert_eq!(answered(502, &[], ""), Err(Exit::Unreachable));
    }
}
