//! Which configuration each connection was last held against. A replica says that it serves a configuration once every
//! connection has been: what it revokes is cut by then.

use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A connection's place in a round: held until it is held against a newer configuration, or is gone.
pub(crate) type Place = TaskTrackerToken;

/// A round for each configuration.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    current: ArcSwap<TaskTracker>,
    /// Those before it that somebody is still in.
    earlier: Mutex<Vec<TaskTracker>>,
}

impl Rounds {
    /// Takes a place in the current round. Whoever does so *before* it looks at the configuration sees this round's or a
    /// later one.
    pub(crate) fn join(&self) -> Place {
        self.current.load().token()
    }

    /// Begins a round: there is a new configuration.
    pub(crate) fn next(&self) {
        let before = self.current.swap(TaskTracker::new().into());
        before.close();
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|round| !round.is_empty());
        earlier.push(TaskTracker::clone(&before));
    }

    /// Waits until nobody is in an earlier round any more.
    pub(crate) async fn caught_up(&self) {
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for round in earlier {
            round.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn it_has_caught_up_once_everybody_has_moved_on_or_is_gone() {
        let rounds = Rounds::default();
        let (mut one, two) = (rounds.join(), rounds.join());
        assert!(rounds.caught_up().now_or_never().is_some(), "there is no other round yet");
        rounds.next();
        assert!(rounds.caught_up().now_or_never().is_none());
        one = replace(one, &rounds);
        assert!(rounds.caught_up().now_or_never().is_none(), "somebody is still there");
        rounds.next();
        drop(two);
        assert!(rounds.caught_up().now_or_never().is_none(), "and somebody in the round between");
        drop(one);
        assert!(rounds.caught_up().now_or_never().is_some());
        assert!(rounds.earlier.lock().unwrap().len() <= 2);
    }

    fn replace(old: Place, rounds: &Rounds) -> Place {
        let new = rounds.join();
        drop(old);
        new
    }
}
