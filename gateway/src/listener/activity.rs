//! What a connection is doing, in a few atomics, and when that is too little: no request for too long, or a header
//! that does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by a connection's reader, its requests and its watchdog.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    in_flight: AtomicU32,
    /// When the last request ended: milliseconds since `began`.
    quiet_since: AtomicU64,
    /// When the first byte of the next header came: milliseconds since `began`, plus one; 0 without such a byte.
    header_since: AtomicU64,
}

/// One request in flight; ends when dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

/// What the watchdog finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to complain of; look again after this long.
    Fine(Duration),
    /// Close it the polite way.
    Idle,
    /// A header has taken too long.
    SlowHeader,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            in_flight: AtomicU32::new(0),
            quiet_since: AtomicU64::new(0),
            header_since: AtomicU64::new(0),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes came in. Between requests, they begin a header.
    pub(super) fn received(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.header_since.load(Ordering::Relaxed) == 0 {
            self.header_since.store(self.elapsed() + 1, Ordering::Relaxed);
        }
    }

    /// A header is complete.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.header_since.store(0, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    pub(super) fn find(&self, header_time: Duration, idle_time: Duration) -> Finding {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Finding::Fine(header_time);
        }
        let now = self.elapsed();
        let header_since = self.header_since.load(Ordering::Relaxed);
        let (since, allowed, finding) = if header_since > 0 {
            (header_since - 1, header_time, Finding::SlowHeader)
        } else {
            (self.quiet_since.load(Ordering::Relaxed), idle_time, Finding::Idle)
        };
        let left = allowed.saturating_sub(Duration::from_millis(now.saturating_sub(since)));
        if left.is_zero() { finding } else { Finding::Fine(left.min(header_time)) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.elapsed(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_idle_after_the_idle_time() {
        let activity = Arc::new(Activity::new());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::Fine(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_is_never_idle_and_the_clock_starts_anew_after_it() {
        let activity = Arc::new(Activity::new());
        let request = activity.begin();
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::Fine(HEADER));
        drop(request);
        tokio::time::advance(Duration::from_secs(55)).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::Fine(Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_end_is_slow() {
        let activity = Arc::new(Activity::new());
        activity.received();
        tokio::time::advance(Duration::from_secs(9)).await;
        activity.received();
        assert_eq!(activity.find(HEADER, IDLE), Finding::Fine(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::SlowHeader);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_ended_is_not_slow() {
        let activity = Arc::new(Activity::new());
        activity.received();
        drop(activity.begin());
        tokio::time::advance(HEADER).await;
        assert_eq!(activity.find(HEADER, IDLE), Finding::Fine(HEADER));
    }
}
