//! What happens, and when: drawn from a seed.

use std::time::Duration;

use portcullis_contract::snapshot::Snapshot;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::book::Which;
use super::stage::{Stage, address};
use crate::support::door::client;
use crate::support::relay::{End, Way, Weather};
use crate::support::tunnel::tunnel;

/// Events of one run.
const EVENTS: usize = 16;
/// Lines that a stage has: three connectors and two replicas, each to two or to the other one.
const LINES: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Event {
    Weather(usize, Weather),
    End(usize, End),
    CutAfter(usize, Way, usize),
    Clear(usize),
    StopConnector(usize),
    DropConnector(usize),
    StartConnector(usize),
    Remove(Which),
    Disable(Which),
    /// The first tunnel's endpoint is another one now.
    Move(usize),
    Revoke,
    /// Each replica hears that there is no other one.
    Estrange,
    /// All tunnels and clients are as at first.
    Restore,
    Restart {
        replica: usize,
        politely: bool,
    },
}

/// What a seed makes.
pub(super) struct Schedule(Vec<(Duration, Event)>);

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self(
            (0..EVENTS)
                .map(|_| (Duration::from_millis(random.random_range(10..300)), draw(&mut random)))
                .collect(),
        )
    }

    pub(super) async fn play(&self, stage: &mut Stage) {
        for (pause, event) in &self.0 {
            tokio::time::sleep(*pause).await;
            stage.book.note(format!("{event:?}"));
            event.happen(stage).await;
        }
    }
}

fn draw(random: &mut StdRng) -> Event {
    let line = random.random_range(0..LINES);
    let way = if random.random() { Way::Up } else { Way::Down };
    let which = Which::ALL[random.random_range(0..2)];
    let (place, replica) = (random.random_range(0..3), random.random_range(0..2));
    match random.random_range(0..100) {
        0..8 => Event::Weather(line, Weather { stalled: Some(way), ..Weather::default() }),
        8..14 => Event::Weather(line, Weather { frozen: true, ..Weather::default() }),
        14..20 => {
            let delay = Duration::from_millis(random.random_range(1..40));
            Event::Weather(line, Weather { delay, ..Weather::default() })
        }
        20..24 => Event::Weather(line, Weather { refuse: true, ..Weather::default() }),
        24..34 => Event::Clear(line),
        34..40 => Event::End(line, End::Reset),
        40..43 => Event::End(line, End::Close),
        43..46 => Event::End(line, End::Half(way)),
        46..48 => Event::End(line, End::Hole),
        48..51 => Event::End(line, End::Forget),
        51..61 => Event::CutAfter(line, way, random.random_range(1..50_000)),
        61..66 => Event::StopConnector(place),
        66..71 => Event::DropConnector(place),
        71..80 => Event::StartConnector(place),
        80..83 => Event::Remove(which),
        83..86 => Event::Disable(which),
        86..89 => Event::Move(random.random_range(0..2)),
        89..90 => Event::Revoke,
        90..91 => Event::Estrange,
        91..94 => Event::Restore,
        94..97 => Event::Restart { replica, politely: false },
        _ => Event::Restart { replica, politely: true },
    }
}

impl Event {
    async fn happen(self, stage: &mut Stage) {
        match self {
            Self::Weather(line, weather) => stage.lines()[line].set(weather),
            Self::End(line, end) => stage.lines()[line].end(end),
            Self::CutAfter(line, way, bytes) => stage.lines()[line].cut_after(way, bytes),
            Self::Clear(line) => stage.lines()[line].clear(),
            Self::StopConnector(place) => stage.stop_connector(place).await,
            Self::DropConnector(place) => stage.drop_connector(place),
            Self::StartConnector(place) => stage.start_connector(place).await,
            Self::Restart { replica, politely } => stage.restart(replica, politely).await,
            Self::Move(index) => {
                stage
                    .tell(|snapshot, endpoints| {
                        of(snapshot, Which::Web, |it| it.endpoint = address(endpoints, index));
                    })
                    .await;
            }
            Self::Remove(which) => {
                stage.tell(|snapshot, _| without(snapshot, which)).await;
                close(stage, which, false);
            }
            Self::Disable(which) => {
                stage.tell(|snapshot, _| of(snapshot, which, |it| it.enabled = false)).await;
                close(stage, which, false);
            }
            Self::Revoke => {
                stage.tell(|snapshot, _| snapshot.clients.retain(|it| it.name != "dev")).await;
                close(stage, Which::Lab, true);
            }
            Self::Estrange => stage.acquaint(false).await,
            Self::Restore => restore(stage).await,
        }
    }
}

/// All tunnels and clients are there, as at first.
pub(super) async fn restore(stage: &mut Stage) {
    for which in Which::ALL {
        stage.book.open(which);
    }
    stage.acquaint(true).await;
    stage
        .tell(|snapshot, endpoints| {
            snapshot.clients.retain(|it| it.name != "dev");
            snapshot.clients.push(client("dev"));
            for (which, endpoint) in [(Which::Web, 0), (Which::Lab, 2)] {
                without(snapshot, which);
                let as_at_first = tunnel(which.name(), &address(endpoints, endpoint));
                snapshot.tunnels.as_mut().unwrap().tunnels.push(as_at_first);
            }
        })
        .await;
}

fn close(stage: &Stage, which: Which, revoked: bool) {
    for replica in 0..stage.replicas.len() {
        stage.book.close(replica, which, revoked);
    }
}

fn without(snapshot: &mut Snapshot, which: Which) {
    snapshot.tunnels.as_mut().unwrap().tunnels.retain(|it| it.name != which.name());
}

fn of(snapshot: &mut Snapshot, which: Which, change: impl Fn(&mut portcullis_contract::snapshot::Tunnel)) {
    snapshot
        .tunnels
        .as_mut()
        .unwrap()
        .tunnels
        .iter_mut()
        .filter(|it| it.name == which.name())
        .for_each(change);
}
