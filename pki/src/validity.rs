//! Arithmetic of `notBefore` and `notAfter`: whole seconds, nothing that overflows.

use time::{Duration, OffsetDateTime, UtcOffset};

/// How far `notBefore` lies in the past, for verifiers whose clock is behind ours.
pub const BACKDATE: Duration = Duration::minutes(5);

/// The span in which a certificate holds, as a certificate can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Validity {
    /// From five minutes before `now` until `lifetime` after it, `ceiling` at the latest. `None`
    /// where that is no span, or lies beyond the year 9999.
    pub(crate) fn starting(
        now: OffsetDateTime,
        lifetime: Duration,
        ceiling: Option<OffsetDateTime>,
    ) -> Option<Self> {
        let now = whole_second(now);
        let lifetime = Duration::seconds(lifetime.whole_seconds());
        let end = now.checked_add(lifetime)?;
        let validity =
            Self { not_before: now.checked_sub(BACKDATE)?, not_after: ceiling.map_or(end, |at| at.min(end)) };
        (validity.not_after > now && validity.not_before.year() >= 1950).then_some(validity)
    }
}

fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(UtcOffset::UTC);
    at - Duration::nanoseconds(i64::from(at.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_certificate_begins_five_minutes_ago_and_counts_whole_seconds() {
        assert_eq!(
            Validity::starting(datetime!(2026-01-01 02:00:00.9 +2), Duration::days(7), None),
            Some(Validity {
                not_before: datetime!(2025-12-31 23:55:00 UTC),
                not_after: datetime!(2026-01-08 00:00:00 UTC),
            })
        );
    }

    #[test]
    fn a_certificate_ends_with_its_authority_at_the_latest() {
        let ceiling = datetime!(2026-01-03 00:00:00 UTC);
        let validity =
            Validity::starting(datetime!(2026-01-01 00:00:00 UTC), Duration::days(7), Some(ceiling));
        assert_eq!(validity.map(|validity| validity.not_after), Some(ceiling));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        let now = datetime!(2026-01-01 00:00:00 UTC);
        assert_eq!(Validity::starting(now, Duration::ZERO, None), None);
        assert_eq!(Validity::starting(now, Duration::milliseconds(999), None), None);
        assert_eq!(Validity::starting(now, Duration::MAX, None), None);
        assert_eq!(Validity::starting(now, Duration::MIN, None), None);
        assert_eq!(Validity::starting(now, Duration::days(1), Some(now)), None);
    }
}
