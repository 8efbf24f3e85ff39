//! Opens the connections that calls go on, as the gateway's mode wants them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Access;
use super::noticed::{Noticed, Watched};
use crate::failure::Failure;
use crate::gateways::Resolved;
use crate::line::{self, CONNECT_TIME, Said, address, websocket};
use crate::store::Mode;

/// Where a gateway serves the WebSocket that carries a connection.
const TUNNEL_PATH: &str = "/_ws_tunnel";
/// What Cloudflare's edge takes from programs; browsers send the cookie.
const CLOUDFLARE_TOKEN: HeaderName = HeaderName::from_static("cf-access-token");
const CLOUDFLARE_COOKIE: &str = "CF_Authorization";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any connection's bytes.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Opens connections to one gateway.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    gateway: Arc<Resolved>,
    access: Access,
    noticed: Noticed,
}

impl Connector {
    pub(super) fn new(gateway: &Resolved, access: &Access, noticed: Noticed) -> Self {
        Self { gateway: Arc::new(gateway.clone()), access: access.clone(), noticed }
    }

    async fn open(self) -> Result<Box<dyn Bytes>, BoxError> {
        let refused = match self.once().await {
            Err(error) if is_unknown(&error) => error,
            outcome => return outcome,
        };
        // A token that is not taken may be renewable all the same.
        let tokens = &self.access.tokens;
        let Some(token) = tokens.bearer().await? else { return Err(refused) };
        match tokens.instead_of(&token).await? {
            Some(_) => self.once().await,
            None => Err(refused),
        }
    }

    async fn once(&self) -> Result<Box<dyn Bytes>, BoxError> {
        let endpoint = &self.gateway.endpoint;
        let (host, port) = address(endpoint);
        let late = || line::Error::TimedOut(format!("{host}:{port}"));
        let stream = tokio::time::timeout(CONNECT_TIME, line::reach(endpoint, &self.access.proxies));
        let stream = stream.await.map_err(|_| late())??;
        let opened = tokio::time::timeout(CONNECT_TIME, self.agree(stream));
        opened.await.map_err(|_| late())?
    }

    /// A connection for HTTP/1.1, whatever the gateway's mode.
    pub(super) async fn plain(self) -> Result<Box<dyn Bytes>, BoxError> {
        let endpoint = &self.gateway.endpoint;
        let (host, port) = address(endpoint);
        let open = async {
            let stream = line::reach(endpoint, &self.access.proxies).await?;
            Ok(if endpoint.scheme_str() == Some("http") {
                Box::new(stream) as Box<dyn Bytes>
            } else {
                Box::new(Watched::new(self.tls(stream, b"http/1.1").await?, self.noticed.clone()))
            })
        };
        let opened = tokio::time::timeout(CONNECT_TIME, open).await;
        opened.map_err(|_| line::Error::TimedOut(format!("{host}:{port}")))?
    }

    async fn agree(&self, stream: TcpStream) -> Result<Box<dyn Bytes>, BoxError> {
        let gateway = &*self.gateway;
        let plain = gateway.endpoint.scheme_str() == Some("http");
        let edge = gateway.metadata.mode == Mode::Edge;
        Ok(match (plain, edge) {
            (true, false) => Box::new(stream),
            (true, true) => {
                Box::new(websocket(stream, &gateway.origin(), TUNNEL_PATH, self.said().await?).await?)
            }
            (false, false) => Box::new(Watched::new(self.tls(stream, b"h2").await?, self.noticed.clone())),
            (false, true) => {
                let stream = Watched::new(self.tls(stream, b"http/1.1").await?, self.noticed.clone());
                Box::new(websocket(stream, &gateway.origin(), TUNNEL_PATH, self.said().await?).await?)
            }
        })
    }

    async fn tls(&self, stream: TcpStream, protocol: &[u8]) -> Result<TlsStream<TcpStream>, BoxError> {
        let mut config = self.access.tls()?;
        config.alpn_protocols = vec![protocol.to_vec()];
        let (host, port) = address(&self.gateway.endpoint);
        Ok(line::agree(stream, self.gateway.server_name(), &format!("{host}:{port}"), config).await?)
    }

    async fn said(&self) -> Result<Said, Failure> {
        said(&self.gateway, &self.access).await
    }
}

/// Who opens a WebSocket: what the edge looks at, and what the gateway behind it does.
pub(crate) async fn said(gateway: &Resolved, access: &Access) -> Result<Said, Failure> {
    let mut said = Said::new();
    let edge = gateway.metadata.edge.as_ref();
    let cookie = edge.map_or(CLOUDFLARE_COOKIE, |edge| edge.cookie.as_str());
    let (token, bearer) = (access.tokens.edge().await?, access.tokens.bearer().await?);
    if let Some(token) = &token {
        if cookie == CLOUDFLARE_COOKIE {
            said.push((CLOUDFLARE_TOKEN, token.value("")?));
        }
        if !cookie.is_empty() {
            said.push((header::COOKIE, token.value(&format!("{cookie}="))?));
        }
    }
    // Some edges take it from programs in this way alone. A gateway takes the two for one.
    let edge_s = token.filter(|_| edge.is_some());
    if let Some(token) = bearer.or(edge_s) {
        said.push((header::AUTHORIZATION, token.value("Bearer ")?));
    }
    Ok(said)
}

/// Whether whoever answered does not know who is asking.
fn is_unknown(error: &BoxError) -> bool {
    matches!(error.downcast_ref(), Some(line::Error::WebSocket { status: Some(401), .. }))
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open().await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Held;
    use crate::gateways::Rule;
    use crate::portable::Tokens;
    use crate::store::{Bundle, Edge, Metadata, Oidc};
    use std::time::Duration;

    async fn shown(cookie: &str, tokens: Tokens) -> Vec<(HeaderName, String)> {
        let metadata = Metadata {
            mode: Mode::Edge,
            oidc: Some(Oidc::default()),
            edge: Some(Edge { cookie: cookie.to_owned(), ..Edge::default() }),
            ..Metadata::default()
        };
        let endpoint = "https://door.example".parse().unwrap();
        let gateway = Resolved { stored: None, endpoint, metadata, rule: Rule::Endpoint };
        let access = Access::new(Bundle::default(), Arc::new(Held(tokens)), false, Duration::from_secs(1));
        let said = said(&gateway, &access).await.unwrap();
        said.into_iter().map(|(name, value)| (name, value.to_str().unwrap().to_owned())).collect()
    }

    #[tokio::test]
    async fn an_edge_s_token_is_shown_as_every_edge_looks_for_it_unless_a_provider_s_takes_the_place() {
        let (edge, oidc) = (Some(b"e".to_vec()), Some(br#"{"access_token":"p"}"#.to_vec()));
        let bearer = |token: &str| (header::AUTHORIZATION, format!("Bearer {token}"));
        let cookie = |text: &str| (header::COOKIE, text.to_owned());
        let alone = Tokens { edge: edge.clone(), oidc: None };
        assert_eq!(shown("s", alone.clone()).await, [cookie("s=e"), bearer("e")]);
        assert_eq!(shown("", alone.clone()).await, [bearer("e")]);
        assert_eq!(
            shown(CLOUDFLARE_COOKIE, alone).await,
            [(CLOUDFLARE_TOKEN, "e".to_owned()), cookie("CF_Authorization=e"), bearer("e")]
        );
        assert_eq!(shown("s", Tokens { edge, oidc }).await, [cookie("s=e"), bearer("p")]);
    }
}
