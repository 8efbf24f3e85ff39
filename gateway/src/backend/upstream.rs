//! One backend of the snapshot and its connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use portcullis_contract::snapshot::{Auth, Backend, Protocol, Requirement, Target};

use super::dial::{Address, DialError, Dialer};
use super::reply::Reply;
use super::upload::Upload;
use super::{h2c, http1};
use crate::fault::Fault;
use crate::metrics::RouteClass;

/// A backend: where it is, what it speaks, how long it may take.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: Arc<str>,
    protocol: Protocol,
    target: Result<Pool, String>,
    /// `Host` for callers that sent none.
    host_header: HeaderValue,
    times: Times,
    forwards_certificate: bool,
    auth: Auth,
    requires: Vec<Requirement>,
}

/// How long a backend may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) connect: Duration,
    /// Until the response's header.
    pub(super) response: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Pool {
    Http1(Arc<http1::Pool>),
    H2c(Arc<h2c::Pool>),
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    Dial(DialError),
    TimedOut,
    Broken(hyper::Error),
}

impl Upstream {
    /// A backend, with the connections that one of `previous` has to the same place.
    pub(crate) fn new(backend: &Backend, previous: &[Arc<Self>], dialer: &Dialer) -> Self {
        let target = match &backend.target {
            Target::Unresolved { reason } => Err(reason.clone()),
            Target::Address { host, port } => {
                let address = Address { host: host.clone(), port: *port };
                let known = previous
                    .iter()
                    .filter_map(|upstream| upstream.target.as_ref().ok())
                    .find(|pool| pool.leads_to(&address, backend.protocol));
                Ok(known.cloned().unwrap_or_else(|| Pool::new(address, backend.protocol, dialer)))
            }
        };
        let host = match &backend.target {
            Target::Address { host, port } => format!("{host}:{port}"),
            Target::Unresolved { .. } => String::new(),
        };
        Self {
            name: backend.name.as_str().into(),
            protocol: backend.protocol,
            target,
            host_header: HeaderValue::try_from(host).unwrap_or_else(|_| HeaderValue::from_static("")),
            times: Times {
                connect: Duration::from_millis(backend.connect_timeout_ms),
                response: (backend.request_timeout_ms > 0)
                    .then(|| Duration::from_millis(backend.request_timeout_ms)),
            },
            forwards_certificate: backend.forward_client_certificate,
            auth: backend.auth,
            requires: backend.requires.clone(),
        }
    }

    pub(crate) fn class(&self) -> RouteClass {
        match self.protocol {
            Protocol::Http1 => RouteClass::Http1,
            Protocol::H2c => RouteClass::H2c,
        }
    }

    /// Whether callers must say who they are.
    pub(crate) fn auth(&self) -> Auth {
        self.auth
    }

    /// What they need beyond that.
    pub(crate) fn requires(&self) -> &[Requirement] {
        &self.requires
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    pub(super) fn forwards_certificate(&self) -> bool {
        self.forwards_certificate
    }

    pub(super) fn check_resolved(&self) -> Result<(), Fault> {
        match &self.target {
            Ok(_) => Ok(()),
            Err(reason) => Err(Fault::Unresolved { backend: self.name(), reason: reason.clone() }),
        }
    }

    /// Sends a request over a connection that is open or opened for it.
    pub(super) async fn send(&self, request: Request<Upload>) -> Result<Response<Reply>, Fault> {
        self.check_resolved()?;
        let sent = match &self.target {
            Ok(Pool::Http1(pool)) => pool.send(request, self.times).await,
            Ok(Pool::H2c(pool)) => pool.send(request, self.times).await,
            Err(reason) => {
                return Err(Fault::Unresolved { backend: self.name(), reason: reason.clone() });
            }
        };
        sent.map_err(|error| self.fault(error))
    }

    fn fault(&self, error: SendError) -> Fault {
        let backend = self.name();
        match error {
            SendError::Dial(DialError::TimedOut) => Fault::ConnectTimeout { backend },
            SendError::Dial(DialError::Failed(error)) => {
                tracing::info!(%backend, %error, "failed to connect to a backend");
                Fault::Unreachable { backend, reason: words(&error).to_owned() }
            }
            SendError::TimedOut => Fault::HeaderTimeout { backend },
            SendError::Broken(error) => {
                tracing::info!(%backend, error = &error as &dyn std::error::Error, "a backend broke off");
                Fault::Broken { backend, reason: "it closed the connection or spoke no HTTP".to_owned() }
            }
        }
    }
}

/// What a caller may know of a failed connection: no addresses.
fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it",
        io::ErrorKind::TimedOut => "connection timed out",
        _ => "its name does not resolve, or no connection can be opened",
    }
}

impl Pool {
    fn new(address: Address, protocol: Protocol, dialer: &Dialer) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(Arc::new(http1::Pool::new(address, dialer.clone()))),
            Protocol::H2c => Self::H2c(Arc::new(h2c::Pool::new(address, dialer.clone()))),
        }
    }

    fn leads_to(&self, address: &Address, protocol: Protocol) -> bool {
        match self {
            Self::Http1(pool) => protocol == Protocol::Http1 && pool.address() == address,
            Self::H2c(pool) => protocol == Protocol::H2c && pool.address() == address,
        }
    }
}
