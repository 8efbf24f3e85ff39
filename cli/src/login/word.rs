//! What is to be shown to a person while they log in. Whoever prints says it in their own way.

/// Something to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word<'a> {
    /// An address to open in a browser on this machine.
    Open {
        /// The address.
        url: &'a str,
        /// Whether a browser was started with it.
        opened: bool,
    },
    /// An address to open on any machine, and the code to type there.
    Code {
        /// The address.
        url: &'a str,
        /// The code.
        code: &'a str,
        /// The address with the code in it, where there is one.
        direct: Option<&'a str>,
        /// How long the code is good, in seconds.
        seconds: u64,
    },
    /// The page must show this code too, or it is about another program.
    Compare {
        /// The code.
        code: &'a str,
    },
    /// Something that went otherwise than it should, and does not end the login.
    Note(&'a str),
}

/// Shows it.
pub type Show<'a> = dyn Fn(Word<'_>) + Send + Sync + 'a;
