//! What a probe shows when it comes in through the public name: a seal that every replica can check and nobody else can
//! make, under a key derived from the server's private key. It lets a request for `HEAD /` past the tunnel's `access`, or
//! has it asked whether a `tcp://` endpoint accepts connections, and nothing more.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue, Method, Request};
use zeroize::Zeroizing;

/// In a request: the pass. In its answer: [`PASSED`], where the endpoint has answered.
pub(crate) const PROBE: HeaderName = HeaderName::from_static("portcullis-probe");
/// In the answer to a probe: where it broke.
pub(crate) const HOP: HeaderName = HeaderName::from_static("portcullis-hop");
/// In the answer to a probe: what broke and what to do.
pub(super) const DETAIL: HeaderName = HeaderName::from_static("portcullis-detail");
/// See [`PROBE`].
pub(super) const PASSED: HeaderValue = HeaderValue::from_static("passed");
/// How long a pass is good, in seconds; clocks of replicas may differ by as much.
const SECONDS: i64 = 60;
/// Bytes of the key.
const KEY: usize = 32;

/// Makes and checks passes.
#[derive(Default)]
pub(crate) struct Passes {
    /// None while there is no server certificate.
    key: ArcSwapOption<hmac::Key>,
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

impl Passes {
    /// Seals under a key derived from this private key from now on.
    pub(crate) fn set_key(&self, private_key: &[u8]) {
        let prk = Salt::new(HKDF_SHA256, b"portcullis probe").extract(private_key);
        let mut bytes = Zeroizing::new([0; KEY]);
        let filled = prk.expand(&[b"passes"], Length).and_then(|okm| okm.fill(&mut *bytes));
        // It fails for lengths that are none.
        self.key.store(filled.ok().map(|()| Arc::new(hmac::Key::new(HMAC_SHA256, &*bytes))));
    }

    /// A pass for one tunnel.
    pub(super) fn issue(&self, uid: &str, now: i64) -> Option<HeaderValue> {
        HeaderValue::try_from(self.pass(uid, now)?).ok()
    }

    /// The same, as text.
    pub(super) fn pass(&self, uid: &str, now: i64) -> Option<String> {
        Some(format!("{now}.{}", self.seal(&text(uid, now))?))
    }

    /// Proof that a replica of this gateway has said this.
    pub(super) fn seal(&self, text: &str) -> Option<String> {
        let key = self.key.load();
        Some(URL_SAFE_NO_PAD.encode(hmac::sign(key.as_ref()?, text.as_bytes())))
    }

    /// Whether it is such a proof.
    pub(super) fn is_seal(&self, seal: &str, text: &str) -> bool {
        let (key, Ok(tag)) = (self.key.load(), URL_SAFE_NO_PAD.decode(seal)) else { return false };
        key.as_ref().is_some_and(|key| hmac::verify(key, text.as_bytes(), &tag).is_ok())
    }

    /// Whether a request is a probe of this tunnel.
    pub(super) fn is_probe<B>(&self, request: &Request<B>, uid: &str, now: i64) -> bool {
        let Some(shown) = request.headers().get(PROBE).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        request.method() == Method::HEAD && request.uri().path() == "/" && self.holds(shown, uid, now)
    }

    /// Whether it is a pass for this tunnel, and not too old.
    pub(super) fn holds(&self, shown: &str, uid: &str, now: i64) -> bool {
        let Some((at, seal)) = shown.split_once('.') else { return false };
        let Ok(at) = at.parse::<i64>() else { return false };
        at.abs_diff(now) <= SECONDS.unsigned_abs() && self.is_seal(seal, &text(uid, at))
    }
}

fn text(uid: &str, at: i64) -> String {
    format!("{at} {uid}")
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(method: Method, path: &str, pass: &HeaderValue) -> Request<()> {
        Request::builder().method(method).uri(path).header(PROBE, pass).body(()).unwrap()
    }

    #[test]
    fn a_pass_is_good_for_one_tunnel_one_request_and_a_minute() {
        let (passes, others) = (Passes::default(), Passes::default());
        assert!(passes.issue("a", 100).is_none());
        passes.set_key(b"the server's");
        others.set_key(b"another's");
        let pass = passes.issue("a", 100).unwrap();
        assert!(passes.is_probe(&probe(Method::HEAD, "/", &pass), "a", 160));
        for (request, uid, now) in [
            (probe(Method::HEAD, "/", &pass), "b", 100),
            (probe(Method::HEAD, "/", &pass), "a", 161),
            (probe(Method::HEAD, "/x", &pass), "a", 100),
            (probe(Method::GET, "/", &pass), "a", 100),
            (probe(Method::HEAD, "/", &HeaderValue::from_static("100.AAAA")), "a", 100),
            (probe(Method::HEAD, "/", &HeaderValue::from_static("")), "a", 100),
        ] {
            assert!(!passes.is_probe(&request, uid, now), "{request:?} {uid} {now}");
        }
        assert!(!others.is_probe(&probe(Method::HEAD, "/", &pass), "a", 100));
    }
}
