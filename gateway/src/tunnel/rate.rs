//! How many requests a tunnel takes: a bucket that fills evenly (GCRA), in one atomic.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_contract::snapshot::RateLimit;
use tokio::time::Instant;

const SECOND: u64 = 1_000_000_000;

/// Lets so many requests through.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    began: Instant,
    /// When the bucket will be full again: nanoseconds since `began`.
    full_at: AtomicU64,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, began: Instant::now(), full_at: AtomicU64::new(0) }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes one request; otherwise says after how many seconds there will be room.
    pub(super) fn take(&self) -> Result<(), u64> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let each = SECOND / u64::from(self.limit.requests_per_second.max(1));
        let room = each * u64::from(self.limit.burst.max(1));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now) + each;
            (next <= now + room).then_some(next)
        });
        let wait = |full_at: u64| (full_at + each).saturating_sub(now + room).div_ceil(SECOND).max(1);
        taken.map(|_| ()).map_err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_and_then_as_many_a_second_as_there_may_be() {
        let bucket = Bucket::new(RateLimit { requests_per_second: 2, burst: 3 });
        let through = |count: usize| (0..count).filter(|_| bucket.take().is_ok()).count();
        assert_eq!(through(10), 3);
        assert_eq!(bucket.take(), Err(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(through(10), 2);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(through(10), 3);
    }
}
