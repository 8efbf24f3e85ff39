//! The work queue: which Gateway is visited next. A key is handed to one worker at a time; keys that something happened
//! to overtake those that are merely due again. No clock and no API server are known here.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};

/// How urgent a visit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It is due again: a resync, a renewal.
    Routine,
    /// Something happened to it.
    Changed,
}

/// A set of keys waiting for a visit.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    urgent: VecDeque<K>,
    routine: VecDeque<K>,
    /// What is in the two queues; an urgent key that also stands in `routine` is skipped there.
    waiting: HashMap<K, Urgency>,
    /// Out with a worker.
    visited: HashSet<K>,
    /// To be queued again once the worker is back.
    again: HashMap<K, Urgency>,
    /// Not before the instant.
    later: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                urgent: VecDeque::new(),
                routine: VecDeque::new(),
                waiting: HashMap::new(),
                visited: HashSet::new(),
                again: HashMap::new(),
                later: BTreeSet::new(),
                due: HashMap::new(),
            }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Asks for a visit as soon as a worker is free.
    pub fn add(&self, key: K, urgency: Urgency) {
        self.lock().add(key, urgency);
        self.changed.notify_one();
    }

    /// Asks for a visit in a while; of several wishes since the last visit the earliest holds.
    pub fn add_after(&self, key: K, delay: Duration) {
        let mut state = self.lock();
        let at = Instant::now() + delay;
        if state.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        state.forget_wish(&key);
        state.later.insert((at, key.clone()));
        state.due.insert(key, at);
        drop(state);
        self.changed.notify_one();
    }

    /// The next key, as soon as there is one. [`Queue::done`] must follow.
    pub async fn next(&self) -> K {
        loop {
            let notified = self.changed.notified();
            let wake = {
                let mut state = self.lock();
                state.wake(Instant::now());
                if let Some(key) = state.take() {
                    if !state.waiting.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match wake {
                Some(at) => tokio::select! { () = notified => {}, () = sleep_until(at) => {} },
                None => notified.await,
            }
        }
    }

    /// The worker is back; the key may be handed out again.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        state.visited.remove(key);
        if let Some(urgency) = state.again.remove(key) {
            state.add(key.clone(), urgency);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many keys wait for a worker now.
    pub fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn add(&mut self, key: K, urgency: Urgency) {
        if self.visited.contains(&key) {
            let wish = self.again.entry(key).or_insert(urgency);
            *wish = (*wish).max(urgency);
            return;
        }
        match self.waiting.get(&key) {
            Some(waiting) if *waiting >= urgency => return,
            _ => {}
        }
        self.waiting.insert(key.clone(), urgency);
        match urgency {
            Urgency::Changed => self.urgent.push_back(key),
            Urgency::Routine => self.routine.push_back(key),
        }
    }

    /// Moves what is due by now into the queues.
    fn wake(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.later.pop_first() {
                self.due.remove(&key);
                self.add(key, Urgency::Routine);
            }
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = loop {
            let (key, from) = match self.urgent.pop_front() {
                Some(key) => (key, Urgency::Changed),
                None => (self.routine.pop_front()?, Urgency::Routine),
            };
            if self.waiting.get(&key) == Some(&from) {
                break key;
            }
        };
        self.waiting.remove(&key);
        self.forget_wish(&key);
        self.visited.insert(key.clone());
        Some(key)
    }

    fn forget_wish(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn ready<K: Clone + Eq + Hash + Ord>(queue: &Queue<K>) -> Option<K> {
        queue.next().now_or_never()
    }

    #[tokio::test]
    async fn what_changed_overtakes_what_is_merely_due() {
        let queue = Queue::default();
        for key in 0..100 {
            queue.add(key, Urgency::Routine);
        }
        queue.add(100, Urgency::Changed);
        queue.add(50, Urgency::Changed);
        assert_eq!([ready(&queue), ready(&queue), ready(&queue)], [Some(100), Some(50), Some(0)]);
        assert_eq!(queue.depth(), 98, "50 is not visited twice");
    }

    #[tokio::test]
    async fn a_key_is_with_one_worker_at_a_time_and_comes_again_if_it_changed_meanwhile() {
        let queue = Queue::default();
        queue.add("a", Urgency::Changed);
        assert_eq!(ready(&queue), Some("a"));
        queue.add("a", Urgency::Changed);
        queue.add("a", Urgency::Routine);
        assert_eq!(ready(&queue), None);
        queue.done(&"a");
        assert_eq!(ready(&queue), Some("a"));
        queue.done(&"a");
        assert_eq!(ready(&queue), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_visit_comes_when_it_is_due_and_the_earliest_wish_holds() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_hours(9));
        queue.add_after("a", Duration::from_mins(1));
        queue.add_after("a", Duration::from_mins(5));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 60);
        queue.done(&"a");
        assert_eq!(ready(&queue), None, "a visit answers every wish");
    }

    #[tokio::test(start_paused = true)]
    async fn every_worker_is_woken_while_there_is_work() {
        let queue = std::sync::Arc::new(Queue::default());
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for key in 0..4 {
            queue.add(key, Urgency::Changed);
        }
        let mut seen = Vec::new();
        for worker in workers {
            seen.push(worker.await.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
}
