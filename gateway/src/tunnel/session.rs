//! One connector's connection, as the gateway uses it: a client of HTTP/2, what the connector offered, and what it was
//! told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::SendRequest;
use portcullis_contract::tunnel::instruction::Instruction as Told;
use portcullis_contract::tunnel::{Drain, Instruction, Offer, Service, Services};
use portcullis_protocol::limits::{PING, PONG, STREAMS};
use portcullis_protocol::{carried, message};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::names::Tunnels;
use super::outbound::Outbound;
use crate::backend::Place;

/// Instructions that wait for a connector. One that does not take them is not there any more.
const INSTRUCTIONS: usize = 16;

/// How long a connector that was told to go is kept after its last request.
const QUIET: Duration = Duration::from_secs(1);

/// What is known of a connector's connection.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) connector: String,
    /// SPIFFE identity, or the user of a token.
    pub(crate) identity: String,
    /// Of its certificate; empty for a token.
    pub(crate) fingerprint: String,
    pub(crate) remote: String,
    /// `tls` or `websocket`.
    pub(crate) transport: &'static str,
    /// Milliseconds since the epoch.
    pub(crate) since_ms: i64,
    pub(crate) version: String,
}

/// A connector's connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Tells it from every other one of this replica, earlier ones too.
    pub(super) number: u64,
    pub(crate) facts: Facts,
    pub(super) offers: Vec<Offer>,
    sender: SendRequest<Outbound>,
    in_flight: Arc<AtomicUsize>,
    /// No new requests, as either side has said.
    leaving: AtomicBool,
    round_trip_us: AtomicU32,
    instructions: mpsc::Sender<Bytes>,
    /// Cancelled when the connection has ended.
    ended: CancellationToken,
}

/// What the connector is told on the control stream.
pub(super) type Instructions = mpsc::Receiver<Bytes>;

impl Session {
    pub(super) fn new(
        number: u64,
        facts: Facts,
        offers: Vec<Offer>,
        sender: SendRequest<Outbound>,
        ended: CancellationToken,
    ) -> (Self, Instructions) {
        let (instructions, told) = mpsc::channel(INSTRUCTIONS);
        let session = Self {
            number,
            facts,
            offers,
            sender,
            in_flight: Arc::default(),
            leaving: AtomicBool::new(false),
            round_trip_us: AtomicU32::new(0),
            instructions,
            ended,
        };
        (session, told)
    }

    /// How many requests it carries; None where it takes no more.
    pub(super) fn load(&self) -> Option<usize> {
        let load = self.in_flight.load(Ordering::Relaxed);
        let full = load >= usize::try_from(STREAMS).unwrap_or(usize::MAX);
        (!full && !self.ended.is_cancelled() && !self.sender.is_closed()).then_some(load)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Microseconds; 0 before it was measured.
    pub(crate) fn round_trip_us(&self) -> u32 {
        self.round_trip_us.load(Ordering::Relaxed)
    }

    /// Sends a request. One that was not sent comes back.
    pub(crate) async fn send(
        &self,
        request: Request<Outbound>,
    ) -> Result<(Response<Incoming>, Place), TrySendError<Request<Outbound>>> {
        let place = Place::take(&self.in_flight);
        let response = self.sender.clone().try_send_request(request).await?;
        Ok((response, place))
    }

    /// The services that the connector offers and the configuration still has.
    pub(super) fn services(&self, tunnels: Option<&Tunnels>) -> Vec<Service> {
        let Some(tunnels) = tunnels else { return Vec::new() };
        self.offers.iter().filter_map(|offer| super::admission::service(tunnels, offer).ok()).collect()
    }

    /// Tells the connector what it serves from now on.
    pub(super) fn tell(&self, services: Vec<Service>) {
        self.instruct(Told::Services(Services { services }));
    }

    /// Tells the connector to go elsewhere; what is in flight may finish.
    pub(crate) fn drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.instruct(Told::Drain(Drain {}));
    }

    /// The connector is connected anew: whoever waits here waits in vain.
    pub(super) fn give_up(&self) {
        tracing::info!(connector = %self.facts.connector, "cut: the connector has given this connection up");
        self.ended.cancel();
    }

    /// Waits until no request has been in flight for a moment: long enough for the connector to be elsewhere.
    pub(super) async fn quiet(&self) {
        let mut ticks = interval(QUIET / 10);
        let mut quiet = 0;
        while quiet < 10 {
            ticks.tick().await;
            quiet = if self.in_flight.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }

    fn instruct(&self, told: Told) {
        let instruction = Instruction { instruction: Some(told) };
        // One that has become too long is refused, and told why, when it comes again.
        let sent =
            message::fits(&instruction) && self.instructions.try_send(message::encode(&instruction)).is_ok();
        if !sent && !self.ended.is_cancelled() {
            tracing::warn!(connector = %self.facts.connector, "cut: the connector takes no instructions");
            self.ended.cancel();
        }
    }

    /// Keeps the control stream, and measures round trips, until the connection ends.
    pub(super) async fn attend(self: Arc<Self>, told: Instructions) {
        let work = async { tokio::join!(self.control(told), self.measure()) };
        self.ended.run_until_cancelled(work).await;
    }

    /// The connector ends its answer when it wants no more requests.
    async fn control(&self, told: Instructions) {
        let request = request(Method::POST, carried::CONTROL, Outbound::Instructions(told));
        if let Ok(mut response) = self.sender.clone().send_request(request).await {
            while let Some(Ok(_)) = response.body_mut().frame().await {}
        }
        self.leaving.store(true, Ordering::Relaxed);
    }

    async fn measure(&self) {
        let mut ticks = interval(PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (began, request) = (Instant::now(), request(Method::GET, carried::PING, Outbound::Nothing));
            let answered = tokio::time::timeout(PONG, self.sender.clone().send_request(request)).await;
            if !matches!(answered, Ok(Ok(_))) {
                tracing::info!(connector = %self.facts.connector, "cut: the connector does not answer");
                return self.ended.cancel();
            }
            self.round_trip_us.store(micros(began.elapsed()), Ordering::Relaxed);
        }
    }
}

fn request(method: Method, path: &'static str, body: Outbound) -> Request<Outbound> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("connector")
        .path_and_query(path)
        .build()
        .unwrap_or_default();
    request
}

pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1)
}
