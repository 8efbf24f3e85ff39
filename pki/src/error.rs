//! Why a certificate was not issued. What is wrong with a stored one is `Unusable`.

use time::OffsetDateTime;

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source of randomness gave no key.
    #[error("failed to generate a private key")]
    Key(#[source] rcgen::Error),
    /// The authority's certificate or key cannot sign.
    #[error("failed to load the authority {subject:?}")]
    Authority {
        /// The authority's subject.
        subject: String,
        /// What the signer says.
        source: rcgen::Error,
    },
    /// Encoding or signing failed.
    #[error("failed to sign the certificate of {subject:?}")]
    Sign {
        /// The common name that was asked for.
        subject: String,
        /// What the signer says.
        source: rcgen::Error,
    },
    /// What was issued cannot be read back, which no input should bring about.
    #[error("failed to read back the certificate of {subject:?}")]
    Unreadable {
        /// The common name that was asked for.
        subject: String,
        /// What is wrong with it.
        source: crate::Unusable,
    },
    /// The authority ends before the leaf would begin.
    #[error("failed to issue {subject:?}: the authority expired at {not_after}")]
    AuthorityExpired {
        /// The common name that was asked for.
        subject: String,
        /// The authority's end.
        not_after: OffsetDateTime,
    },
    /// A lifetime of no whole second, or beyond what a certificate can say (the year 9999).
    #[error("failed to issue {subject:?}: a lifetime of {seconds} s cannot be written into a certificate")]
    Lifetime {
        /// The common name that was asked for.
        subject: String,
        /// The lifetime that was asked for, in seconds.
        seconds: i64,
    },
    /// A leaf must be identified by a name in its SAN, never by the common name alone.
    #[error("failed to issue {subject:?}: no DNS name, IP address or URI to identify it by")]
    NoNames {
        /// The common name that was asked for.
        subject: String,
    },
    /// Not a DNS name, not a URI, or not a subtree.
    #[error("failed to issue: {name:?} is not a valid {kind}")]
    InvalidName {
        /// What it should be: `DNS name`, `DNS subtree` or `URI`.
        kind: &'static str,
        /// The name as it was asked for.
        name: String,
    },
    /// Issuer and subject must differ, or verifiers take the leaf for a self-issued certificate.
    #[error("failed to issue: the common name {subject:?} is the authority's own")]
    SubjectIsIssuer {
        /// The common name that both would have.
        subject: String,
    },
    /// The authority's name constraints leave this name out: every verifier would refuse the leaf.
    #[error("failed to issue {subject:?}: the authority's name constraints do not permit {name:?}")]
    NotPermitted {
        /// The common name that was asked for.
        subject: String,
        /// The first name that is left out.
        name: String,
    },
}
