//! An error with all that caused it, on one line, as people read it in conditions, pages and logs.

use std::error::Error;

/// The error and its causes, each said once; of what the API server answered, its own words.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>()
        && !status.message.is_empty()
    {
        return status.message.clone();
    }
    let own = error.to_string();
    let Some(source) = error.source() else { return own };
    let (repeated, told) = (source.to_string(), chain(source));
    // Some say their cause in their own text too.
    if !repeated.is_empty() && own.contains(&repeated) {
        own.replace(&repeated, &told)
    } else {
        format!("{own}: {told}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("failed to list")]
        Silent(#[source] kube::Error),
        #[error("failed to list: {0}")]
        Repeating(#[source] kube::Error),
    }

    fn refused() -> kube::Error {
        kube::Error::Api(Box::new(
            kube::core::Status::failure("secrets is forbidden", "Forbidden").with_code(403),
        ))
    }

    #[test]
    fn what_the_api_server_answered_is_told_once_and_in_its_own_words() {
        for error in [Outer::Silent(refused()), Outer::Repeating(refused())] {
            assert_eq!(chain(&error), "failed to list: secrets is forbidden");
        }
        let context = anyhow::Error::from(refused()).context("failed to read Secret a/b");
        assert_eq!(chain(context.as_ref()), "failed to read Secret a/b: secrets is forbidden");
    }

    #[test]
    fn causes_of_causes_are_told_in_order() {
        let error = anyhow::anyhow!("the line was cut").context("failed to send").context("failed to apply");
        assert_eq!(chain(error.as_ref()), "failed to apply: failed to send: the line was cut");
    }
}
