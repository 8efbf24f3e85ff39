//! Sessions against a model of them: a list of who is connected and what for. Connections are real HTTP/2, in memory.

use std::collections::{BTreeMap, BTreeSet};

use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::super::names::tests::{tunnel, tunnels};
use super::super::outbound::http2_client;
use super::*;

const TUNNELS: [&str; 3] = ["a", "b", "c"];

/// What may happen. Numbers choose among the sessions that there have ever been, those that are gone too: an old one may
/// be late.
#[derive(Clone, Debug)]
enum Step {
    /// A connector comes that offers these.
    Enter(BTreeSet<usize>),
    /// One that is known comes again.
    Again(usize),
    /// Its connection breaks. Nobody has noticed yet.
    Break(usize),
    /// It has been noticed.
    Leave(usize),
    /// A session comes to a new configuration: it may be one that has left.
    Serve(usize),
    /// The configuration has these tunnels from now on.
    Configure(BTreeSet<usize>),
    Drain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::collection::btree_set(0..TUNNELS.len(), 0..=TUNNELS.len());
    prop_oneof![
        some().prop_map(Step::Enter),
        any::<usize>().prop_map(Step::Again),
        any::<usize>().prop_map(Step::Break),
        any::<usize>().prop_map(Step::Leave),
        any::<usize>().prop_map(Step::Serve),
        some().prop_map(Step::Configure),
        any::<usize>().prop_map(Step::Drain),
    ]
}

/// What is known of one session.
struct Known {
    session: Arc<Session>,
    offers: BTreeSet<usize>,
    /// Until it breaks: both ends of the connection.
    connection: Option<Box<dyn std::any::Any>>,
    ended: CancellationToken,
    instructions: Instructions,
    /// While it is there: what it serves.
    serves: Option<BTreeSet<usize>>,
    leaving: bool,
}

#[derive(Default)]
struct Model {
    known: Vec<Known>,
    configured: BTreeSet<usize>,
}

fn config(of: &BTreeSet<usize>) -> Tunnels {
    let named = of.iter().map(|it| (TUNNELS[*it], format!("{}.t.example.com", TUNNELS[*it])));
    tunnels(named.map(|(name, host)| tunnel(name, &[&host])).collect()).unwrap()
}

async fn enter(sessions: &Sessions, model: &mut Model, connector: String, offers: BTreeSet<usize>) {
    let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
    let pause = std::time::Duration::from_secs(10);
    let (sender, connection) =
        http2_client(pause, pause).handshake::<_, Outbound>(TokioIo::new(near)).await.unwrap();
    let facts = Facts {
        connector,
        identity: String::new(),
        fingerprint: String::new(),
        remote: String::new(),
        transport: "tls",
        since_ms: 0,
        version: String::new(),
    };
    let offered = offers.iter().map(|it| Offer {
        namespace: "shop".to_owned(),
        name: TUNNELS[*it].to_owned(),
        endpoints: vec!["http://localhost:8080".to_owned()],
    });
    let ended = CancellationToken::new();
    let tunnels = config(&model.configured);
    let (session, instructions) =
        sessions.enter(facts, offered.collect(), sender, ended.clone(), Some(&tunnels));
    let serves = Some(&offers & &model.configured);
    let connection: Option<Box<dyn std::any::Any>> = Some(Box::new((connection, far)));
    model.known.push(Known { session, offers, connection, ended, instructions, serves, leaving: false });
}

impl Model {
    fn choose(&mut self, number: usize) -> Option<&mut Known> {
        let count = self.known.len();
        self.known.get_mut(number.checked_rem(count)?)
    }

    async fn take(&mut self, step: Step, sessions: &Sessions) {
        let configured = self.configured.clone();
        match step {
            Step::Enter(offers) => enter(sessions, self, format!("c-{}", self.known.len()), offers).await,
            Step::Again(number) => {
                let Some(known) = self.choose(number) else { return };
                let (connector, offers) = (known.session.facts.connector.clone(), known.offers.clone());
                let before = self.known.len();
                enter(sessions, self, connector.clone(), offers).await;
                let serves = self.known[before].serves.clone().unwrap_or_default();
                for earlier in
                    self.known[..before].iter().filter(|it| it.session.facts.connector == connector)
                {
                    let shared = earlier.serves.as_ref().is_some_and(|it| !it.is_disjoint(&serves));
                    assert!(!shared || earlier.ended.is_cancelled(), "one that was given up goes on");
                }
                assert!(!self.known[before].ended.is_cancelled(), "the new one goes on");
            }
            Step::Configure(of) => self.configured = of,
            Step::Break(number) => {
                if let Some(known) = self.choose(number) {
                    known.connection = None;
                }
            }
            Step::Leave(number) => {
                if let Some(known) = self.choose(number) {
                    known.ended.cancel();
                    sessions.leave(&known.session);
                    known.serves = None;
                }
            }
            Step::Serve(number) => {
                if let Some(known) = self.choose(number) {
                    let serves = &known.offers & &configured;
                    // The connector takes what it is told.
                    while known.instructions.try_recv().is_ok() {}
                    assert_eq!(
                        sessions.serve(&known.session, Some(&config(&configured))),
                        !serves.is_empty()
                    );
                    known.serves = known.serves.take().map(|_| serves);
                }
            }
            Step::Drain(number) => {
                if let Some(known) = self.choose(number) {
                    while known.instructions.try_recv().is_ok() {}
                    known.session.drain();
                    known.leaving = true;
                }
            }
        }
    }

    /// What is true of the sessions after every step.
    fn check(&self, sessions: &Sessions) {
        let mut held = BTreeSet::new();
        for (index, name) in TUNNELS.iter().enumerate() {
            let uid = format!("uid-{name}");
            let serving: BTreeMap<u64, &Known> = self
                .known
                .iter()
                .filter(|it| it.serves.as_ref().is_some_and(|serves| serves.contains(&index)))
                .map(|it| (it.session.number, it))
                .collect();
            let found: BTreeSet<u64> = sessions.of(&uid).iter().map(|it| it.number).collect();
            assert_eq!(found, serving.keys().copied().collect(), "who serves {name}");
            if serving.values().any(|it| !it.leaving) {
                held.insert(uid.clone());
            }
            let usable = || serving.values().filter(|it| it.connection.is_some() && !it.ended.is_cancelled());
            let picked = sessions.pick(&uid);
            assert_eq!(
                picked.is_some(),
                usable().next().is_some(),
                "whether {name} has one that can be used"
            );
            if let Some(picked) = picked {
                let known = serving[&picked.number];
                assert!(known.connection.is_some(), "one that has broken was picked");
                assert!(
                    !known.leaving || usable().all(|it| it.leaving),
                    "one that leaves was picked before others"
                );
            }
        }
        let told: BTreeSet<String> = sessions.held().iter().map(ToString::to_string).collect();
        assert_eq!(told, held, "what others are told");
        let there = self.known.iter().filter(|it| it.serves.is_some()).count();
        let (kept, by_tunnel) = {
            let state = sessions.lock();
            (state.all.len(), state.by_tunnel.values().map(Vec::len).sum::<usize>())
        };
        let served: usize = self.known.iter().filter_map(|it| it.serves.as_ref()).map(BTreeSet::len).sum();
        assert_eq!((kept, by_tunnel), (there, served), "nothing is kept of those that are gone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn sessions_are_what_the_model_says_whatever_comes_in_which_order(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sessions, mut model) = (Sessions::default(), Model::default());
            for step in steps {
                model.take(step, &sessions).await;
                model.check(&sessions);
            }
        });
    }
}
