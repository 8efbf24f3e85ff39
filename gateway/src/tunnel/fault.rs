//! Why a visitor gets no answer of the service: what is off, what is not connected, and what is broken are three pages.

use http::StatusCode;
use portcullis_protocol::carried;
use tonic::Code;

/// Why a visitor gets no answer of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelFault {
    /// No tunnel has this name.
    Nothing,
    /// It is switched off.
    Off,
    /// No connector is connected.
    Offline,
    /// Its connectors carry as much as they may.
    Full,
    /// The connector went away before the answer came.
    Lost,
    /// Another replica, which has the connector, could not be reached.
    Peer,
    /// The connector could not get an answer.
    Endpoint(carried::Fault),
    /// Neither from this address.
    Address,
    /// Nor this path, or by this method.
    Path,
    /// Too many requests: come again after so many seconds.
    Often { seconds: u64 },
}

/// How often a browser or a client should look whether it is there again, in seconds.
const AGAIN: u64 = 5;

impl TunnelFault {
    pub(crate) fn status(self) -> StatusCode {
        use carried::Fault;
        match self {
            Self::Nothing | Self::Path => StatusCode::NOT_FOUND,
            Self::Off | Self::Offline | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Address => StatusCode::FORBIDDEN,
            Self::Often { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Endpoint(Fault::ConnectTimeout | Fault::HeaderTimeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Endpoint(Fault::NoUpgrade) => StatusCode::NOT_IMPLEMENTED,
            Self::Lost
            | Self::Peer
            | Self::Endpoint(Fault::Unreachable | Fault::Untrusted | Fault::Broken | Fault::NotServed) => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    pub(crate) fn code(self) -> Code {
        use carried::Fault;
        match self {
            Self::Nothing | Self::Path | Self::Endpoint(Fault::NoUpgrade) => Code::Unimplemented,
            Self::Address => Code::PermissionDenied,
            Self::Often { .. } | Self::Full => Code::ResourceExhausted,
            Self::Endpoint(Fault::HeaderTimeout) => Code::DeadlineExceeded,
            Self::Off | Self::Offline | Self::Lost | Self::Peer | Self::Endpoint(_) => Code::Unavailable,
        }
    }

    pub(crate) fn title(self) -> &'static str {
        use carried::Fault;
        match self {
            Self::Nothing => "Nothing answers here",
            Self::Off => "This service is switched off",
            Self::Offline => "This service is not connected",
            Self::Full => "This service is busy",
            Self::Lost | Self::Peer => "The connection to this service broke",
            Self::Endpoint(Fault::Unreachable) => "The service does not answer",
            Self::Endpoint(Fault::Untrusted) => "The service shows a certificate that is not believed",
            Self::Endpoint(Fault::ConnectTimeout | Fault::HeaderTimeout) => {
                "The service does not answer in time"
            }
            Self::Endpoint(Fault::Broken) => "The service broke off",
            Self::Endpoint(Fault::NoUpgrade) => "The service cannot be upgraded to",
            Self::Endpoint(Fault::NotServed) => "The connector does not serve this",
            Self::Address => "This service does not take visitors from here",
            Self::Path => "This service does not serve this path",
            Self::Often { .. } => "Too many requests",
        }
    }

    pub(crate) fn detail(self) -> String {
        use carried::Fault;
        match self {
            Self::Nothing => "No tunnel has this name. Look at its spelling.".into(),
            Self::Off => "Whoever runs it has switched it off: its Tunnel says enabled: false.".into(),
            Self::Offline => "Its tunnel is there, and no connector is connected: start one next to the service.".into(),
            Self::Full => "Its connectors carry as many requests as they may. Try again in a moment.".into(),
            Self::Lost => "The connector went away before the answer came. Try again.".into(),
            Self::Peer => "Another replica of the gateway has its connector and could not be reached. Try again.".into(),
            Self::Endpoint(Fault::Unreachable) => {
                "Its connector is connected, and nothing accepts connections at the endpoint: start the service, or correct the Tunnel's endpoint.".into()
            }
            Self::Endpoint(Fault::Untrusted) => {
                "Its connector is connected, and does not believe the certificate that the endpoint shows: write its root to the Tunnel's upstream.tls.caBundle, or the name in it to upstream.tls.serverName.".into()
            }
            Self::Endpoint(Fault::ConnectTimeout) => {
                "Its connector is connected, and the endpoint accepts no connection within the connect timeout.".into()
            }
            Self::Endpoint(Fault::HeaderTimeout) => {
                "The endpoint accepted the request and sent no response header within the response timeout.".into()
            }
            Self::Endpoint(Fault::Broken) => {
                "The endpoint closed the connection before its response was complete, or what it speaks is not what its Tunnel's endpoint says.".into()
            }
            Self::Endpoint(Fault::NoUpgrade) => "WebSocket and other upgrades need an endpoint that agrees to them.".into(),
            Self::Endpoint(Fault::NotServed) => {
                "Its connector does not know this tunnel, or may not forward to its endpoint.".into()
            }
            Self::Address => "Its Tunnel names the addresses that visitors may come from.".into(),
            Self::Path => "Its Tunnel names the paths and methods that are let through.".into(),
            Self::Often { seconds } => format!("Its Tunnel limits their rate. Come again after {seconds} s."),
        }
    }

    /// What stands in `Retry-After`, in seconds.
    pub(crate) fn retry_after(self) -> Option<u64> {
        match self {
            Self::Often { seconds } => Some(seconds),
            _ if self.status().is_server_error() && self.status() != StatusCode::NOT_IMPLEMENTED => {
                Some(AGAIN)
            }
            _ => None,
        }
    }

    /// Where it broke.
    pub(crate) fn hop(self) -> &'static str {
        use carried::Fault;
        match self {
            Self::Offline | Self::Full | Self::Lost | Self::Endpoint(Fault::NotServed) => "connector",
            Self::Peer => "peer",
            Self::Endpoint(_) => "endpoint",
            Self::Nothing | Self::Off | Self::Address | Self::Path | Self::Often { .. } => "gateway",
        }
    }
}
