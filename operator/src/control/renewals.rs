//! Clients that wait for a certificate, and how often each may ask. What becomes of a request is decided by a plan, and told
//! once it is written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_pki::SigningRequest;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::gateway::plan::renewals::{Issued, Refusal};
use crate::world::Key;

/// Requests of one client at once, after a quiet time.
const BURST: u32 = 3;
/// How long it takes until one more may be made.
const EACH: Duration = Duration::from_mins(1);

/// A certificate that a client asks for, in place of the one that it has shown.
#[derive(Debug)]
pub struct Asked {
    /// Which request: others may be of the same client.
    pub id: u64,
    /// The client's name in the spec, as the identity says that was shown.
    pub client: String,
    /// Serial of the certificate that was shown: lower-case hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate that was shown: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// SHA-256 of its key, the same.
    pub key_digest: String,
    /// The new key, and that it is held.
    pub request: SigningRequest,
    /// Who is asking, for the log and the Event.
    pub user: String,
    /// From where.
    pub address: String,
}

/// What becomes of a request.
pub type Answer = Result<Issued, Refusal>;

/// Who waits at each Gateway.
#[derive(Debug, Default)]
pub struct Renewals {
    gateways: Mutex<HashMap<Key, Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    asked: BTreeMap<u64, (Arc<Asked>, oneshot::Sender<Answer>)>,
    next: u64,
    /// Of each client that has asked lately.
    spent: HashMap<String, Spent>,
}

/// How much of what a client may ask for is spent.
#[derive(Clone, Copy, Debug)]
struct Spent {
    requests: u32,
    /// Since when the first of them is on its way back.
    since: Instant,
}

impl Spent {
    /// What has come back meanwhile counts no more.
    fn at(self, now: Instant) -> Self {
        let back = now.duration_since(self.since).as_secs() / EACH.as_secs();
        let back = u32::try_from(back).unwrap_or(u32::MAX).min(self.requests);
        Self { requests: self.requests - back, since: self.since + EACH * back }
    }
}

/// Somebody's place: given up when dropped.
pub struct Place<'a> {
    renewals: &'a Renewals,
    gateway: &'a Key,
    id: u64,
    /// What became of it.
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.renewals.lock().get_mut(self.gateway) {
            waiting.asked.remove(&self.id);
        }
    }
}

impl Renewals {
    /// Spends one of what a client may ask for, or says how long it is until there is one.
    ///
    /// # Errors
    /// Where there is none.
    pub fn spend(&self, gateway: &Key, client: &str, now: Instant) -> Result<(), Duration> {
        let mut gateways = self.lock();
        let spent = &mut gateways.entry(gateway.clone()).or_default().spent;
        spent.retain(|_, it| it.at(now).requests > 0);
        let of_client = spent.entry(client.to_owned()).or_insert(Spent { requests: 0, since: now });
        *of_client = of_client.at(now);
        if of_client.requests >= BURST {
            return Err((of_client.since + EACH).duration_since(now));
        }
        of_client.requests += 1;
        Ok(())
    }

    /// Waits for the next plan of the Gateway, which somebody must see to.
    pub fn wait<'a>(&'a self, gateway: &'a Key, asked: impl FnOnce(u64) -> Asked) -> Place<'a> {
        let (told, answer) = oneshot::channel();
        let mut gateways = self.lock();
        let waiting = gateways.entry(gateway.clone()).or_default();
        waiting.next += 1;
        let id = waiting.next;
        waiting.asked.insert(id, (Arc::new(asked(id)), told));
        Place { renewals: self, gateway, id, answer }
    }

    /// Whoever waits at a Gateway.
    pub fn waiting(&self, gateway: &Key) -> Vec<Arc<Asked>> {
        let gateways = self.lock();
        let waiting = gateways.get(gateway).into_iter().flat_map(|waiting| waiting.asked.values());
        waiting.map(|(asked, _)| Arc::clone(asked)).collect()
    }

    /// Tells one of them.
    pub fn answer(&self, gateway: &Key, id: u64, answer: Answer) {
        let told = self.lock().get_mut(gateway).and_then(|waiting| waiting.asked.remove(&id));
        if let Some((_, told)) = told {
            // Whoever asked may have gone; what was issued is written down all the same.
            drop(told.send(answer));
        }
    }

    /// The Gateway is gone.
    pub fn forget(&self, gateway: &Key) {
        self.lock().remove(gateway);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Waiting>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ask_three_times_at_once_and_once_a_minute_then_and_others_for_themselves() {
        let (renewals, door, now) = (Renewals::default(), Key::new("shop", "door"), Instant::now());
        let spend =
            |client: &str, after: u64| renewals.spend(&door, client, now + Duration::from_secs(after));
        for _ in 0..BURST {
            assert_eq!(spend("ci", 0), Ok(()));
        }
        assert_eq!(spend("ci", 10), Err(Duration::from_secs(50)));
        assert_eq!(spend("dev", 10), Ok(()));
        assert_eq!(renewals.spend(&Key::new("shop", "other"), "ci", now), Ok(()));
        assert_eq!(spend("ci", 60), Ok(()));
        assert_eq!(spend("ci", 61), Err(Duration::from_secs(59)));
        for _ in 0..BURST {
            assert_eq!(spend("ci", 10_000), Ok(()));
        }
        assert!(spend("ci", 10_000).is_err(), "a long quiet time gives no more than the burst");
        assert_eq!(renewals.lock()[&door].spent.len(), 1, "whoever has asked nothing lately takes no room");
    }

    #[test]
    fn whoever_goes_waits_no_more_and_an_answer_goes_to_whom_it_is_for() {
        let (renewals, door) = (Renewals::default(), Key::new("shop", "door"));
        let params = rcgen::CertificateParams::default();
        let der = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let request = portcullis_pki::read_request(&der).unwrap();
        let asked = |id| Asked {
            id,
            client: "ci".to_owned(),
            serial: String::new(),
            fingerprint: String::new(),
            key_digest: String::new(),
            request: request.clone(),
            user: String::new(),
            address: String::new(),
        };
        let (one, mut other) = (renewals.wait(&door, asked), renewals.wait(&door, asked));
        assert_eq!(renewals.waiting(&door).iter().map(|it| it.id).collect::<Vec<_>>(), [1, 2]);
        drop(one);
        assert_eq!(renewals.waiting(&door).len(), 1);
        let refusal = Refusal::not_now("later");
        renewals.answer(&door, 1, Err(refusal.clone()));
        renewals.answer(&door, 2, Err(refusal.clone()));
        assert_eq!(other.answer.try_recv(), Ok(Err(refusal)));
        assert!(renewals.waiting(&door).is_empty());
    }
}
