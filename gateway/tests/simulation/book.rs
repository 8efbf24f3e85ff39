//! What has happened in one run, and what of it breaks an invariant.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The invariants of docs/reference/protocol.md, as failures name them.
pub(super) const WHOLE: &str = "an answer is whole and the right one, or an error";
pub(super) const OWN: &str = "nobody gets another visitor's or another tunnel's bytes";
pub(super) const ONCE: &str = "no request is carried out twice";
pub(super) const GONE: &str = "what is removed, off or revoked is not served";
pub(super) const BOUNDED: &str = "every request ends in bounded time";

/// What a revocation may take to reach a connection that is open, as is promised.
const REVOCATION: Duration = Duration::from_secs(5);

/// The two tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    /// Two connectors serve it, with a certificate for it alone.
    Web,
    /// One connector serves it, as a client of the gateway.
    Lab,
}

impl Which {
    pub(super) const ALL: [Self; 2] = [Self::Web, Self::Lab];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Lab => "lab",
        }
    }

    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Web => "web.t.example.com",
            Self::Lab => "lab.t.example.com",
        }
    }
}

/// From when to when a replica must not serve a tunnel.
struct Closed {
    replica: usize,
    which: Which,
    from: Instant,
    until: Option<Instant>,
}

pub(super) struct Book {
    began: Instant,
    ids: AtomicU64,
    carried_out: Mutex<HashMap<u64, u32>>,
    closed: Mutex<Vec<Closed>>,
    log: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            ids: AtomicU64::new(1),
            carried_out: Mutex::default(),
            closed: Mutex::default(),
            log: Mutex::default(),
            violations: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// A number that no other request of this run has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn note(&self, what: impl AsRef<str>) {
        let line = format!("{:>6} ms  {}", self.began.elapsed().as_millis(), what.as_ref());
        self.log.lock().unwrap().push(line);
    }

    pub(super) fn violation(&self, invariant: &str, what: impl AsRef<str>) {
        self.note(format!("VIOLATION: {}", what.as_ref()));
        self.violations.lock().unwrap().push(format!("{invariant}: {}", what.as_ref()));
    }

    /// An endpoint has begun to carry out a request.
    pub(super) fn carry_out(&self, id: u64) {
        let times = {
            let mut all = self.carried_out.lock().unwrap();
            let times = all.entry(id).or_default();
            *times += 1;
            *times
        };
        if times > 1 {
            self.violation(ONCE, format!("request {id} came {times} times"));
        }
    }

    /// A replica has applied a snapshot in which this is not to be served.
    pub(super) fn close(&self, replica: usize, which: Which, revoked: bool) {
        let from = Instant::now() + if revoked { REVOCATION } else { Duration::ZERO };
        self.closed.lock().unwrap().push(Closed { replica, which, from, until: None });
    }

    /// It is about to be told that it is to be served again.
    pub(super) fn open(&self, which: Which) {
        let mut closed = self.closed.lock().unwrap();
        for it in closed.iter_mut().filter(|it| it.which == which && it.until.is_none()) {
            it.until = Some(Instant::now());
        }
    }

    /// An endpoint's answer has come to a visitor of this replica.
    pub(super) fn answered(&self, replica: usize, which: Which, id: u64, began: Instant) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let ended = Instant::now();
        let was_closed = self.closed.lock().unwrap().iter().any(|it| {
            (it.replica, it.which) == (replica, which)
                && began > it.from
                && it.until.is_none_or(|until| ended < until)
        });
        if was_closed {
            self.violation(GONE, format!("request {id} for {which:?} was answered by replica {replica}"));
        }
    }

    /// All that has been noted, where anything is wrong.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let violations = self.violations.lock().unwrap();
        if violations.is_empty() {
            return Ok(());
        }
        Err(format!("{}\nwhat happened:\n{}", violations.join("\n"), self.log.lock().unwrap().join("\n")))
    }

    pub(super) fn told(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

/// Bytes that no other request of the run has, neither as an upload nor as an answer.
pub(super) fn content(part: &str, id: u64, length: usize) -> Vec<u8> {
    let mut state = part.bytes().fold(id.wrapping_mul(0x9e37_79b9_7f4a_7c15), |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
