//! `/healthz` and `/readyz`, plain HTTP: ready while there is a connection.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::settings::Error;

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6.
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| Error::Listen { address, source })
}

/// Answers until stopped.
pub(super) async fn serve(listener: TcpListener, connected: watch::Receiver<usize>, stop: CancellationToken) {
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let connected = connected.clone();
            let answers = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.uri().path(), *connected.borrow());
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).keep_alive(false);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answers));
        }
    };
    stop.run_until_cancelled(accepting).await;
}

fn answer(path: &str, connected: usize) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "alive\n".to_owned()),
        "/readyz" if connected > 0 => (StatusCode::OK, format!("{connected} connections\n")),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not connected to any replica\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "there are /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
