//! The OpenTelemetry project's own collector: it takes traces by OTLP from whoever has some, and hands them to the test as
//! JSON.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{NODE, Server};
use crate::door::tool_path;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// Where it takes OTLP by gRPC, for pods too.
    pub endpoint: String,
    heard: Arc<Mutex<Vec<Span>>>,
    server: Server,
    _folder: TempDir,
}

/// A span, as the collector understood it.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of whom: `service.name`.
    pub service: String,
    /// `traceId`, in hexadecimal.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of the span that it is part of; empty: of none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// What is known of it, numbers as text.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hands_on_to = format!("http://{}", reader.local_addr().unwrap());
        tokio::spawn(read(reader, Arc::clone(&heard)));
        let free = TcpListener::bind((NODE, 0)).unwrap().local_addr().unwrap();
        let configuration = json!({
            "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": free.to_string() } } } },
            "exporters": { "otlphttp": { "endpoint": hands_on_to, "encoding": "json", "compression": "none" } },
            "service": {
                "telemetry": { "metrics": { "level": "none" } },
                "pipelines": { "traces": { "receivers": ["otlp"], "exporters": ["otlphttp"] } },
            },
        });
        let folder = tempfile::tempdir().unwrap();
        let mut command = super::contained(tool_path("collector").to_str().unwrap());
        command.arg(format!("--config=yaml:{configuration}"));
        let server = Server::start("collector", folder.path(), &mut command);
        let mut collector = Self { endpoint: format!("http://{free}"), heard, server, _folder: folder };
        let listens = async || tokio::net::TcpStream::connect(free).await.is_ok();
        collector.server.until(listens).await;
        collector
    }

    /// Every span that it heard so far and that is so.
    pub fn heard(&self, is_so: impl Fn(&Span) -> bool) -> Vec<Span> {
        self.heard.lock().unwrap().iter().filter(|span| is_so(span)).cloned().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("collector said:\n{}", self.server.words());
        }
    }
}

/// Takes what the collector hands on.
async fn read(listener: tokio::net::TcpListener, heard: Arc<Mutex<Vec<Span>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let heard = Arc::clone(&heard);
        let take = service_fn(move |request: Request<Incoming>| {
            let heard = Arc::clone(&heard);
            async move {
                if let Ok(body) = request.into_body().collect().await
                    && let Ok(said) = serde_json::from_slice::<Value>(&body.to_bytes())
                {
                    heard.lock().unwrap().extend(spans(&said));
                }
                let answer = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
    }
}

/// The spans of an export.
fn spans(said: &Value) -> Vec<Span> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut spans = Vec::new();
    for of_one in list(&said["resourceSpans"]) {
        let about = attributes(&of_one["resource"]);
        let within = list(&of_one["scopeSpans"]);
        spans.extend(within.iter().flat_map(|it| list(&it["spans"])).map(|span| Span {
            service: about.get("service.name").cloned().unwrap_or_default(),
            trace: text(&span["traceId"]),
            id: text(&span["spanId"]),
            parent: text(&span["parentSpanId"]),
            name: text(&span["name"]),
            attributes: about.clone().into_iter().chain(attributes(&span)).collect(),
        }));
    }
    spans
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let pairs = of["attributes"].as_array().into_iter().flatten();
    let read = |pair: &Value| {
        let value = pair["value"].as_object()?.values().next()?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((pair["key"].as_str()?.to_owned(), value))
    };
    pairs.filter_map(read).collect()
}
