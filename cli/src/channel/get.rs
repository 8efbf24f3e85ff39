//! One document of a gateway, over HTTP/1.1: what is there before anybody is known.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connect::Connector;
use super::noticed::Noticed;
use super::{Access, failed};
use crate::failure::{Exit, Failure, chain};
use crate::gateways::Resolved;

/// No document of a gateway is longer, in bytes.
const LONGEST: usize = 64 * 1024;

/// What came back.
#[derive(Clone, Debug)]
pub struct Document {
    /// Whether it is the document at all.
    pub status: StatusCode,
    /// What goes with it.
    pub headers: HeaderMap,
    /// It itself.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum NoDocument {
    /// The gateway demands a client certificate, and none was shown.
    CertificateRequired(Failure),
    /// Anything else.
    Failed(Failure),
}

impl From<NoDocument> for Failure {
    fn from(error: NoDocument) -> Self {
        match error {
            NoDocument::CertificateRequired(failure) | NoDocument::Failed(failure) => failure,
        }
    }
}

/// Asks for it. No token is sent.
///
/// # Errors
/// Where nothing came back.
pub async fn get(gateway: &Resolved, access: &Access, path: &str) -> Result<Document, NoDocument> {
    let noticed = Noticed::default();
    let asked = tokio::time::timeout(access.timeout, ask(gateway, access, path, &noticed)).await;
    let error = match asked {
        Ok(Ok(document)) => return Ok(document),
        Ok(Err(error)) => error,
        Err(_) => return Err(NoDocument::Failed(failed::in_time(gateway, access.timeout))),
    };
    let required = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    match noticed.get() {
        Some(said) if said == required => Err(NoDocument::CertificateRequired(failed::tls(gateway, &said))),
        Some(said) => Err(NoDocument::Failed(failed::tls(gateway, &said))),
        None => Err(NoDocument::Failed(failed::to_connect(gateway, &*error, &noticed))),
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    gateway: &Resolved,
    access: &Access,
    path: &str,
    noticed: &Noticed,
) -> Result<Document, BoxError> {
    let stream = Connector::new(gateway, access, noticed.clone()).plain().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = gateway.origin().authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
        Ok::<_, BoxError>(Document { status: head.status, headers: head.headers, body })
    };
    let (connection, exchange) = (std::pin::pin!(connection), std::pin::pin!(exchange));
    match futures::future::select(exchange, connection).await {
        futures::future::Either::Left((document, _)) => document,
        futures::future::Either::Right((ended, exchange)) => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

/// What a document says.
///
/// # Errors
/// Where it says something else.
pub fn read<T: serde::de::DeserializeOwned>(gateway: &Resolved, document: &Document) -> Result<T, Failure> {
    serde_json::from_slice(&document.body).map_err(|error| {
        let message =
            format!("what answers at {} is no gateway of Portcullis: {}", gateway.endpoint, chain(&error));
        Failure::new(Exit::Unreachable, message).hint("check the URL")
    })
}
