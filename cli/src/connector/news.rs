//! What happens to a connector, for whoever shows it to a person. A log is another thing: this is told as it happens, and
//! dropped where nobody keeps up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::sync::mpsc;

use super::counts::Counts;

/// News that wait to be shown; more are dropped.
const WAITING: usize = 1024;

/// What happened.
#[derive(Clone, Debug)]
pub enum News {
    /// There is a connection to a replica.
    Connected {
        /// Its name.
        replica: String,
    },
    /// It is gone.
    Lost {
        /// The replica's name.
        replica: String,
        /// Why, where it did not simply end.
        why: Option<String>,
    },
    /// It could not be opened; it is tried again.
    NotConnected {
        /// Why.
        why: String,
    },
    /// A visitor's request has come to its end.
    Visited(Visit),
}

/// One request of a visitor.
#[derive(Clone, Debug)]
pub struct Visit {
    /// GET and the like; CONNECT for bytes that are no HTTP.
    pub method: Method,
    /// Without what stands behind `?`, which may be secret.
    pub path: String,
    /// The endpoint's answer; none where it gave none.
    pub status: Option<StatusCode>,
    /// From its arrival here to its last byte.
    pub took: Duration,
    /// Bytes of the endpoint's answer.
    pub bytes: u64,
}

/// Where news go, and where they are counted; nowhere, where nobody listens or counts.
#[derive(Clone, Debug, Default)]
pub struct Teller {
    listener: Option<mpsc::Sender<News>>,
    counts: Option<Arc<Counts>>,
    /// Connections that were lost and not opened again yet.
    lost: Arc<AtomicUsize>,
}

impl Teller {
    /// One that is listened to.
    pub fn heard() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { listener: Some(sender), ..Self::default() }, receiver)
    }

    /// One that counts, for `/metrics`.
    pub fn counting() -> Self {
        Self { counts: Some(Arc::new(Counts::new())), ..Self::default() }
    }

    /// The same, for connections that have nothing to do with those before.
    pub(super) fn anew(&self) -> Self {
        Self { lost: Arc::default(), ..self.clone() }
    }

    pub(super) fn tell(&self, news: impl FnOnce() -> News) {
        if self.listener.is_none() && self.counts.is_none() {
            return;
        }
        let news = news();
        if let Some(counts) = &self.counts {
            match news {
                News::Connected { .. } => counts.connected(self.take_lost()),
                News::Lost { .. } => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    counts.lost();
                }
                News::NotConnected { .. } | News::Visited(_) => {}
            }
        }
        if let Some(sender) = &self.listener {
            // Whoever does not keep up misses some.
            let _ = sender.try_send(news);
        }
    }

    /// Whether one was lost before, for which there is another one now.
    fn take_lost(&self) -> bool {
        self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lost| lost.checked_sub(1)).is_ok()
    }

    pub(super) fn counts(&self) -> Option<&Arc<Counts>> {
        self.counts.as_ref()
    }

    /// A client certificate is shown that ends then, in seconds since 1970, or none.
    pub(super) fn shows(&self, ends: Option<i64>) {
        if let Some(counts) = &self.counts {
            counts.shows(ends);
        }
    }

    /// What it serves with was read again, well or not.
    pub fn reloaded(&self, well: bool) {
        if let Some(counts) = &self.counts {
            counts.reloaded(well);
        }
    }

    /// A request that begins now.
    pub(super) fn visit(&self, method: &Method, path: &str) -> Option<Box<Underway>> {
        self.listener.as_ref()?;
        let visit = Visit {
            method: method.clone(),
            path: path.to_owned(),
            status: None,
            took: Duration::ZERO,
            bytes: 0,
        };
        Some(Box::new(Underway { visit, began: Instant::now(), teller: self.clone() }))
    }
}

/// A request in flight, told of when it is dropped.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) visit: Visit,
    began: Instant,
    teller: Teller,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.visit.took = self.began.elapsed();
        self.teller.tell(|| News::Visited(self.visit.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_of_at_its_end_and_without_listeners_costs_nothing() {
        assert!(Teller::default().visit(&Method::GET, "/").is_none());
        let (teller, mut heard) = Teller::heard();
        let mut underway = teller.visit(&Method::GET, "/a").unwrap();
        underway.visit.bytes = 7;
        assert!(heard.try_recv().is_err());
        drop(underway);
        let Ok(News::Visited(visit)) = heard.try_recv() else { panic!("nothing was told") };
        assert_eq!((visit.method, visit.path.as_str(), visit.bytes), (Method::GET, "/a", 7));
    }

    #[test]
    fn who_does_not_keep_up_misses_some_and_stops_nobody() {
        let (teller, mut heard) = Teller::heard();
        for number in 0..2 * WAITING {
            teller.tell(|| News::Connected { replica: number.to_string() });
        }
        let mut count = 0;
        while heard.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, WAITING);
    }
}
