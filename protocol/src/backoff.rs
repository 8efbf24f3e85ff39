//! How long to wait before dialling again: doubling, jittered, bounded.

use std::time::Duration;

/// The first wait is no longer than this.
pub const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer than this.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Doubles with every wait, from 100 ms to 10 s.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The last attempt came through.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Whether nothing was waited for since the last attempt that came through.
    pub fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// Half to all of the next wait, by `chance` between 0 and 1, so that a thousand do not dial as one.
    pub fn next(&mut self, chance: f64) -> Duration {
        let wait = jittered(self.next, chance);
        self.skip();
        wait
    }

    /// The next wait is as long as if there had been one.
    pub fn skip(&mut self) {
        self.next = (self.next * 2).min(LONGEST);
    }
}

/// `chance` is between 0 and 1.
fn jittered(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wait_is_between_half_and_all_of_its_length() {
        assert_eq!(jittered(LONGEST, 0.0), LONGEST / 2);
        assert_eq!(jittered(LONGEST, 1.0), LONGEST);
    }

    proptest! {
        #[test]
        fn waits_double_until_ten_seconds_and_begin_anew(chance in 0.0..1.0_f64) {
            let mut backoff = Backoff::default();
            let mut longest = FIRST;
            for _ in 0..12 {
                let wait = backoff.next(chance);
                prop_assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
                longest = (longest * 2).min(LONGEST);
            }
            prop_assert_eq!(longest, LONGEST);
            backoff.reset();
            prop_assert!(backoff.next(chance) <= FIRST);
        }
    }
}
