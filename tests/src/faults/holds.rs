//! Requests and answers that are held, so that something comes about which luck alone would bring.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::sync::{Barrier, watch};

/// Where two operators meet: the first write of each to the same object is held until the other's comes too, so that
/// neither can have seen what the other wrote.
#[derive(Debug)]
pub struct Race {
    /// How the paths end that are raced for.
    pub suffix: &'static str,
    lines: Mutex<BTreeMap<String, Arc<Barrier>>>,
}

impl Race {
    /// A race of two for every object whose path ends so.
    pub fn of_two(suffix: &'static str) -> Arc<Self> {
        Arc::new(Self { suffix, lines: Mutex::default() })
    }

    pub(super) fn line(&self, path: &str) -> Arc<Barrier> {
        self.lines.lock().unwrap().entry(path.to_owned()).or_insert_with(|| Arc::new(Barrier::new(2))).clone()
    }
}

/// Holds what the watches of a kind have to tell, until it is opened.
#[derive(Debug)]
pub struct Dam {
    /// The kind's plural.
    pub(super) kind: &'static str,
    open: watch::Sender<bool>,
}

impl Dam {
    /// An open one.
    pub fn of(kind: &'static str) -> Arc<Self> {
        Arc::new(Self { kind, open: watch::Sender::new(true) })
    }

    /// Nothing more is told.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// What was held is told.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// The body of an answer, behind a dam or not.
pub struct Dammed<B> {
    inner: B,
    dam: Option<Arc<Dam>>,
    opened: Option<BoxFuture<'static, ()>>,
}

impl<B> Dammed<B> {
    pub(super) fn behind(dam: Option<Arc<Dam>>, inner: B) -> Self {
        Self { inner, dam, opened: None }
    }
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Dammed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        if let Some(dam) = &this.dam {
            let mut open = dam.open.subscribe();
            let wait = async move { drop(open.wait_for(|open| *open).await) };
            let opened = this.opened.get_or_insert_with(|| Box::pin(wait));
            ready!(opened.as_mut().poll(cx));
            this.opened = None;
        }
        Pin::new(&mut this.inner).poll_frame(cx)
    }
}
