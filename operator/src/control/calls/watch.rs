//! Watching Tunnels: what is there at once, then every difference as soon as the operator's memory has it. Changes that
//! come faster than they can be told are told as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use portcullis_api::{Authorization, Tunnel};
use portcullis_contract::control::TunnelEvents;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::{TunnelChange, TunnelEvent, WatchTunnelsRequest};
use prost::Message as _;
use tokio::time::Instant;
use tonic::Code;

use super::caller::Verb;
use super::look::{PAGE, PAGE_BYTES};
use super::refused::Refused;
use super::rights::{Rights, View};
use super::{Line, in_time, told};
use crate::world::Key;

/// How long the API server's word counts while somebody watches.
const REVIEW: Duration = Duration::from_mins(1);

/// What somebody was told last.
type Known = BTreeMap<Key, Arc<Tunnel>>;

/// Tells until there is a reason not to.
pub(super) async fn watch(rights: &Rights<'_>, request: &WatchTunnelsRequest, line: &Line) -> Refused {
    match follow(rights, request, line).await {
        Ok(never) => match never {},
        Err(refused) => refused,
    }
}

async fn follow(
    rights: &Rights<'_>,
    request: &WatchTunnelsRequest,
    line: &Line,
) -> Result<std::convert::Infallible, Refused> {
    in_time(rights.may_look_into(Verb::Watch, &request.namespace, &request.name)).await??;
    let mut view = View::new(Verb::Watch, &request.namespace, &request.name);
    let mut news = rights.desk.ctx.world.listen(rights.gateway);
    let mut known = Known::new();
    let mut review = Instant::now() + REVIEW;
    loop {
        news.mark_unchanged();
        let seen = in_time(rights.look(&mut view)).await??;
        for events in pages(differences(&known, &seen)) {
            if !line.say(Answer::Events(TunnelEvents { events })).await {
                return Err(gone());
            }
        }
        known = seen;
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return Err(gone()) },
            () = tokio::time::sleep_until(review), if is_reviewed(rights) => {
                in_time(rights.may_look_into(Verb::Watch, &request.namespace, &request.name)).await??;
                view.forget_reviews();
                review = Instant::now() + REVIEW;
            }
        }
    }
}

fn is_reviewed(rights: &Rights<'_>) -> bool {
    rights.gateway().is_ok_and(|(_, tunnels)| tunnels.authorization == Authorization::Kubernetes)
}

fn gone() -> Refused {
    Refused { code: Code::Unavailable, message: "the watch broke off: watch again".to_owned() }
}

/// What to tell somebody who knows the one and should know the other. One that was deleted and made anew is told as both.
fn differences(known: &Known, seen: &Known) -> Vec<TunnelEvent> {
    let is_another = |a: &Tunnel, b: &Tunnel| a.uid() != b.uid();
    let event = |change: TunnelChange, tunnel: &Tunnel| TunnelEvent {
        change: change.into(),
        tunnel: Some(told::tunnel(tunnel)),
    };
    let gone = known.iter().filter(|(key, was)| seen.get(key).is_none_or(|is| is_another(was, is)));
    let mut events: Vec<_> = gone.map(|(_, was)| event(TunnelChange::Deleted, was)).collect();
    for (key, is) in seen {
        match known.get(key).filter(|was| !is_another(was, is)) {
            None => events.push(event(TunnelChange::Added, is)),
            Some(was) if was.resource_version() != is.resource_version() => {
                events.push(event(TunnelChange::Modified, is));
            }
            Some(_) => {}
        }
    }
    events
}

/// So many at a time as fit one message.
fn pages(events: Vec<TunnelEvent>) -> Vec<Vec<TunnelEvent>> {
    let mut pages: Vec<Vec<TunnelEvent>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        bytes += event.encoded_len();
        match pages.last_mut() {
            Some(page) if page.len() < PAGE && bytes <= PAGE_BYTES => page.push(event),
            _ => {
                bytes = event.encoded_len();
                pages.push(vec![event]);
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(name: &str, uid: &str, version: &str) -> (Key, Arc<Tunnel>) {
        let mut tunnel = Tunnel::new(name, portcullis_api::TunnelSpec::default());
        tunnel.metadata.namespace = Some("shop".to_owned());
        tunnel.metadata.uid = Some(uid.to_owned());
        tunnel.metadata.resource_version = Some(version.to_owned());
        (Key::new("shop", name), Arc::new(tunnel))
    }

    fn told(known: &[(Key, Arc<Tunnel>)], seen: &[(Key, Arc<Tunnel>)]) -> Vec<(TunnelChange, String)> {
        let events = differences(&known.iter().cloned().collect(), &seen.iter().cloned().collect());
        events.into_iter().map(|it| (it.change(), it.tunnel.unwrap_or_default().uid)).collect()
    }

    #[test]
    fn what_came_changed_and_went_is_told_once_and_what_stayed_is_not() {
        let (a, b, c) = (tunnel("a", "1", "1"), tunnel("b", "2", "2"), tunnel("c", "3", "3"));
        let known = [a.clone(), b.clone()];
        assert_eq!(told(&[], &known), [(TunnelChange::Added, "1".into()), (TunnelChange::Added, "2".into())]);
        assert!(told(&known, &known).is_empty());
        let seen = [tunnel("b", "2", "5"), c];
        let changes = [
            (TunnelChange::Deleted, "1".into()),
            (TunnelChange::Modified, "2".into()),
            (TunnelChange::Added, "3".into()),
        ];
        assert_eq!(told(&known, &seen), changes);
    }

    #[test]
    fn one_that_was_made_anew_under_the_same_name_is_another_one() {
        let (was, is) = (tunnel("a", "1", "1"), tunnel("a", "2", "9"));
        let both = [(TunnelChange::Deleted, "1".into()), (TunnelChange::Added, "2".into())];
        assert_eq!(told(&[was], &[is]), both);
    }

    #[test]
    fn many_events_are_told_in_messages_that_can_be_read() {
        let events: Vec<_> = (0..=PAGE * 2).map(|_| TunnelEvent::default()).collect();
        assert_eq!(pages(events).iter().map(Vec::len).collect::<Vec<_>>(), [PAGE, PAGE, 1]);
        let large = TunnelEvent {
            tunnel: Some(portcullis_contract::gateway::Tunnel {
                endpoint: "x".repeat(PAGE_BYTES * 2 / 3),
                ..Default::default()
            }),
            ..TunnelEvent::default()
        };
        assert_eq!(pages(vec![large.clone(), large.clone(), large]).len(), 3);
        assert!(pages(Vec::new()).is_empty());
    }
}
