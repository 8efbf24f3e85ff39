//! When clients were seen last, as a status has it: to ten minutes, so that traffic does not keep writing. Pure.

use k8s_openapi::jiff::Timestamp;
use portcullis_api::ClientStatus;

use crate::control::seen::Sight;
use crate::moment;

/// By so many seconds a sight is newer than what is written, before it is written.
const GRAIN: i64 = 600;

/// Whether this is worth a write.
pub fn is_news(before: Option<&ClientStatus>, sight: &Sight) -> bool {
    let written = before.and_then(|it| it.last_seen.as_deref()?.parse::<Timestamp>().ok());
    written.is_none_or(|written| sight.at - written.as_second() >= GRAIN)
}

/// When a client was seen, from where, and with which certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// RFC 3339.
    pub at: Option<String>,
    /// IP address.
    pub from: Option<String>,
    /// Of the certificate.
    pub serial: Option<String>,
}

/// As it is written.
pub fn last_seen(before: Option<&ClientStatus>, sight: Option<&Sight>, now: Timestamp) -> LastSeen {
    let sight = sight.filter(|sight| is_news(before, sight));
    // A replica whose clock is ahead has seen nobody tomorrow.
    let at = |sight: &Sight| Timestamp::from_second(sight.at.min(now.as_second())).ok();
    match sight.and_then(|sight| Some((moment::second(at(sight)?), sight))) {
        Some((at, Sight { from, serial, .. })) => LastSeen {
            at: Some(at),
            from: Some(from.clone()),
            serial: Some(serial.clone()).filter(|serial| !serial.is_empty()),
        },
        None => before.map_or_else(LastSeen::default, |it| LastSeen {
            at: it.last_seen.clone(),
            from: it.last_seen_from.clone(),
            serial: it.last_seen_serial.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: &str) -> ClientStatus {
        ClientStatus {
            last_seen: Some(at.to_owned()),
            last_seen_from: Some("192.0.2.1".to_owned()),
            last_seen_serial: Some("01".to_owned()),
            ..ClientStatus::default()
        }
    }

    #[test]
    fn a_sight_is_written_once_it_is_ten_minutes_newer_and_never_ahead_of_the_operators_clock() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let sight = |ago: i64| Sight {
            at: now.as_second() - ago,
            from: "192.0.2.7".to_owned(),
            serial: "07".to_owned(),
        };
        let seen = |before: Option<&ClientStatus>, ago: i64| last_seen(before, Some(&sight(ago)), now);
        let shown = |at: &str, from: &str| LastSeen {
            at: Some(at.to_owned()),
            from: Some(from.to_owned()),
            serial: Some(from.replace("192.0.2.", "0")),
        };
        assert_eq!(seen(None, 5), shown("2026-03-01T11:59:55Z", "192.0.2.7"));
        assert_eq!(seen(None, -50), shown("2026-03-01T12:00:00Z", "192.0.2.7"));
        let before = written("2026-03-01T11:50:00Z");
        assert_eq!(seen(Some(&before), 1), shown("2026-03-01T11:50:00Z", "192.0.2.1"));
        assert_eq!(seen(Some(&before), 0), shown("2026-03-01T12:00:00Z", "192.0.2.7"));
        assert_eq!(last_seen(Some(&before), None, now), shown("2026-03-01T11:50:00Z", "192.0.2.1"));
        assert_eq!(last_seen(None, None, now), LastSeen::default());
        // What cannot be read is written anew.
        assert_eq!(seen(Some(&written("yesterday")), 0), shown("2026-03-01T12:00:00Z", "192.0.2.7"));
    }
}
