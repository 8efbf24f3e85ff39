//! Calls to a gateway, whichever way it is reached: TLS with a client certificate, a bearer token over that or over plain
//! TLS, no TLS at all next to a trusted proxy, or a WebSocket through an identity-aware edge.
//!
//! ```text
//! let channel = Channel::open(&resolved, &access).await?;
//! let mut client = TunnelsClient::new(channel.service());
//! let tunnels = channel.call("list the tunnels", client.list_tunnels(request)).await?;
//! ```
//!
//! What must not live here: which gateway is meant ([`crate::gateways`]), where tokens come from.

mod access;
mod connect;
mod failed;
mod get;
mod noticed;
mod service;
mod token;

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic::{Response, Status};

pub use access::Access;
pub use get::{Document, NoDocument, get, read};
pub use service::Service;
pub use token::{Anonymous, Held, Token, TokenSource};

use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::store::Mode;
use connect::Connector;
pub(crate) use connect::said;
use noticed::Noticed;

/// How often a connection with an answer under way is tried, and how long that may take.
const PING: Duration = Duration::from_secs(20);

/// A connection to a gateway that is opened again when it breaks.
#[derive(Clone, Debug)]
pub struct Channel {
    service: Service,
    noticed: Noticed,
    gateway: Resolved,
    timeout: Duration,
}

impl Channel {
    /// Connects.
    ///
    /// # Errors
    /// Where nothing answers, or nothing that can be believed.
    pub async fn open(gateway: &Resolved, access: &Access) -> Result<Self, Failure> {
        let noticed = Noticed::default();
        let connector = Connector::new(gateway, access, noticed.clone());
        // TLS is the connector's business; tonic would want to do it again for a URL that says https.
        let dialled = Endpoint::from_static("http://gateway")
            .origin(gateway.origin())
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .map(|it| it.http2_keep_alive_interval(PING).keep_alive_timeout(PING));
        let endpoint = dialled.map_err(|error| Failure::new(Exit::Failed, crate::failure::chain(&error)))?;
        let connected =
            tokio::time::timeout(access.timeout, endpoint.connect_with_connector(connector)).await;
        let inner = match connected {
            Ok(Ok(inner)) => inner,
            Ok(Err(error)) => return Err(failed::to_connect(gateway, &error, &noticed)),
            Err(_) => return Err(failed::in_time(gateway, access.timeout)),
        };
        // Whoever opened a WebSocket asks inside, whatever requests inside say.
        let tokens = (gateway.metadata.mode != Mode::Edge).then(|| Arc::clone(&access.tokens));
        let service = Service::new(inner, tokens);
        Ok(Self { service, noticed, gateway: gateway.clone(), timeout: access.timeout })
    }

    /// What clients of the gateway's API are made with.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// Which gateway this is.
    pub fn gateway(&self) -> &Resolved {
        &self.gateway
    }

    /// Waits for an answer, for no longer than the command line allows.
    ///
    /// # Errors
    /// What came back instead, in words. `doing` is what was tried, such as "list the tunnels".
    pub async fn call<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failed(doing, &status)),
            Err(_) => Err(failed::in_time(&self.gateway, self.timeout)),
        }
    }

    /// The same, of something that knows its own words.
    ///
    /// # Errors
    /// What it comes to, or that it took too long.
    pub async fn in_time<T>(&self, what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, what).await {
            Ok(done) => done,
            Err(_) => Err(failed::in_time(&self.gateway, self.timeout)),
        }
    }

    /// What came back, in words.
    pub fn failed(&self, doing: &str, status: &Status) -> Failure {
        failed::call(&self.gateway, doing, status, &self.noticed)
    }
}
