//! Requests and responses as they are sent: methods, queries, repeated headers, routes, pools.

use std::time::Duration;

use http::{Method, Request};
use portcullis_contract::snapshot::{Match, Protocol, Target};

use crate::support::backend::reply;
use crate::support::door::{Plan, backend, prefix};
use crate::support::{Answer, Backend, Door, Seen, body, request};

#[tokio::test]
async fn method_query_headers_and_body_arrive_as_sent() {
    let echo = Backend::echo().await;
    for door in [Door::to_http1(echo.address).await, Door::to_h2c(echo.address).await] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let sent = || {
                Request::builder()
                    .method(Method::from_bytes(method.as_bytes()).unwrap())
                    .uri("/a%2Fb/c%20d?x=1&x=2&empty=&q=%E2%82%AC+1")
                    .header("host", "door.example:8443")
                    .header("x-many", "one")
                    .header("x-many", "two")
                    .header("authorization", "Bearer kept")
                    .body(body(if matches!(method, "GET" | "HEAD") { "" } else { "hello" }))
                    .unwrap()
            };
            let over_http1 = door.http1().await.ask(sent()).await;
            let over_http2 = door.http2().await.ask(sent()).await;
            for answer in [over_http1, over_http2] {
                assert_eq!(answer.status, 200);
                if method == "HEAD" {
                    assert_eq!(answer.text, "");
                    assert_ne!(answer.headers["content-length"], "0");
                    continue;
                }
                let seen: Seen = answer.json();
                assert_eq!(seen.method, method);
                assert!(seen.uri.ends_with("/a%2Fb/c%20d?x=1&x=2&empty=&q=%E2%82%AC+1"), "{}", seen.uri);
                assert_eq!(seen.all("x-many"), ["one", "two"]);
                assert_eq!(seen.all("authorization"), ["Bearer kept"]);
                assert_eq!(seen.body, if method == "GET" { "" } else { "hello" });
                if seen.version == "HTTP/2.0" {
                    assert!(seen.uri.starts_with("http://door.example:8443/"), "{}", seen.uri);
                } else {
                    assert_eq!(seen.all("host"), ["door.example:8443"]);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_most_specific_backend_gets_the_request() {
    let names = ["root", "api", "deep", "greeter"];
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::new(move |_| async move { Ok(reply(name)) }).await);
    }
    let to = |name: usize, matches| backend(names[name], matches, backends[name].address, Protocol::Http1);
    let door = Plan::new(vec![
        to(0, prefix("/")),
        to(1, prefix("/api")),
        to(2, prefix("/api/deep")),
        to(3, Match::GrpcService("hello.Greeter".to_owned())),
    ])
    .start()
    .await;
    let mut caller = door.http2().await;
    for (path, name) in [
        ("/", "root"),
        ("/apix", "root"),
        ("/api", "api"),
        ("/api/?x=/api/deep", "api"),
        ("/api/deepest", "api"),
        ("/api/deep/x", "deep"),
        ("/hello.Greeter/Hello", "greeter"),
    ] {
        assert_eq!(caller.get(path).await.text, name, "{path}");
    }
}

#[tokio::test]
async fn what_matches_nothing_is_404_and_what_is_missing_is_503() {
    let echo = Backend::echo().await;
    let mut missing = backend("shop", prefix("/shop"), echo.address, Protocol::Http1);
    missing.target = Target::Unresolved { reason: "Service \"shop\" not found".to_owned() };
    let door =
        Plan::new(vec![backend("api", prefix("/api"), echo.address, Protocol::Http1), missing]).start().await;
    let mut caller = door.http1().await;
    assert_eq!(caller.get("/api/x").await.status, 200);
    let answer = caller.get("/elsewhere").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json::<serde_json::Value>()["hop"].as_str()),
        (404, Some("gateway"))
    );
    let answer = caller.get("/shop/x").await;
    let problem: serde_json::Value = answer.json();
    assert_eq!((answer.status.as_u16(), problem["backend"].as_str()), (503, Some("shop")));
    assert!(problem["detail"].as_str().unwrap().contains("Service \"shop\" not found"), "{problem}");
    assert_eq!(caller.get("/api/x").await.status, 200);
}

#[tokio::test]
async fn connections_to_backends_are_used_again() {
    let echo = Backend::echo().await;
    for door in [Door::to_http1(echo.address).await, Door::to_h2c(echo.address).await] {
        let before = echo.opened();
        let mut caller = door.http2().await;
        for _ in 0..20 {
            let request = Request::post("/a").header("host", "a").body(body("hello")).unwrap();
            assert_eq!(caller.ask(request).await.status, 200);
        }
        assert_eq!(echo.opened() - before, 1);
    }
}

#[tokio::test]
async fn a_connection_that_has_waited_as_long_as_it_may_is_not_used_again() {
    let echo = Backend::echo().await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]);
    plan.options.limits.backend_idle_time = Duration::ZERO;
    let door = plan.start().await;
    let mut caller = door.http2().await;
    for _ in 0..3 {
        assert_eq!(caller.get("/a").await.status, 200);
    }
    assert_eq!(echo.opened(), 3);
}

#[tokio::test]
async fn an_early_answer_does_not_spoil_the_connection_for_the_next_caller() {
    // Answers at once, whether or not the body has come.
    let early = Backend::new(|_| async { Ok(reply("early")) }).await;
    let door = Door::to_http1(early.address).await;
    let mut caller = door.http2().await;
    for _ in 0..20 {
        let request = Request::post("/a").header("host", "a").body(body(vec![b'x'; 300_000])).unwrap();
        if let Ok(response) = caller.send(request).await {
            // A backend that closes on a body that it has not read may take its answer with it.
            let answer = Answer::of(response).await.unwrap();
            assert!(answer.text == "early" || answer.status == 502, "{answer:?}");
        }
        assert_eq!(caller.get("/b").await.text, "early");
    }
}

#[tokio::test]
async fn an_absolute_uri_names_the_host_whatever_the_host_field_says() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let sent =
        Request::get("http://right.example/a?b=c").header("host", "wrong.example").body(body("")).unwrap();
    let seen: Seen = door.http1().await.ask(sent).await.json();
    assert_eq!((seen.uri.as_str(), seen.all("host")), ("/a?b=c", vec!["right.example"]));
    assert_eq!(seen.all("x-forwarded-host"), ["right.example"]);
}

#[tokio::test]
async fn cookies_that_http_2_splits_are_one_field_for_http_1() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let mut sent = request("/");
    sent.headers_mut().append("cookie", "a=1".parse().unwrap());
    sent.headers_mut().append("cookie", "b=2".parse().unwrap());
    let seen: Seen = door.http2().await.ask(sent).await.json();
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn statuses_and_repeated_response_headers_come_back_as_sent() {
    let backend = Backend::new(|_| async {
        let mut response = reply("gone");
        *response.status_mut() = http::StatusCode::GONE;
        response.headers_mut().append("set-cookie", "a=1".parse()?);
        response.headers_mut().append("set-cookie", "b=2".parse()?);
        response.headers_mut().insert("connection", "x-hop".parse()?);
        response.headers_mut().insert("x-hop", "1".parse()?);
        Ok(response)
    })
    .await;
    let door = Door::to_http1(backend.address).await;
    for answer in [door.http1().await.get("/").await, door.http2().await.get("/").await] {
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (410, "gone"));
        assert_eq!(answer.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert!(!answer.headers.contains_key("x-hop"));
    }
}

#[tokio::test]
async fn head_never_has_a_body_whoever_answers() {
    // An HTTP/2 server of hyper sends one all the same.
    let careless = Backend::new(|_| async { Ok(reply("hello")) }).await;
    let door = Door::to_h2c(careless.address).await;
    let head = |path: &str| Request::head(path).header("host", "a").body(body("")).unwrap();
    for path in ["/a", "/healthz", "/a/../b"] {
        for answer in [door.http1().await.ask(head(path)).await, door.http2().await.ask(head(path)).await] {
            assert_eq!(answer.text, "");
            assert_ne!(answer.headers.get("content-length").unwrap(), "0", "{path}");
        }
    }
}
