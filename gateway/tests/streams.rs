//! Bodies that flow, both ways, slowly, or not to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::backend::reply;
use crate::support::caller::{Answer, Body, Error, exchange};
use crate::support::{Backend, Door, body, eventually, request, soon};

/// A body that is sent piece by piece.
fn piecewise() -> (mpsc::Sender<Result<Frame<Bytes>, Error>>, Body) {
    let (pieces, stream) = mpsc::channel(1);
    (pieces, StreamBody::new(ReceiverStream::new(stream)).boxed())
}

#[expect(clippy::unnecessary_wraps, reason = "a piece of a body that may also fail")]
fn piece(text: &'static str) -> Result<Frame<Bytes>, Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn post(body: Body) -> Request<Body> {
    Request::post("/a").header("host", "a").header("te", "trailers").body(body).unwrap()
}

/// Answers with the body as it comes in, trailers and all.
async fn mirror() -> Backend {
    Backend::new(|request| async move {
        let mut response = Response::new(request.into_body().map_err(Into::into).boxed());
        response.headers_mut().insert("trailer", "x-end".parse()?);
        Ok(response)
    })
    .await
}

async fn next(body: &mut hyper::body::Incoming) -> Frame<Bytes> {
    soon("a frame", body.frame()).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_piece_goes_both_ways_before_the_next_is_sent() {
    let mirror = mirror().await;
    for door in [Door::to_http1(mirror.address).await, Door::to_h2c(mirror.address).await] {
        let (pieces, body) = piecewise();
        pieces.send(piece("first")).await.unwrap();
        let mut caller = door.http2().await;
        let mut response = caller.send(post(body)).await.unwrap();
        assert_eq!(next(response.body_mut()).await.into_data().unwrap(), "first");
        pieces.send(piece("second")).await.unwrap();
        assert_eq!(next(response.body_mut()).await.into_data().unwrap(), "second");
        drop(pieces);
        assert_eq!(Answer::of(response).await.unwrap().text, "");
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let mirror = mirror().await;
    for door in [Door::to_http1(mirror.address).await, Door::to_h2c(mirror.address).await] {
        let sent = || {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "yes".parse().unwrap());
            let frames = [piece("hello"), Ok(Frame::trailers(trailers))];
            let mut sent = post(StreamBody::new(futures::stream::iter(frames)).boxed());
            sent.headers_mut().insert("trailer", "x-end".parse().unwrap());
            sent
        };
        let over_http2 = door.http2().await.ask(sent()).await;
        let mut over_http1 = sent();
        over_http1.headers_mut().insert("connection", "te".parse().unwrap());
        for answer in [over_http2, door.http1().await.ask(over_http1).await] {
            assert_eq!((answer.text.as_str(), answer.trailers["x-end"].to_str().unwrap()), ("hello", "yes"));
        }
    }
}

#[tokio::test]
async fn a_reader_that_stalls_holds_the_backend_back_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let endless = Backend::new(move |request| {
        let sent = Arc::clone(&counted);
        async move {
            if request.uri().path() == "/small" {
                return Ok(reply("small"));
            }
            let pieces = futures::stream::repeat_with(move || {
                sent.fetch_add(16 * 1024, Ordering::SeqCst);
                Ok(Frame::data(Bytes::from(vec![0; 16 * 1024])))
            });
            Ok(Response::new(StreamBody::new(futures::StreamExt::take(pieces, 10_000)).boxed()))
        }
    })
    .await;
    for door in [Door::to_http1(endless.address).await, Door::to_h2c(endless.address).await] {
        sent.store(0, Ordering::SeqCst);
        let mut caller = door.http2().await;
        let stalled = caller.send(request("/endless")).await.unwrap();
        // Others go on, on the same connection, for as long as it takes the buffers between to fill.
        let mut before = usize::MAX;
        while sent.load(Ordering::SeqCst) != before {
            before = sent.load(Ordering::SeqCst);
            for _ in 0..50 {
                assert_eq!(caller.get("/small").await.text, "small");
            }
        }
        assert!(before < 40 * 1024 * 1024, "{before} bytes were buffered");
        drop(stalled);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_request_at_the_backend() {
    let (began, mut beginnings) = mpsc::channel::<oneshot::Receiver<()>>(4);
    let patient = Backend::new(move |_| {
        let began = began.clone();
        async move {
            let (guard, dropped) = oneshot::channel::<()>();
            began.send(dropped).await?;
            let _guard = guard;
            std::future::pending().await
        }
    })
    .await;
    for door in [Door::to_http1(patient.address).await, Door::to_h2c(patient.address).await] {
        // A stream that is reset, on a connection that stays.
        let mut caller = door.http2().await;
        let asking = tokio::spawn(async move { caller.send(request("/wait")).await });
        let dropped = soon("the request arrives", beginnings.recv()).await.unwrap();
        asking.abort();
        assert!(soon("it is cancelled", dropped).await.is_err());
        // A connection that is closed.
        let mut stream = door.tls(&door.ci, "http/1.1").await;
        stream.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let dropped = soon("the request arrives", beginnings.recv()).await.unwrap();
        drop(stream);
        assert!(soon("it is cancelled", dropped).await.is_err());
    }
}

/// Tells, when a request is over, whether its body had come whole; a request that is cancelled is over too.
struct End {
    whole: bool,
    told: mpsc::Sender<bool>,
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.told.try_send(self.whole);
    }
}

#[tokio::test]
async fn an_upload_cut_in_the_middle_never_looks_whole_to_the_backend() {
    let (began, mut beginnings) = mpsc::channel(4);
    let (ended, mut ends) = mpsc::channel(4);
    let careful = Backend::new(move |request| {
        let end = End { whole: false, told: ended.clone() };
        let began = began.clone();
        async move {
            began.send(()).await?;
            let mut end = end;
            end.whole = request.into_body().collect().await.is_ok();
            Ok(reply("done"))
        }
    })
    .await;
    for door in [Door::to_http1(careful.address).await, Door::to_h2c(careful.address).await] {
        for raw in [
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ] {
            let mut stream = door.tls(&door.ci, "http/1.1").await;
            stream.write_all(raw.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            soon("the upload begins", beginnings.recv()).await;
            drop(stream);
            assert_eq!(soon("the upload ends", ends.recv()).await, Some(false), "{raw}");
        }
        let (pieces, body) = piecewise();
        pieces.send(piece("half")).await.unwrap();
        let mut caller = door.http2().await;
        let asking = tokio::spawn(async move { caller.send(post(body)).await.map(drop) });
        pieces.send(piece("more")).await.unwrap();
        soon("the upload begins", beginnings.recv()).await;
        pieces.send(Err("cut".into())).await.unwrap();
        assert_eq!(soon("the upload ends", ends.recv()).await, Some(false), "over HTTP/2");
        assert!(asking.await.unwrap().is_err());
        // A reset that says CANCEL, as a caller that changes its mind sends it.
        let (pieces, body) = piecewise();
        pieces.send(piece("half")).await.unwrap();
        let mut caller = door.http2().await;
        let asking = tokio::spawn(async move { caller.send(post(body)).await.map(drop) });
        pieces.send(piece("more")).await.unwrap();
        soon("the upload begins", beginnings.recv()).await;
        asking.abort();
        assert_eq!(soon("the upload ends", ends.recv()).await, Some(false), "cancelled");
    }
}

#[tokio::test]
async fn a_download_cut_in_the_middle_never_looks_whole_to_the_caller() {
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let broken = Backend::raw(move |mut stream| async move {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(raw.as_bytes()).await;
        })
        .await;
        let door = Door::to_http1(broken.address).await;
        let response = door.http2().await.send(request("/")).await.unwrap();
        assert!(Answer::of(response).await.is_err(), "{raw}");
        let response = door.http1().await.send(request("/")).await.unwrap();
        assert!(Answer::of(response).await.is_err(), "{raw}");
    }
    let (bodies, mut cuts) = mpsc::channel(4);
    let broken = Backend::new(move |_| {
        let bodies = bodies.clone();
        async move {
            let (pieces, body) = piecewise();
            bodies.send(pieces).await?;
            Ok(Response::new(body))
        }
    })
    .await;
    let door = Door::to_h2c(broken.address).await;
    for over_http2 in [true, false] {
        let asking = async {
            if over_http2 {
                door.http2().await.send(request("/")).await
            } else {
                door.http1().await.send(request("/")).await
            }
        };
        let (response, pieces) = tokio::join!(asking, cuts.recv());
        let (mut response, pieces) = (response.unwrap(), pieces.unwrap());
        pieces.send(piece("half")).await.unwrap();
        assert_eq!(next(response.body_mut()).await.into_data().unwrap(), "half");
        pieces.send(Err("cut".into())).await.unwrap();
        let ended = Answer::of(response).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}

#[tokio::test]
async fn a_body_is_sent_once_the_backend_says_continue() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let mut stream = door.tls(&door.ci, "http/1.1").await;
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut interim = [0; 25];
    soon("100 Continue", stream.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = String::from_utf8(exchange(stream, b"hello").await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"body\":\"hello\""), "{answer}");
}

#[tokio::test]
async fn a_backend_that_refuses_is_not_sent_the_body() {
    let refusing = Backend::new(|_| async {
        let mut response = reply("too large, and here is why");
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        Ok(response)
    })
    .await;
    let door = Door::to_http1(refusing.address).await;
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = String::from_utf8(exchange(door.tls(&door.ci, "http/1.1").await, head).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("here is why"), "{answer}");
}

#[tokio::test]
async fn a_backend_that_never_says_continue_gets_the_body_after_a_while() {
    let silent = Backend::raw(|mut stream| async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") && stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let door = Door::to_http1(silent.address).await;
    let mut sent = Request::post("/a").header("host", "a").body(body("hello")).unwrap();
    sent.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let began = tokio::time::Instant::now();
    assert_eq!(door.http2().await.ask(sent).await.text, "ok");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_dropped_download_gives_its_place_back() {
    let endless = Backend::new(|_| async {
        let pieces = futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[0; 1024]))));
        Ok(Response::new(StreamBody::new(pieces).boxed()))
    })
    .await;
    let door = Door::to_h2c(endless.address).await;
    let mut caller = door.http2().await;
    // Many more than one connection to the backend carries, one after the other.
    for _ in 0..150 {
        drop(caller.send(request("/")).await.unwrap());
    }
    eventually("few connections", || async { endless.opened() <= 2 }).await;
}
