//! What is wrong with a stored certificate and key. Says what was found, never what to do about it.

/// Why a stored certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nothing, or white space, is stored where the certificate or the key belongs.
    #[error("the {part} is empty")]
    Empty {
        /// `certificate` or `private key`.
        part: &'static str,
    },
    /// The PEM block has no end, or holds fewer bytes than it announces.
    #[error("the {part} is truncated")]
    Truncated {
        /// `certificate` or `private key`.
        part: &'static str,
    },
    /// The PEM block holds something else: most often certificate and key are swapped.
    #[error("a PEM block {label:?} was found where the {part} belongs")]
    WrongBlock {
        /// `certificate` or `private key`.
        part: &'static str,
        /// The label of the block that was found.
        label: String,
    },
    /// No certificate can be read.
    #[error("the certificate cannot be read: {detail}")]
    Certificate {
        /// What the parser says.
        detail: String,
    },
    /// No private key of a supported kind can be read.
    #[error("the private key cannot be read: {detail}")]
    Key {
        /// What the parser says; never a part of the key.
        detail: String,
    },
    /// Both can be read, but belong to different key pairs.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
    /// The certificate may not sign others.
    #[error("the certificate is not a certificate authority: {detail}")]
    NotAnAuthority {
        /// Which statement of a CA is missing.
        detail: &'static str,
    },
    /// What leads from an authority that was brought along to its root does not hold.
    #[error("its chain does not hold: {detail}")]
    Chain {
        /// Where it breaks.
        detail: String,
    },
}
