//! How much time a machine that is busy with other things has taken from those that run on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How often it is looked.
const TICK: Duration = Duration::from_millis(50);
/// What a sleep may take longer on a machine that has nothing else to do.
const USUAL: Duration = Duration::from_millis(10);

/// Measures from its beginning on, until dropped. Promises of seconds are held against the clock less this: a process that
/// gets no time breaks none.
#[derive(Debug)]
pub struct Lag {
    lost: Arc<[AtomicU64; 2]>,
    watch: JoinHandle<()>,
}

impl Lag {
    /// Begins to measure.
    pub fn begin() -> Self {
        let lost = Arc::<[AtomicU64; 2]>::default();
        let told = Arc::clone(&lost);
        let watch = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                sleep(TICK).await;
                let late = began.elapsed().saturating_sub(TICK + USUAL);
                let late = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                told[0].fetch_add(late, Ordering::Relaxed);
                told[1].fetch_max(late, Ordering::Relaxed);
            }
        });
        Self { lost, watch }
    }

    /// How much later than it should have everything came, together, so far: for what takes many steps. Several programs
    /// take part in it, each of which waits its turn.
    pub fn so_far(&self) -> Duration {
        2 * Duration::from_millis(self.lost[0].load(Ordering::Relaxed))
    }

    /// The longest that anything came too late, so far, for each of the few programs that take part in one step.
    pub fn worst(&self) -> Duration {
        4 * Duration::from_millis(self.lost[1].load(Ordering::Relaxed))
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
