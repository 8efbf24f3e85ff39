//! When an issuer is asked for its keys: at the start until it answers, ahead of their end, and when a token names one
//! that nobody knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{State, fetch};

/// How long discovery and keys may take together.
const FETCH_TIME: Duration = Duration::from_secs(10);
/// How long a request waits for the keys that its token needs.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The first wait after a failure while there are no keys at all; doubles up to the pause.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How far asking has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    under_way: bool,
    began: Option<Instant>,
    ended: u64,
}

/// Keeps the keys of an issuer fresh for as long as it is polled.
pub(super) async fn keep(state: Arc<State>) {
    let mut failures = 0;
    loop {
        state
            .progress
            .send_modify(|it| *it = Progress { under_way: true, began: Some(Instant::now()), ..*it });
        let fetched = timeout(FETCH_TIME, fetch::keys(&state.parameters)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            Err(format!("{} does not answer within {} s", state.parameters.issuer, FETCH_TIME.as_secs()))
        });
        let ok = fetched.is_ok();
        state.take(fetched);
        state.progress.send_modify(|it| *it = Progress { under_way: false, ended: it.ended + 1, ..*it });
        failures = if ok { 0 } else { failures + 1 };
        let has_keys = state.ring.load().is_some();
        let ttl = Duration::from_secs(state.parameters.jwks_ttl_seconds);
        let wait = wait(failures, has_keys, ttl, state.pause, rand::random());
        tokio::select! {
            () = sleep(wait) => {}
            () = state.wished() => {}
        }
    }
}

/// How long until the issuer is asked again. `chance` is between 0 and 1: replicas do not ask as one.
fn wait(failures: u32, has_keys: bool, ttl: Duration, pause: Duration, chance: f64) -> Duration {
    let longest = match (failures, has_keys) {
        // Ahead of their end.
        (0, _) => ttl.mul_f64(0.8),
        (_, true) => pause,
        (failures, false) => FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(pause),
    };
    longest.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 8.0)
}

impl State {
    async fn wished(&self) {
        loop {
            self.wish.notified().await;
            if !self.progress.borrow().is_recent(self.pause) {
                return;
            }
        }
    }

    /// Waits until the issuer was asked anew. False where that was only just now.
    pub(super) async fn refreshed(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let before = *progress.borrow_and_update();
        if !before.under_way && before.is_recent(self.pause) {
            return false;
        }
        self.wish.notify_one();
        let ended = timeout(REQUEST_TIME, progress.wait_for(|now| now.ended > before.ended)).await;
        ended.is_ok_and(|ended| ended.is_ok())
    }
}

impl Progress {
    fn is_recent(&self, pause: Duration) -> bool {
        self.began.is_some_and(|began| began.elapsed() < pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_ahead_of_their_end_and_failures_wait_longer_each_time() {
        let (ttl, pause) = (Duration::from_secs(100), Duration::from_secs(30));
        assert_eq!(wait(0, true, ttl, pause, 0.0), Duration::from_secs(80));
        assert_eq!(wait(0, true, ttl, pause, 1.0), Duration::from_secs(70));
        assert_eq!(wait(1, false, ttl, pause, 0.0), FIRST_WAIT);
        assert_eq!(wait(3, false, ttl, pause, 0.0), FIRST_WAIT * 4);
        assert_eq!(wait(40, false, ttl, pause, 0.0), pause);
        assert_eq!(wait(1, true, ttl, pause, 0.0), pause, "the last good keys go on meanwhile");
    }
}
