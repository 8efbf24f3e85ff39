//! A stream of bytes between a visitor and an endpoint that is `tcp://`: nothing of it is looked at.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis_protocol::{carried, raw};
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::sync::CancellationToken;

use super::body::{Passing, Reply};
use super::counts::Counted;
use super::serve::Link;
use super::upstream::Upstream;

/// Connects to the endpoint, and carries bytes both ways where that is what is asked for.
pub(super) async fn carry(
    link: &Link,
    upstream: &Upstream,
    request: Request<Incoming>,
) -> Result<Response<Reply>, carried::Fault> {
    let mut in_flight = link.begin(&request);
    let stream = upstream.connect().await?;
    if request.method() == Method::HEAD {
        return Ok(Response::new(Reply::Empty));
    }
    let (read, mut write) = stream.into_split();
    let broken = CancellationToken::new();
    let body = raw::Outgoing::new(read, broken.clone());
    in_flight.answered(StatusCode::OK);
    let (held, received) = (link.hold(), in_flight.counts().map(Counted::received));
    let reply = Reply::Raw { body, in_flight };
    tokio::spawn(async move {
        let _held = held;
        let body = Passing::new(request.into_body(), false).counted(received);
        if let Err(error) = raw::incoming(body, &mut write, &broken).await {
            tracing::debug!(%error, "a stream of bytes broke");
            reset(write);
        }
    });
    Ok(Response::new(reply))
}

/// Closes the connection so that the endpoint does not take it for a proper end.
fn reset(write: OwnedWriteHalf) {
    // Where even that fails it is closed already.
    let _ = write.as_ref().set_zero_linger();
    write.forget();
}
