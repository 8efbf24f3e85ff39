//! A relay of TCP that breaks what goes through it, when told: it refuses, delays, stalls one way, closes one way, cuts at
//! a byte, resets, or forgets a connection as a router does that was restarted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From whoever dialled.
    Up,
    Down,
}

/// What becomes of the connections that there are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides read the end.
    Close,
    Reset,
    /// Nothing more goes this way, and its reader reads the end; the other way goes on.
    Half(Way),
    /// Neither side hears of the other again, nor of the end.
    Hole,
    /// Whoever dialled is told that it has ended; the other side never hears of it.
    Forget,
}

/// How a line is now, for connections to come too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) refuse: bool,
    pub(crate) stalled: Option<Way>,
    pub(crate) delay: Duration,
    /// Both ways.
    pub(crate) frozen: bool,
}

impl Weather {
    fn stops(&self, way: Way) -> bool {
        self.frozen || self.stalled == Some(way)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Now {
    weather: Weather,
    /// Counts ends: a connection heeds those that came after it.
    ends: u64,
    end: Option<End>,
}

/// Where a relay leads, and how well.
#[derive(Debug)]
pub(crate) struct Line {
    target: Mutex<SocketAddr>,
    now: watch::Sender<Now>,
    /// After so many bytes this way, the connection that they are on is reset.
    cut: Mutex<Option<(Way, usize)>>,
    open: AtomicUsize,
    holes: AtomicUsize,
}

/// One address, with lines behind it that are taken in turns, as behind a Service.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) lines: Vec<Arc<Line>>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) async fn new(targets: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lines: Vec<Arc<Line>> = targets.iter().map(|target| Arc::new(Line::new(*target))).collect();
        let behind = lines.clone();
        let task = tokio::spawn(async move {
            let mut carried = tokio::task::JoinSet::new();
            for line in behind.iter().cycle() {
                let Ok((near, _)) = listener.accept().await else { return };
                carried.spawn(Arc::clone(line).carry(near));
                while carried.try_join_next().is_some() {}
            }
        });
        Self { address, lines, _task: AbortOnDropHandle::new(task) }
    }
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

impl Line {
    fn new(target: SocketAddr) -> Self {
        Self {
            target: Mutex::new(target),
            now: watch::Sender::default(),
            cut: Mutex::default(),
            open: AtomicUsize::new(0),
            holes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.now.send_modify(|now| now.weather = weather);
    }

    /// Nothing is wrong from now on. What has been broken stays so.
    pub(crate) fn clear(&self) {
        *self.cut.lock().unwrap() = None;
        self.set(Weather::default());
    }

    pub(crate) fn end(&self, end: End) {
        self.now.send_modify(|now| (now.ends, now.end) = (now.ends + 1, Some(end)));
    }

    pub(crate) fn cut_after(&self, way: Way, bytes: usize) {
        *self.cut.lock().unwrap() = Some((way, bytes));
    }

    /// Connections that either side holds open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Those of them of which a side has not noticed yet that the other one is gone.
    pub(crate) fn holes(&self) -> usize {
        self.holes.load(Ordering::SeqCst)
    }

    async fn carry(self: Arc<Self>, mut near: TcpStream) {
        let mut now = self.now.subscribe();
        let born = now.borrow().ends;
        let target = *self.target.lock().unwrap();
        let far = if now.borrow().weather.refuse { None } else { TcpStream::connect(target).await.ok() };
        let Some(mut far) = far else { return reset(&near) };
        let _open = Counted::begin(&self.open);
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let end = {
            let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
            let pumps = async {
                let up = self.pump(from_near, to_far, Way::Up, born);
                tokio::try_join!(up, self.pump(from_far, to_near, Way::Down, born)).err()
            };
            let ended = now.wait_for(|now| now.ends > born && !matches!(now.end, Some(End::Half(_))));
            tokio::select! {
                broken = pumps => broken.map(|()| End::Reset),
                ended = ended => ended.ok().and_then(|now| now.end),
            }
        };
        match end {
            None | Some(End::Close | End::Half(_)) => {}
            Some(End::Reset) => {
                reset(&near);
                reset(&far);
            }
            Some(End::Hole) => {
                let _hole = Counted::begin(&self.holes);
                tokio::join!(swallow(near), swallow(far));
            }
            Some(End::Forget) => {
                let _hole = Counted::begin(&self.holes);
                reset(&near);
                drop(near);
                swallow(far).await;
            }
        }
    }

    /// Carries bytes one way. An error breaks the connection.
    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        way: Way,
        born: u64,
    ) -> Result<(), ()> {
        let mut now = self.now.subscribe();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let (weather, end) = {
                let now = now.borrow_and_update();
                (now.weather, now.end.filter(|_| now.ends > born))
            };
            if end == Some(End::Half(way)) {
                return to.shutdown().await.map_err(drop);
            }
            if weather.stops(way) {
                now.changed().await.map_err(drop)?;
                continue;
            }
            let read = tokio::select! {
                biased;
                changed = now.changed() => { changed.map_err(drop)?; continue }
                read = from.read(&mut buffer) => read.map_err(drop)?,
            };
            if read == 0 {
                return to.shutdown().await.map_err(drop);
            }
            tokio::time::sleep(weather.delay).await;
            now.wait_for(|now| !now.weather.stops(way)).await.map_err(drop)?;
            let whole = self.spend(way, read);
            to.write_all(&buffer[..whole.unwrap_or(read)]).await.map_err(drop)?;
            if whole.is_some() {
                return Err(());
            }
        }
    }

    /// How many of these bytes still go, where it is time to cut.
    fn spend(&self, way: Way, bytes: usize) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap();
        let (_, left) = cut.as_mut().filter(|(of, _)| *of == way)?;
        if *left >= bytes {
            *left -= bytes;
            return None;
        }
        cut.take().map(|(_, left)| left)
    }
}

/// Reads to the end, for nobody.
async fn swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
