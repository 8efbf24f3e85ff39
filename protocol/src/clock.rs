//! The only reader of the wall clock in gateways and in the command line. Everything else is handed the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now() -> i64 {
    i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX)
}

/// Tells the time to what runs for longer.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// A clock that stands still until [`Clock::set`] moves it: for tests.
    pub fn manual(now: i64) -> Self {
        Self { fixed: Some(Arc::new(AtomicI64::new(now))) }
    }

    /// Moves a manual clock. The machine's own clock is never touched.
    pub fn set(&self, now: i64) {
        if let Some(fixed) = &self.fixed {
            fixed.store(now, Ordering::Relaxed);
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn now(&self) -> i64 {
        self.fixed.as_ref().map_or_else(now, |fixed| fixed.load(Ordering::Relaxed))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_ms(&self) -> i64 {
        let now = || i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX);
        self.fixed.as_ref().map_or_else(now, |fixed| fixed.load(Ordering::Relaxed).saturating_mul(1000))
    }
}

/// Nothing where the machine believes that it is earlier.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the wall clock")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
