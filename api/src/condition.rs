//! Names of conditions and reasons: what `kubectl describe` shows, and what other programs may rely on.

/// A condition of a Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec makes sense, and every child can be ours.
    Accepted,
    /// What the spec refers to exists.
    ResolvedRefs,
    /// Authority, server certificate and bundles exist, match and have time left.
    CertificatesReady,
    /// Every ready replica has acknowledged the current configuration.
    Programmed,
    /// All of the above, and a replica is ready.
    Ready,
}

impl ConditionType {
    /// Every condition, in the order that they are shown in.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::ResolvedRefs, Self::CertificatesReady, Self::Programmed, Self::Ready];

    /// The condition's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::CertificatesReady => "CertificatesReady",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
        }
    }
}

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The operator has not come to it yet.
    Pending,
    /// `Accepted`: the spec makes sense.
    Accepted,
    /// `Accepted`: a value that the API server could not check makes no sense.
    Invalid,
    /// `Accepted`: the overlay is no PodTemplateSpec.
    InvalidPodTemplate,
    /// `Accepted`: an object of a child's name belongs to somebody else.
    NameConflict,
    /// `Accepted`: the operator may not do what it must.
    Forbidden,
    /// The spec says `suspend: true`.
    Suspended,
    /// `ResolvedRefs`: everything is there.
    ResolvedRefs,
    /// `ResolvedRefs`: a backend's Service, or its port, is not there.
    BackendNotFound,
    /// `CertificatesReady`: all there.
    Issued,
    /// `CertificatesReady`: the authority's Secret is gone, though it has signed certificates that are in use.
    AuthorityMissing,
    /// `CertificatesReady`: the authority's Secret is there and cannot be used.
    AuthorityUnusable,
    /// A write to the API server failed.
    WriteFailed,
    /// `CertificatesReady`: a certificate could not be issued.
    IssuingFailed,
    /// `Programmed`: every ready replica has acknowledged.
    Programmed,
    /// `Programmed`: not every ready replica has acknowledged yet.
    WaitingForReplicas,
    /// `Programmed`: a replica refused the configuration.
    Rejected,
    /// `Ready`: no pod is ready yet.
    ReplicasNotReady,
    /// `Ready`: a pod cannot start.
    PodFailing,
    /// `Ready`: the spec wants no replicas.
    NoReplicas,
    /// `Ready`: it answers.
    Ready,
}

impl Reason {
    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::InvalidPodTemplate => "InvalidPodTemplate",
            Self::NameConflict => "NameConflict",
            Self::Forbidden => "Forbidden",
            Self::Suspended => "Suspended",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::BackendNotFound => "BackendNotFound",
            Self::Issued => "Issued",
            Self::AuthorityMissing => "AuthorityMissing",
            Self::AuthorityUnusable => "AuthorityUnusable",
            Self::WriteFailed => "WriteFailed",
            Self::IssuingFailed => "IssuingFailed",
            Self::Programmed => "Programmed",
            Self::WaitingForReplicas => "WaitingForReplicas",
            Self::Rejected => "Rejected",
            Self::ReplicasNotReady => "ReplicasNotReady",
            Self::PodFailing => "PodFailing",
            Self::NoReplicas => "NoReplicas",
            Self::Ready => "Ready",
        }
    }
}
