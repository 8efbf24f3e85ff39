//! Asks providers and gateways by HTTP: TLS as the caller wants it, through an HTTP proxy where the environment names one,
//! with deadlines, and without following redirects. It notes how far the other's clock is from this machine's.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tower::Service;

use super::error::Error;
use portcullis_protocol::clock::Clock;

/// How long an answer may take, its body included.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// No document that is asked for here is longer, in bytes.
const LONGEST: usize = 1024 * 1024;
/// Clocks that disagree by less are no trouble, in seconds.
const HARMLESS: i64 = 120;
/// No answer has told the time yet.
const UNKNOWN: i64 = i64::MIN;

/// Asks by HTTP.
pub struct Web {
    client: Client<HttpsConnector<Route>, Full<Bytes>>,
    clock: Clock,
    /// How many seconds the other's clock is ahead.
    ahead: AtomicI64,
}

impl Web {
    /// One that believes and shows what this configuration says; `name` is that in the other's certificate, where it is not
    /// the URL's host.
    ///
    /// # Errors
    /// Where that is none that a certificate could have.
    pub fn new(mut tls: rustls::ClientConfig, name: Option<&str>, clock: Clock) -> Result<Self, Error> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT));
        direct.set_nodelay(true);
        let route = Route { direct, proxies: Arc::new(Matcher::from_env()) };
        tls.alpn_protocols.clear();
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        if let Some(name) = name {
            let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            let named = ServerName::try_from(bare).map_err(|_| Error::Url {
                url: name.to_owned(),
                reason: "it is no name that a certificate could have".to_owned(),
            })?;
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(named));
        }
        let connector = builder.enable_http1().wrap_connector(route);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, clock, ahead: AtomicI64::new(UNKNOWN) })
    }

    /// This machine's time.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// How many seconds the other's clock is ahead of this machine's, where that is more than clocks may disagree by.
    pub fn skew(&self) -> Option<i64> {
        match self.ahead.load(Ordering::Relaxed) {
            UNKNOWN => None,
            ahead => (ahead.abs() > HARMLESS).then_some(ahead),
        }
    }

    /// The time as the other tells it.
    pub(super) fn their_now(&self) -> i64 {
        self.now() + self.skew().unwrap_or(0)
    }

    /// Sends a request; the answer, whatever its status.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> {
        let host = host(request.uri());
        let mut request = request.map(|body| Full::new(Bytes::from(body)));
        let agent = HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        if let Some(value) = request.headers_mut().get_mut(header::AUTHORIZATION) {
            value.set_sensitive(true);
        }
        let unreachable = |reason: String| Error::Unreachable { host: host.clone(), reason };
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(root(&error)))?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, LONGEST).collect().await.map_err(|error| unreachable(root(&*error)))?;
            Ok::<_, Error>(Response::from_parts(head, body.to_bytes().to_vec()))
        };
        let answered = tokio::time::timeout(ANSWER, answered).await;
        let response: Response<Vec<u8>> =
            answered.map_err(|_| Error::NoAnswer { host: host.clone(), seconds: ANSWER.as_secs() })??;
        self.note_time(response.headers());
        Ok(response)
    }

    /// A JSON document.
    pub(super) async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        let request = Request::get(safe(url)?).header(header::ACCEPT, "application/json").body(Vec::new());
        let response = self.send(request.map_err(|error| malformed(url, &error))?).await?;
        if !response.status().is_success() {
            return Err(answered(url, &response));
        }
        serde_json::from_slice(response.body()).map_err(|error| malformed(url, &error))
    }

    fn note_time(&self, headers: &HeaderMap) {
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
        let Ok(since) = date.duration_since(UNIX_EPOCH) else { return };
        let ahead = i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_sub(self.now());
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

/// What the `oauth2` crate asks by.
impl<'c> AsyncHttpClient<'c> for Web {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

/// What to say of clocks that disagree by so many seconds.
pub fn skew_in_words(ahead: i64, whose: &str) -> String {
    let minutes = (ahead.unsigned_abs() + 30) / 60;
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {minutes} minutes {side} that of {whose}: set it right, or logins end at the wrong time"
    )
}

/// A URL that tokens and secrets may go to: HTTPS, or this very machine.
pub(super) fn safe(url: &str) -> Result<Uri, Error> {
    let wrong = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        _ if host.is_empty() => Err(wrong("it names no host")),
        Some("https") => Ok(uri),
        Some("http") if matches!(host, "127.0.0.1" | "localhost" | "[::1]") => Ok(uri),
        _ => Err(wrong("it is not https://")),
    }
}

/// An answer whose status makes no sense here, in words.
pub(super) fn answered(url: &str, response: &Response<Vec<u8>>) -> Error {
    let location = response.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
    let more = match location.and_then(|it| it.parse::<Uri>().ok()) {
        Some(elsewhere) => format!(" and points to {}", host(&elsewhere)),
        None => String::new(),
    };
    Error::Answered { url: bare(url), status: response.status().as_u16(), more }
}

/// An answer that is not what it should be.
pub(super) fn malformed(url: &str, reason: &dyn fmt::Display) -> Error {
    Error::Malformed { url: bare(url), reason: reason.to_string() }
}

/// Without what might be a secret.
fn bare(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn host(uri: &Uri) -> String {
    uri.authority()
        .map(|it| it.as_str().rsplit('@').next().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// What was at the bottom of it.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Straight, or through a proxy.
#[derive(Clone)]
struct Route {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.intercept(&destination) else {
            let connected = self.direct.call(destination);
            return Box::pin(async move { connected.await.map_err(Into::into) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let connected = tunnel.call(destination);
        Box::pin(async move { connected.await.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_https_or_stay_on_this_machine() {
        for good in ["https://idp.example.com/token", "http://127.0.0.1:8080/token", "http://localhost/x"] {
            assert!(safe(good).is_ok(), "{good}");
        }
        for bad in
            ["http://idp.example.com/token", "idp.example.com", "ftp://idp", "", "http://127.0.0.1.evil.com/"]
        {
            assert!(matches!(safe(bad), Err(Error::Url { .. })), "{bad}");
        }
    }

    #[test]
    fn an_error_repeats_no_query() {
        let error = malformed("https://idp/token?code=secret", &"no JSON");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_clock_that_is_off_is_described_from_this_machine() {
        assert!(skew_in_words(3660, "idp").contains("61 minutes behind that of idp"));
        assert!(skew_in_words(-3600, "idp").contains("60 minutes ahead of that of idp"));
    }
}
