//! Waiting for something that announces itself to nobody: the one place that polls.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(40);

/// Asks until there is an answer; an error of the probe ends the wait at once.
#[expect(clippy::disallowed_methods, reason = "no runtime here whose thread could be stopped")]
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if began.elapsed() > limit {
            bail!("{what}: not there after {} s", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks until it is so.
pub(crate) fn until_true(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || Ok(probe().then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_first_answer() {
        let mut asked = 0;
        let answer = until("three", Duration::from_mins(1), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn a_wait_that_is_in_vain_names_what_it_waited_for() {
        let error = until_true("the moon", Duration::ZERO, || false).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
    }
}
