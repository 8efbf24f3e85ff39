//! What requests between gateway and connector say beside the visitor's own words. Neither side passes any of it on.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The uid of the tunnel that a request is for.
pub const TUNNEL: HeaderName = HeaderName::from_static("portcullis-tunnel");
/// In a connector's answer: why the endpoint did not give one ([`Fault`]).
pub const FAULT: HeaderName = HeaderName::from_static("portcullis-fault");
/// The path of the stream of instructions.
pub const CONTROL: &str = "/portcullis.tunnel.v1/control";
/// The path that answers at once with nothing: what a round trip takes.
pub const PING: &str = "/portcullis.tunnel.v1/ping";

/// The user agent of the gateway's own probes.
pub const PROBER: HeaderValue = HeaderValue::from_static("portcullis-probe");
/// The path of a stream of bytes, for tunnels whose endpoint is `tcp://`: a POST carries them both ways, its answer comes
/// when the endpoint has accepted the connection. A HEAD asks whether it would, and carries nothing.
pub const RAW: &str = "/portcullis.tunnel.v1/raw";

/// Why an endpoint did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection: refused, no route, its name does not resolve.
    Unreachable,
    /// Its certificate is not believed.
    Untrusted,
    /// The connection took longer than it may.
    ConnectTimeout,
    /// The response's header took longer than it may.
    HeaderTimeout,
    /// It closed, reset or spoke nonsense before its response's header was complete.
    Broken,
    /// It does not switch protocols.
    NoUpgrade,
    /// The connector does not serve the tunnel, or not to this endpoint.
    NotServed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Untrusted,
        Self::ConnectTimeout,
        Self::HeaderTimeout,
        Self::Broken,
        Self::NoUpgrade,
        Self::NotServed,
    ];

    /// The fault's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::ConnectTimeout => "connect-timeout",
            Self::HeaderTimeout => "header-timeout",
            Self::Broken => "broken",
            Self::NoUpgrade => "no-upgrade",
            Self::NotServed => "not-served",
        }
    }

    /// As a header has it.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    /// The fault in a connector's answer. One that is not known counts as [`Fault::Broken`].
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(FAULT)?;
        Some(Self::ALL.into_iter().find(|fault| value == fault.as_str()).unwrap_or(Self::Broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_and_an_unknown_one_counts_as_broken() {
        for fault in Fault::ALL {
            let headers = HeaderMap::from_iter([(FAULT, fault.header())]);
            assert_eq!(Fault::read(&headers), Some(fault));
        }
        assert_eq!(
            Fault::read(&HeaderMap::from_iter([(FAULT, HeaderValue::from_static("new"))])),
            Some(Fault::Broken)
        );
        assert_eq!(Fault::read(&HeaderMap::new()), None);
    }
}
