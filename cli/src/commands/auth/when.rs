//! When a login ends, in words.

/// Such as "in 54 minutes".
pub(super) fn in_words(end: Option<i64>, now: i64) -> String {
    let Some(end) = end else { return "when the provider says so".to_owned() };
    let left = end - now;
    match left {
        ..=0 => "it has ended".to_owned(),
        1..=119 => format!("in {left} seconds"),
        120..=7199 => format!("in {} minutes", left / 60),
        7200..=172_799 => format!("in {} hours", left / 3600),
        _ => format!("in {} days", left / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_in_the_unit_that_one_thinks_in() {
        for (left, words) in [
            (-5, "it has ended"),
            (0, "it has ended"),
            (119, "in 119 seconds"),
            (3599, "in 59 minutes"),
            (7200, "in 2 hours"),
            (172_800, "in 2 days"),
        ] {
            assert_eq!(in_words(Some(1000 + left), 1000), words);
        }
        assert_eq!(in_words(None, 0), "when the provider says so");
    }
}
