//! Times as the API server writes them.

use k8s_openapi::jiff::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// For fields of Kubernetes types; None beyond the years that they can hold.
pub fn timestamp(at: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.unix_timestamp_nanos()).ok()
}

/// RFC 3339 in UTC to the second, such as `2026-01-31T12:00:00Z`.
pub fn text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The same, of a field's value.
pub fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
