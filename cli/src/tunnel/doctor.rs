//! `tunnel doctor`: walks from here to the endpoint, hop by hop, and says at the first one that is broken what to do.

use std::time::Duration;

use portcullis_contract::gateway::{Tunnel, WhoAmIResponse};
use serde::Serialize;
use tonic::Status;

use super::visit::{Broke, Certificate, Door, Hop, Visited};

/// What is known of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Health {
    /// It works.
    Well,
    /// It does, and something about it is worth knowing.
    Doubtful,
    /// It is broken.
    Broken,
    /// A hop before it is broken.
    Unknown,
}

impl Health {
    /// What a person reads.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Doubtful => "doubtful",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        }
    }
}

/// A hop, as it is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) hop: &'static str,
    pub(crate) health: Health,
    pub(crate) message: String,
    /// What to do about it; empty where there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advice: String,
}

/// What was found out, one thing after the other; none where it was not asked for, since something before it is broken.
pub(crate) struct Evidence<'a> {
    pub(crate) door: &'a Door,
    /// Whom the gateway takes us for, and how long it took to say so.
    pub(crate) who: Result<(WhoAmIResponse, Duration), Status>,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) visited: Option<Result<Visited, Broke>>,
}

const NAMES: [&str; 8] =
    ["name resolution", "TCP", "TLS", "gateway", "authentication", "peer", "connector", "endpoint"];

fn finding(
    hop: &'static str,
    health: Health,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { hop, health, message: message.into(), advice: advice.into() }
}

/// Every hop, in the order that a visitor's request goes, with what is known of it. Pure.
pub(crate) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(front(evidence));
    found.push(authentication(evidence));
    found.extend(back(evidence));
    // Behind a hop that is broken, nothing is said of those that were not looked at.
    debug_assert!(found.iter().all(|it| NAMES.contains(&it.hop)));
    found
}

/// From here to the gateway: name, TCP, TLS, and that it answers.
fn front(evidence: &Evidence<'_>) -> Vec<Finding> {
    let name = evidence.door.url.host().unwrap_or_default();
    let Some(visited) = &evidence.visited else {
        let why = "there is no public name yet";
        return NAMES[..4].iter().map(|hop| finding(hop, Health::Unknown, why, "")).collect();
    };
    let broken_at = visited.as_ref().err().map(|broke| broke.hop);
    let order = [Hop::Name, Hop::Connection, Hop::Tls, Hop::Gateway];
    let position = broken_at.and_then(|hop| order.iter().position(|it| *it == hop)).unwrap_or(order.len());
    let mut found = Vec::new();
    for (index, hop) in order.into_iter().enumerate() {
        found.push(match (visited, index.cmp(&position)) {
            (Err(broke), std::cmp::Ordering::Equal) => {
                finding(hop.word(), Health::Broken, broke.message.clone(), advice(hop, name))
            }
            (_, std::cmp::Ordering::Greater) => {
                finding(hop.word(), Health::Unknown, "not looked at: a hop before it is broken", "")
            }
            (Ok(visited), _) => passed(hop, visited, name),
            (Err(_), _) => finding(hop.word(), Health::Well, "passed", ""),
        });
    }
    found
}

fn passed(hop: Hop, visited: &Visited, name: &str) -> Finding {
    let word = hop.word();
    match hop {
        Hop::Name if visited.resolves => {
            finding(word, Health::Well, format!("{name} is {}", visited.address.ip()), "")
        }
        Hop::Name => finding(
            word,
            Health::Doubtful,
            format!("{name} does not resolve here; the gateway was asked at {}", visited.address),
            format!(
                "make a DNS record of {name} that leads to the gateway: a wildcard record of its domain serves all tunnels"
            ),
        ),
        Hop::Connection => finding(word, Health::Well, format!("{} takes connections", visited.address), ""),
        Hop::Tls => match visited.certificate {
            Certificate::Public => finding(word, Health::Well, "any visitor believes its certificate", ""),
            Certificate::Own => finding(
                word,
                Health::Doubtful,
                "its certificate is of the gateway's own authority, which visitors do not know",
                "give the Gateway a spec.tunnels.certificateRef, or visitors its ca.crt",
            ),
            Certificate::None => {
                finding(word, Health::Well, "left to the endpoint, or to a proxy in front", "")
            }
        },
        Hop::Gateway => match visited.status {
            Some(status) => finding(
                word,
                Health::Well,
                format!("answered with {} after {} ms", status.as_u16(), visited.took.as_millis()),
                "",
            ),
            None => finding(word, Health::Well, "takes connections for it", ""),
        },
    }
}

fn advice(hop: Hop, name: &str) -> String {
    match hop {
        Hop::Name => format!("make a DNS record of {name} that leads to the gateway"),
        Hop::Connection => {
            "look at the Gateway's Service and at firewalls in between: kubectl describe gateway".to_owned()
        }
        Hop::Tls => {
            "look at what stands between you and the gateway, and at spec.tunnels.certificateRef".to_owned()
        }
        Hop::Gateway => "look at the gateway's pods: kubectl describe gateway".to_owned(),
    }
}

fn authentication(evidence: &Evidence<'_>) -> Finding {
    match &evidence.who {
        Ok((who, took)) => finding(
            "authentication",
            Health::Well,
            format!("{}, by {}, in {} ms", who.user, who.proof, took.as_millis()),
            "",
        ),
        Err(status) => finding(
            "authentication",
            Health::Broken,
            status.message(),
            "run `portcullis gateway status`, which says how to log in",
        ),
    }
}

/// From the gateway to the endpoint, as the Tunnel's conditions tell: they are proved from over there.
fn back(evidence: &Evidence<'_>) -> Vec<Finding> {
    let unknown = |hop, why: &str| finding(hop, Health::Unknown, why, "");
    let Some(tunnel) = &evidence.tunnel else {
        return NAMES[5..].iter().map(|hop| unknown(hop, "the gateway did not tell of the Tunnel")).collect();
    };
    let condition = |kind: &str| tunnel.conditions.iter().find(|it| it.r#type == kind);
    if !tunnel.enabled {
        let why = "it is switched off: `portcullis tunnel listen` or `portcullis tunnel update --enabled=true` switches it on";
        return NAMES[5..].iter().map(|hop| unknown(hop, why)).collect();
    }
    let holds = |kind: &str| condition(kind).is_some_and(|it| it.status == "True");
    let message = |kind: &str| condition(kind).map_or_else(String::new, |it| it.message.clone());
    let before = ["Accepted", "Programmed"].into_iter().find(|kind| !holds(kind));
    if let Some(kind) = before {
        let mut found = vec![finding("peer", Health::Broken, format!("{kind}: {}", message(kind)), "")];
        found.extend(NAMES[6..].iter().map(|hop| unknown(hop, "not looked at: a hop before it is broken")));
        return found;
    }
    let why = message("Reachable");
    let peer_broken = why.starts_with("at the hop between replicas");
    let peer = if peer_broken {
        finding("peer", Health::Broken, why.clone(), "look at the port between the Gateway's pods")
    } else {
        finding("peer", Health::Well, "every replica of the gateway serves it", "")
    };
    let connector = match tunnel.connected {
        0 => finding(
            "connector",
            Health::Broken,
            message("Connected"),
            format!("run `portcullis tunnel listen --endpoint {}` next to the service", tunnel.endpoint),
        ),
        count => finding("connector", Health::Well, format!("{count} connections"), ""),
    };
    let is_connected = connector.health == Health::Well && !peer_broken;
    let endpoint = if holds("Reachable") {
        finding("endpoint", Health::Well, format!("{} answers", tunnel.endpoint), "")
    } else if !is_connected {
        unknown("endpoint", "not looked at: a hop before it is broken")
    } else {
        let health = condition("Reachable").map_or(Health::Unknown, |it| {
            if it.status == "False" { Health::Broken } else { Health::Unknown }
        });
        finding("endpoint", health, why, format!("start the service at {}", tunnel.endpoint))
    };
    vec![peer, connector, endpoint]
}

#[cfg(test)]
mod tests {
    use portcullis_contract::gateway::TunnelCondition;
    use std::net::SocketAddr;

    use super::*;

    fn door() -> Door {
        Door {
            url: "https://web.t.example.com".parse().unwrap(),
            gateway: ("door.example.com".into(), 443),
            own: None,
        }
    }

    fn visited(resolves: bool) -> Visited {
        Visited {
            address: SocketAddr::from(([10, 0, 0, 1], 443)),
            resolves,
            certificate: Certificate::Public,
            status: Some(http::StatusCode::OK),
            took: Duration::from_millis(7),
        }
    }

    fn tunnel(statuses: [(&str, &str, &str); 4], connected: i32) -> Tunnel {
        let conditions = statuses.map(|(kind, status, message)| TunnelCondition {
            r#type: kind.into(),
            status: status.into(),
            message: message.into(),
            ..TunnelCondition::default()
        });
        Tunnel {
            enabled: true,
            endpoint: "http://localhost:3000".into(),
            connected,
            conditions: conditions.into(),
            ..Tunnel::default()
        }
    }

    fn well() -> Tunnel {
        let holds = ["Accepted", "Programmed", "Connected", "Reachable"].map(|kind| (kind, "True", ""));
        tunnel(holds, 2)
    }

    fn seen(tunnel: Option<Tunnel>, visited: Option<Result<Visited, Broke>>) -> Vec<(&'static str, Health)> {
        let door = door();
        let who = Ok((WhoAmIResponse::default(), Duration::ZERO));
        let found = findings(&Evidence { door: &door, who, tunnel, visited });
        assert_eq!(found.iter().map(|it| it.hop).collect::<Vec<_>>(), NAMES, "each hop, in order");
        for it in &found {
            assert!(it.health != Health::Broken || !it.message.is_empty(), "{it:?}");
        }
        found.into_iter().map(|it| (it.hop, it.health)).filter(|it| it.1 != Health::Well).collect()
    }

    #[test]
    fn where_all_is_well_nothing_else_is_said() {
        assert_eq!(seen(Some(well()), Some(Ok(visited(true)))), []);
    }

    #[test]
    fn the_hop_that_broke_is_named_and_those_behind_it_are_unknown() {
        let broke = |hop| Some(Err(Broke { hop, message: "no".into() }));
        assert_eq!(
            seen(Some(well()), broke(Hop::Connection)),
            [("TCP", Health::Broken), ("TLS", Health::Unknown), ("gateway", Health::Unknown)]
        );
        let alone = tunnel(
            [
                ("Accepted", "True", ""),
                ("Programmed", "True", ""),
                ("Connected", "False", "nobody"),
                ("Reachable", "Unknown", ""),
            ],
            0,
        );
        assert_eq!(
            seen(Some(alone), Some(Ok(visited(true)))),
            [("connector", Health::Broken), ("endpoint", Health::Unknown)]
        );
        let dead = tunnel(
            [
                ("Accepted", "True", ""),
                ("Programmed", "True", ""),
                ("Connected", "True", ""),
                ("Reachable", "False", "at the endpoint: refused"),
            ],
            1,
        );
        assert_eq!(seen(Some(dead), Some(Ok(visited(true)))), [("endpoint", Health::Broken)]);
        let split = tunnel(
            [
                ("Accepted", "True", ""),
                ("Programmed", "True", ""),
                ("Connected", "True", ""),
                ("Reachable", "False", "at the hop between replicas: b"),
            ],
            1,
        );
        assert_eq!(
            seen(Some(split), Some(Ok(visited(true)))),
            [("peer", Health::Broken), ("endpoint", Health::Unknown)]
        );
    }

    #[test]
    fn a_name_that_does_not_resolve_here_is_doubtful_and_what_is_off_is_unknown() {
        assert_eq!(seen(Some(well()), Some(Ok(visited(false)))), [("name resolution", Health::Doubtful)]);
        let off = Tunnel { enabled: false, ..well() };
        let unknown =
            [("peer", Health::Unknown), ("connector", Health::Unknown), ("endpoint", Health::Unknown)];
        assert_eq!(seen(Some(off), Some(Ok(visited(true)))), unknown);
    }
}
