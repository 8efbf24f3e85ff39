//! The one page, and the headers that keep others from framing it, scripting it or sending its form elsewhere.

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::connect::Wish;
use crate::auth::Principal;
use crate::body::Body;
use crate::fault::escape;

/// Who is let in where, and a button.
pub(super) fn ask(principal: &Principal, wish: &Wish, seal: &str) -> Response<Body> {
    let (user, port) = (escape(&principal.user), wish.callback_port);
    let code = if wish.code.is_empty() {
        String::new()
    } else {
        format!("<p>The program must show this code too: <strong>{}</strong></p>\n", escape(&wish.code))
    };
    // The form goes to the page's own address, query included.
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Let a program act for you?</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.5rem 1.5rem}}small{{color:#666}}</style>\n\
         <h1>Let a program act for you?</h1>\n\
         <p>You are signed in as <strong>{user}</strong>.</p>\n\
         <p>A program on this computer (127.0.0.1, port {port}) asks to act for you at this gateway, until your \
         sign-in ends.</p>\n{code}\
         <form method=\"post\"><input type=\"hidden\" name=\"seal\" value=\"{seal}\">\
         <button>Continue</button></form>\n\
         <p><small>If you did not start such a program, close this page: nothing has been handed over.</small></p>\n"
    );
    let mut response = Response::new(Body::from(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    protect(headers, port);
    response
}

/// No script, no frame, no cache, no referrer; a form that goes to this page, and from there to the program alone.
pub(super) fn protect(headers: &mut HeaderMap, port: u16) {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'self' http://127.0.0.1:{port}"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (OPENER, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
