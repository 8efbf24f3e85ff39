//! Traces as a collector gets them: a request's hops, from the visitor to the endpoint, belong to one trace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use support::tunnel::{Connector, WEB, answers, get, http, http1, http2, plan, tunnel};
use support::{Backend, Seen, eventually};
use tokio::sync::Notify;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

#[expect(dead_code, unused_imports, clippy::unused_async, reason = "the other binary's tests use the rest")]
mod support;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const VISITOR: &str = "00f067aa0ba902b7";

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|it| it.scope_spans);
        self.0.lock().unwrap().extend(spans.flat_map(|it| it.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// One that listens on loopback.
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    /// The spans of a trace, by name.
    fn of(&self, trace: &str) -> BTreeMap<String, Span> {
        let spans = self.0.lock().unwrap();
        let ours = spans.iter().filter(|it| hex(&it.trace_id) == trace);
        ours.map(|it| (it.name.clone(), it.clone())).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A body that begins, and then breaks off once that is wanted, or goes on until nobody wants it any more.
async fn endless(breaks: Arc<Notify>) -> Backend {
    Backend::new(move |_: http::Request<hyper::body::Incoming>| {
        let breaks = Arc::clone(&breaks);
        async move {
            let (send, chunks) = tokio::sync::mpsc::channel::<
                Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>,
            >(1);
            tokio::spawn(async move {
                let _ = send.send(Ok(Frame::data(Bytes::from_static(b"begun")))).await;
                tokio::select! {
                    () = breaks.notified() => drop(send.send(Err("broken on purpose".into())).await),
                    () = send.closed() => {}
                }
            });
            Ok(http::Response::new(StreamBody::new(ReceiverStream::new(chunks)).boxed()))
        }
    })
    .await
}

async fn how_a_body_ended_is_told_by_every_hop(collector: &Collector) {
    let breaks = Arc::new(Notify::new());
    let backend = endless(Arc::clone(&breaks)).await;
    let (_first, second, _connector) = two_replicas(&http(backend.address)).await;
    eventually("its connector is there", async || {
        let asked = http2(&second, WEB).await.send(get(WEB, "/")).await;
        asked.is_ok_and(|it| it.status() == 200)
    })
    .await;
    let cases = [
        ("/broken", "6bf92f3577b34da6a3ce929d0e0e4736", "broken"),
        ("/endless", "7bf92f3577b34da6a3ce929d0e0e4736", "abandoned"),
    ];
    for (path, trace, end) in cases {
        let mut request = get(WEB, path);
        request.headers_mut().insert("traceparent", format!("00-{trace}-{VISITOR}-01").parse().unwrap());
        let mut response = http2(&second, WEB).await.send(request).await.unwrap();
        let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "begun");
        if end == "broken" {
            breaks.notify_one();
            assert!(response.body_mut().frame().await.unwrap().is_err());
        } else {
            assert!(collector.of(trace).is_empty(), "it has not ended");
        }
        drop(response);
        eventually("each hop has ended", || async { collector.of(trace).len() == 3 }).await;
        for (hop, span) in collector.of(trace) {
            assert_eq!(attribute(&span, "portcullis.body").as_deref(), Some(end), "{hop} {path}");
            assert_eq!(attribute(&span, "http.response.body.size").as_deref(), Some("5"), "{hop} {path}");
            assert_eq!(attribute(&span, "http.response.status_code").as_deref(), Some("200"), "{hop} {path}");
            let failed = span.status.is_some_and(|it| it.message == "the body broke off");
            assert_eq!(failed, end == "broken", "{hop} {path}");
        }
    }
}

/// Two replicas of one gateway, the second of which has no connector.
async fn two_replicas(endpoint: &str) -> (support::Door, support::Door, Connector) {
    let mut plan = plan(vec![tunnel("web", endpoint)]);
    let sibling = plan.sibling();
    let (first, second) = tokio::join!(plan.start(), sibling.start());
    let connector = Connector::start(&first, "web", endpoint).await;
    (first, second, connector)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hops_of_a_request_are_a_chain_in_the_visitor_s_own_trace() {
    let (collector, address) = Collector::start().await;
    portcullis_trace::install_to(&format!("http://{address}"), "portcullis-of-the-tests").unwrap();

    let echo = Backend::echo().await;
    let (_first, second, _connector) = two_replicas(&http(echo.address)).await;
    answers(&second, WEB, 200).await;
    let mut request = get(WEB, "/a?secret=hunter2");
    let headers = request.headers_mut();
    headers.insert("traceparent", format!("00-{TRACE}-{VISITOR}-01").parse().unwrap());
    headers.insert("tracestate", "shop=1".parse().unwrap());
    let answer = http1(&second, WEB).await.ask(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen: Seen = answer.json();

    eventually("all hops are with the collector", || async { collector.of(TRACE).len() == 3 }).await;
    let spans = collector.of(TRACE);
    let [gateway, peer, connector] = ["gateway", "peer", "connector"].map(|name| &spans[name]);
    assert_eq!(hex(&gateway.parent_span_id), VISITOR);
    assert_eq!(peer.parent_span_id, gateway.span_id);
    assert_eq!(connector.parent_span_id, peer.span_id);
    // The endpoint is told whose child it is, and what else the visitor said of the trace.
    assert_eq!(seen.all("traceparent"), [format!("00-{TRACE}-{}-01", hex(&connector.span_id))]);
    assert_eq!(seen.all("tracestate"), ["shop=1"]);
    for span in spans.values() {
        assert_eq!(attribute(span, "portcullis.body").as_deref(), Some("whole"));
        assert_eq!(attribute(span, "http.response.body.size"), Some(answer.text.len().to_string()));
        assert_eq!(attribute(span, "url.path").as_deref(), Some("/a"));
        assert_eq!(attribute(span, "http.response.status_code").as_deref(), Some("200"));
        assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
    }
    assert_eq!(attribute(gateway, "portcullis.route").as_deref(), Some("tunnel"));
    assert_eq!(attribute(gateway, "server.address").as_deref(), Some(WEB));

    // Without a trace of the visitor's, one begins here.
    let seen: Seen = http1(&second, WEB).await.ask(get(WEB, "/b")).await.json();
    let told = seen.all("traceparent")[0].to_owned();
    let began = told.split('-').nth(1).unwrap().to_owned();
    eventually("those too", || async { collector.of(&began).len() == 3 }).await;
    assert!(collector.of(&began)["gateway"].parent_span_id.is_empty());
    // One that is not to be kept is not, and the endpoint knows.
    let mut request = get(WEB, "/c");
    let left_out = "5bf92f3577b34da6a3ce929d0e0e4736";
    request.headers_mut().insert("traceparent", format!("00-{left_out}-{VISITOR}-00").parse().unwrap());
    let seen: Seen = http1(&second, WEB).await.ask(request).await.json();
    let told = seen.all("traceparent")[0];
    assert!(told.starts_with(&format!("00-{left_out}-")) && told.ends_with("-00"), "{told}");

    Box::pin(how_a_body_ended_is_told_by_every_hop(&collector)).await;
    portcullis_trace::finish().await;
    assert!(collector.of(left_out).is_empty());
}
