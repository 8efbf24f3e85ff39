//! A Tunnel's way to its first byte, step by step, as its conditions tell it. Pure.

use portcullis_contract::gateway::Tunnel;

/// A step, in the order that they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Its names are its own.
    Accepted,
    /// Every replica of the gateway knows of it.
    Programmed,
    /// A connector is connected.
    Connected,
    /// The endpoint has answered a probe through the public name.
    Reachable,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [Self::Accepted, Self::Programmed, Self::Connected, Self::Reachable];

    /// The condition's name.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
            Self::Connected => "Connected",
            Self::Reachable => "Reachable",
        }
    }

    /// What a person reads.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Programmed => "programmed",
            Self::Connected => "connected",
            Self::Reachable => "reachable",
        }
    }
}

/// Something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It holds now.
    Done(Step, String),
    /// It held, and does no more.
    Undone(Step, String),
    /// What is waited for, in words.
    Waiting(Step, String),
    /// Nothing will come of it as it is.
    Refused(String),
    /// All of them hold.
    Ready,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    done: [bool; Step::ALL.len()],
    waiting: Option<(Step, String)>,
    ready: bool,
}

impl Steps {
    /// What is new in a Tunnel. Conditions that are about an earlier version of it say nothing.
    pub(super) fn seen(&mut self, tunnel: &Tunnel) -> Vec<Progress> {
        if !tunnel.observed {
            return Vec::new();
        }
        let mut news = Vec::new();
        let mut waiting = None;
        for (step, done) in Step::ALL.into_iter().zip(&mut self.done) {
            let Some(condition) = tunnel.conditions.iter().find(|it| it.r#type == step.condition()) else {
                continue;
            };
            let holds = condition.status == "True";
            match (holds, *done) {
                (true, false) => news.push(Progress::Done(step, message(step, tunnel, &condition.message))),
                (false, true) => news.push(Progress::Undone(step, condition.message.clone())),
                _ => {}
            }
            *done = holds;
            if step == Step::Accepted && condition.status == "False" {
                news.push(Progress::Refused(condition.message.clone()));
                return news;
            }
            if !holds && waiting.is_none() {
                waiting = Some((step, condition.message.clone()));
            }
        }
        if waiting != self.waiting {
            news.extend(waiting.clone().map(|(step, message)| Progress::Waiting(step, message)));
            self.waiting = waiting;
        }
        let ready = is_ready(tunnel);
        if ready && !self.ready {
            news.push(Progress::Ready);
        }
        self.ready = ready;
        news
    }
}

/// Whether all of its steps hold, of what is written in it now.
pub(crate) fn is_ready(tunnel: &Tunnel) -> bool {
    tunnel.observed && tunnel.conditions.iter().any(|it| it.r#type == "Ready" && it.status == "True")
}

/// Of names, those that it holds say more than that it holds some.
fn message(step: Step, tunnel: &Tunnel, message: &str) -> String {
    match step {
        Step::Accepted if !tunnel.held_hostnames.is_empty() => tunnel.held_hostnames.join(", "),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_contract::gateway::TunnelCondition;

    use super::*;

    fn tunnel(statuses: [&str; 5]) -> Tunnel {
        let kinds = ["Accepted", "Programmed", "Connected", "Reachable", "Ready"];
        let conditions = kinds.iter().zip(statuses).filter(|(_, status)| !status.is_empty());
        Tunnel {
            observed: true,
            held_hostnames: vec!["web.t.example.com".to_owned()],
            conditions: conditions
                .map(|(kind, status)| TunnelCondition {
                    r#type: (*kind).to_owned(),
                    status: status.to_owned(),
                    message: format!("{kind} is {status}"),
                    ..TunnelCondition::default()
                })
                .collect(),
            ..Tunnel::default()
        }
    }

    #[test]
    fn each_step_is_told_once_and_what_is_waited_for_when_it_changes() {
        let mut steps = Steps::default();
        let begun = tunnel(["True", "False", "False", "Unknown", "False"]);
        assert_eq!(
            steps.seen(&begun),
            [
                Progress::Done(Step::Accepted, "web.t.example.com".into()),
                Progress::Waiting(Step::Programmed, "Programmed is False".into())
            ]
        );
        assert_eq!(steps.seen(&begun), []);
        let further = steps.seen(&tunnel(["True", "True", "False", "Unknown", "False"]));
        assert_eq!(
            further,
            [
                Progress::Done(Step::Programmed, "Programmed is True".into()),
                Progress::Waiting(Step::Connected, "Connected is False".into())
            ]
        );
        let last = steps.seen(&tunnel(["True"; 5]));
        assert_eq!(last.len(), 3);
        assert_eq!(last.last(), Some(&Progress::Ready));
        assert_eq!(steps.seen(&tunnel(["True"; 5])), []);
    }

    #[test]
    fn what_held_and_does_no_more_is_told_and_ready_can_come_again() {
        let mut steps = Steps::default();
        steps.seen(&tunnel(["True"; 5]));
        let broken = steps.seen(&tunnel(["True", "True", "True", "False", "False"]));
        assert_eq!(
            broken,
            [
                Progress::Undone(Step::Reachable, "Reachable is False".into()),
                Progress::Waiting(Step::Reachable, "Reachable is False".into())
            ]
        );
        assert_eq!(steps.seen(&tunnel(["True"; 5])).last(), Some(&Progress::Ready));
    }

    #[test]
    fn what_is_not_accepted_is_refused_and_what_was_said_of_an_earlier_version_is_no_answer() {
        let mut steps = Steps::default();
        let old = Tunnel { observed: false, ..tunnel(["False"; 5]) };
        assert_eq!(steps.seen(&old), []);
        assert_eq!(steps.seen(&tunnel(["False"; 5])), [Progress::Refused("Accepted is False".into())]);
    }
}
