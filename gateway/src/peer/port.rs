//! The port that other replicas dial: what is held here, and requests for it, which go to a connector of ours or nowhere.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_contract::identity::Holder;
use portcullis_contract::peer::Held;
use portcullis_protocol::limits::{
    CONNECTION_WINDOW, FRAME, PING, PONG, SEND_BUFFER, STREAM_WINDOW, STREAMS, UNSENT,
};
use portcullis_protocol::{carried, message};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{HELD, tls};
use crate::auth::Chain;
use crate::backend::{self, Reply, Upload};
use crate::body::{Body, BoxError};
use crate::shared::Shared;
use crate::tunnel::Outbound;

const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const BUFFER: usize = 64 * 1024;

/// Serves other replicas until this one is cut; what they have sent is finished like a visitor's own.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let cut = shared.lifeline.cut.clone();
    let accepting = async {
        loop {
            let Ok((stream, peer)) = listener.accept().await else { continue };
            let shared = Arc::clone(&shared);
            shared.lifeline.tasks.clone().spawn(async move {
                match tokio::time::timeout(HANDSHAKE_TIME, admit(stream, &shared)).await {
                    Ok(Ok(stream)) => talk(stream, shared).await,
                    Ok(Err(error)) => tracing::info!(%peer, %error, "turned away from the replicas' port"),
                    Err(_) => {}
                }
            });
        }
    };
    cut.run_until_cancelled(accepting).await;
}

/// Only replicas of this very gateway come in.
async fn admit(stream: TcpStream, shared: &Shared) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
    let config = tls::server(&shared.tls_dir).await?;
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let chain = Chain::read(stream.get_ref().1.peer_certificates());
    let identity = chain.certificate.as_ref().and_then(|it| it.identity().ok());
    let config = shared.config();
    let is_replica = config.as_ref().zip(identity).is_some_and(|(config, identity)| {
        identity.holder == Holder::Replica
            && identity.trust_domain == config.trust_domain
            && identity.namespace == config.gateway.namespace
            && identity.gateway == config.gateway.name
    });
    if is_replica {
        Ok(stream)
    } else {
        Err(io::Error::other("the certificate is no replica's of this gateway"))
    }
}

async fn talk(stream: TlsStream<TcpStream>, shared: Arc<Shared>) {
    let (cut, answering) = (shared.lifeline.cut.clone(), Arc::clone(&shared));
    let answers = service_fn(move |request| answer(Arc::clone(&answering), request));
    let http = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(stream), answers);
    let _ = cut.run_until_cancelled(http).await;
}

async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == HELD && !request.headers().contains_key(carried::TUNNEL) {
        return Ok(Response::new(tonic::body::Body::new(StreamBody::new(held(shared))).into()));
    }
    let mut span = portcullis_trace::serve(&mut request, "peer");
    let mut response = forward(&shared, request).await;
    span.answered(response.as_ref());
    if let Some(response) = &mut response {
        response.body_mut().trace(span);
    }
    Ok(response.unwrap_or_else(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().insert(carried::FAULT, carried::Fault::NotServed.header());
        response
    }))
}

/// What is held here, at once and whenever it changes. It ends when this replica stops: then others should come no more.
fn held(shared: Arc<Shared>) -> impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> {
    let (mut changes, stop) = (shared.sessions.changes(), shared.lifeline.stop.clone());
    changes.mark_changed();
    futures::stream::unfold((shared, changes, stop), |(shared, mut changes, stop)| async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            heard = changes.changed() => heard.ok()?,
        }
        let tunnels = shared.sessions.held().iter().map(ToString::to_string).collect();
        let held = message::encode(&Held { replica: shared.pod.clone(), tunnels });
        Some((Ok(Frame::data(held)), (shared, changes, stop)))
    })
}

/// None: there is no connector here.
async fn forward(shared: &Shared, mut request: Request<Incoming>) -> Option<Response<Body>> {
    let uid = request.headers().get(carried::TUNNEL)?.to_str().ok()?.to_owned();
    let session = shared.sessions.pick(&uid)?;
    let upgrade = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let is_upgrade = upgrade.is_some();
    let outgoing = request
        .map(|body| Outbound::Visitor(if is_upgrade { Upload::empty() } else { Upload::new(body, true) }));
    let (mut response, place) = session.send(outgoing).await.ok()?;
    if let Some(theirs) = upgrade
        && response.status() == StatusCode::OK
        && !response.headers().contains_key(carried::FAULT)
    {
        let ours = hyper::upgrade::on(&mut response);
        let cut = shared.lifeline.cut.clone();
        shared.lifeline.callers.spawn(async move {
            let carrying = async {
                let (theirs, ours) = tokio::try_join!(theirs, ours).ok()?;
                let (mut theirs, mut ours) = (TokioIo::new(theirs), TokioIo::new(ours));
                tokio::io::copy_bidirectional_with_sizes(&mut theirs, &mut ours, BUFFER, BUFFER).await.ok()
            };
            cut.run_until_cancelled(carrying).await;
            drop(place);
        });
        return Some(response.map(|_| Body::empty()));
    }
    // What the connector says of a fault is for the replica that asked.
    Some(backend::incoming(response.map(|body| Reply::h2c(body, place))))
}
