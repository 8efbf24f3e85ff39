//! Who is logged in at which gateway: what a login leaves is kept in the store, renewed when it is shown, switched and
//! forgotten.
//!
//! What must not live here: how somebody logs in ([`crate::login`]), files ([`crate::store`]).

mod enter;
mod keeper;
mod kept;
mod leave;
mod remember;
mod renewing;
mod trust;

use crate::failure::{Exit, Failure};
use crate::login;
use crate::say::Say;

pub use enter::{Entered, Wish, enter};
pub use kept::{Accounts, Kept};
pub use leave::{Whose, leave};
pub use renewing::Renewing;

use login::{Error, Kind, Word};

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            Kind::Usage => Exit::Usage,
            Kind::Denied => Exit::Denied,
            Kind::Unreachable => Exit::Unreachable,
            Kind::TimedOut => Exit::TimedOut,
            Kind::Other => Exit::Failed,
        };
        let failure = Self::new(exit, crate::failure::chain(&error));
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Shows what a login wants to be shown. It is said to whoever wants quiet too: without it nobody gets in.
fn show(say: &Say) -> impl Fn(Word<'_>) + Send + Sync {
    move |word| match word {
        Word::Open { url, opened: true } => {
            say.instruct(format!("a browser opens; where it does not, open this address:\n  {url}"));
        }
        Word::Open { url, opened: false } => {
            say.instruct(format!("open this address in a browser on this machine:\n  {url}"));
        }
        Word::Code { url, code, direct, seconds } => {
            let minutes = seconds.div_ceil(60);
            say.instruct(format!(
                "open this address on any machine, and enter the code {code} (good for {minutes} minutes):\n  {url}"
            ));
            if let Some(direct) = direct {
                say.instruct(format!("or this one, with the code in it:\n  {direct}"));
            }
        }
        Word::Compare { code } => say.instruct(format!("the page must show this code too: {code}")),
        Word::Note(note) => say.warn(note),
    }
}
