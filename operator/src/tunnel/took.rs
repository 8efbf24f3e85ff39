//! What something took, as the status shows it: milliseconds, with a digit after the point below ten.

/// Microseconds in words. None: it was not measured.
pub fn text(micros: u32) -> Option<String> {
    let milliseconds = f64::from(micros) / 1000.0;
    match micros {
        0 => None,
        1..10_000 => Some(format!("{milliseconds:.1}ms")),
        _ => Some(format!("{milliseconds:.0}ms")),
    }
}

/// What is shown after another measurement: what was shown before, unless it has more than doubled or halved. A status is
/// not written for less.
pub fn steady(before: Option<&str>, micros: u32) -> Option<String> {
    let known = before.and_then(|text| text.strip_suffix("ms")?.parse::<f64>().ok());
    let shown = |known: f64| {
        let (now, known) = (f64::from(micros), known.max(0.1) * 1000.0);
        micros == 0 || (now <= known * 2.0 && now >= known / 2.0)
    };
    if known.is_some_and(shown) { before.map(str::to_owned) } else { text(micros) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_shown_in_few_digits() {
        let shown: Vec<_> = [0, 40, 1_840, 9_990, 12_600, 1_500_400].map(text).into_iter().collect();
        let expected = [None, Some("0.0ms"), Some("1.8ms"), Some("10.0ms"), Some("13ms"), Some("1500ms")];
        assert_eq!(shown.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_shown_changes_when_it_has_more_than_doubled_or_halved() {
        for (before, micros, shown) in [
            (None, 0, None),
            (None, 1_840, Some("1.8ms")),
            (Some("1.8ms"), 3_500, Some("1.8ms")),
            (Some("1.8ms"), 3_700, Some("3.7ms")),
            (Some("1.8ms"), 950, Some("1.8ms")),
            (Some("1.8ms"), 850, Some("0.8ms")),
            (Some("1.8ms"), 0, Some("1.8ms")),
            (Some("0.0ms"), 90, Some("0.0ms")),
            (Some("soon"), 2_000, Some("2.0ms")),
        ] {
            assert_eq!(steady(before, micros).as_deref(), shown, "{before:?} {micros}");
        }
    }
}
