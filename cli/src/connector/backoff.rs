//! How long to wait before dialling again: doubling, jittered, bounded.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles with every wait, from 100 ms to 10 s.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The last attempt came through.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Half to all of the next wait, by chance, so that a thousand connectors do not dial as one.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random_range(0.5..1.0));
        self.next = (self.next * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_ten_seconds_and_begin_anew() {
        let mut backoff = Backoff::default();
        let mut longest = FIRST;
        for _ in 0..12 {
            let wait = backoff.next();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
