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

    /// Half to all of the next wait, by chance, so that a thousand replicas do not dial as one.
    pub(super) async fn wait(&mut self) {
        let wait = jittered(self.next, rand::random());
        self.next = (self.next * 2).min(LONGEST);
        tokio::time::sleep(wait).await;
    }

    /// A redirect is followed at once, but two operators that point at each other are not hammered.
    pub(super) async fn wait_short(&mut self) {
        if self.next > FIRST {
            self.wait().await;
        } else {
            self.next = FIRST * 2;
        }
    }
}

/// `chance` is between 0 and 1.
fn jittered(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[test]
    fn a_wait_is_between_half_and_all_of_its_length() {
        assert_eq!(jittered(LONGEST, 0.0), LONGEST / 2);
        assert_eq!(jittered(LONGEST, 1.0), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_until_ten_seconds() {
        let mut backoff = Backoff::default();
        let mut longest = FIRST;
        for _ in 0..12 {
            let began = Instant::now();
            backoff.wait().await;
            let waited = began.elapsed();
            assert!(waited >= longest / 2 && waited <= longest + Duration::from_millis(1), "{waited:?}");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_redirect_is_followed_at_once_and_the_next_ones_are_not() {
        let mut backoff = Backoff::default();
        let began = Instant::now();
        backoff.wait_short().await;
        assert!(began.elapsed().is_zero());
        backoff.wait_short().await;
        assert!(began.elapsed() >= FIRST);
    }
}
