//! What happens to a connector, for whoever shows it to a person. A log is another thing: this is told as it happens, and
//! dropped where nobody keeps up.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::sync::mpsc;

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

/// Where news go; nowhere, where nobody listens.
#[derive(Clone, Debug, Default)]
pub struct Teller(Option<mpsc::Sender<News>>);

impl Teller {
    /// One that is listened to.
    pub fn heard() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(sender)), receiver)
    }

    pub(super) fn tell(&self, news: impl FnOnce() -> News) {
        if let Some(sender) = &self.0 {
            // Whoever does not keep up misses some.
            let _ = sender.try_send(news());
        }
    }

    /// A request that begins now.
    pub(super) fn visit(&self, method: &Method, path: &str) -> Option<Box<Underway>> {
        self.0.as_ref()?;
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
