//! How the operator is waited for.

use portcullis_protocol::backoff;

/// Waits longer after each attempt that fails.
#[derive(Debug, Default)]
pub(super) struct Backoff(backoff::Backoff);

impl Backoff {
    /// The last attempt came through.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0.next(rand::random())).await;
    }

    /// A redirect is followed at once, but two operators that point at each other are not hammered.
    pub(super) async fn wait_short(&mut self) {
        if self.0.is_fresh() {
            self.0.skip();
        } else {
            self.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_protocol::backoff::{FIRST, LONGEST};
    use std::time::Duration;
    use tokio::time::Instant;

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
