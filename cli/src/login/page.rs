//! The pages that a browser is shown when it comes back. No script, no picture, nothing from elsewhere.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    title: &'static str,
    text: String,
}

/// It went well.
pub(super) fn done(who: &str, place: &str) -> Page {
    let text = format!(
        "You are logged in at {place} as {who}. You may close this page and go back to the terminal."
    );
    Page { status: StatusCode::OK, title: "Logged in", text }
}

/// It did not.
pub(super) fn failed(reason: &str) -> Page {
    let mut reason = reason.trim_end_matches('.').to_owned();
    if let Some(first) = reason.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let text = format!("{reason}. The terminal says so too; run the command again there.");
    Page { status: StatusCode::BAD_REQUEST, title: "Not logged in", text }
}

/// The state is none that was made here.
pub(super) fn stranger() -> Page {
    let text = "This page belongs to another login, or to none that was begun here. Open the address that the terminal shows.";
    Page { status: StatusCode::BAD_REQUEST, title: "Another login", text: text.to_owned() }
}

/// It came back before.
pub(super) fn used() -> Page {
    let text =
        "This login was finished before. Look at the terminal, and run the command again where it says so.";
    Page { status: StatusCode::BAD_REQUEST, title: "Finished before", text: text.to_owned() }
}

/// There is nothing at this address.
pub(super) fn nothing() -> Page {
    let text = "There is nothing here. A command in a terminal listens at this address until somebody has logged in.";
    Page { status: StatusCode::NOT_FOUND, title: "Nothing here", text: text.to_owned() }
}

impl From<Page> for Response<Full<Bytes>> {
    fn from(page: Page) -> Self {
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}</style>\n\
             <h1>{title}</h1>\n<p>{text}</p>\n</html>\n",
            title = page.title,
            text = escape(&page.text),
        );
        let mut response = Response::new(Full::new(Bytes::from(html)));
        *response.status_mut() = page.status;
        protect(&mut response);
        response
    }
}

/// No script, no frame, no cache, no referrer.
pub(super) fn protect(response: &mut Response<Full<Bytes>>) {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (OPENER, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_stays_text() {
        assert_eq!(escape("<b onclick='x'>&\""), "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;");
    }
}
