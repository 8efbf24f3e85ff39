//! Names of conditions and reasons: what `kubectl describe` shows, and what other programs may rely on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What a variant is called: as in the code, or as it is told.
macro_rules! name {
    ($variant:ident) => {
        stringify!($variant)
    };
    ($variant:ident $name:literal) => {
        $name
    };
}

/// An enum whose variants have a name each and a meaning, which is their doc comment.
macro_rules! explained {
    ($(#[$meta:meta])* pub enum $enum:ident { $($(#[doc = $meaning:literal])+ $variant:ident $(= $name:literal)?,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $enum {
            /// Every one of them.
            pub const EVERY: &[Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => name!($variant $($name)?),)+ }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim_ascii_start(),)+ }
            }
        }
    };
}

explained! {
    /// A condition of a Gateway or a Tunnel.
    pub enum ConditionType {
        /// The spec makes sense, and every child can be ours.
        Accepted,
        /// What the spec refers to exists.
        ResolvedRefs,
        /// Authority, server certificate and bundles exist, match and have time left.
        CertificatesReady,
        /// Every ready replica has the keys that tokens are checked with; where tokens are taken.
        OidcDiscovered = "OIDCDiscovered",
        /// Every ready replica has acknowledged the current configuration.
        Programmed,
        /// Of a Tunnel: a connector is connected to a ready replica.
        Connected,
        /// Of a Tunnel: a request through its public name was answered by the endpoint, not long ago.
        Reachable,
        /// All of the above, and a replica is ready.
        Ready,
        /// A pod does not come up while others serve, or a ready replica does without one of its drivers; there only while a
        /// pod does not, and where there are drivers. Never changes Ready.
        Degraded,
        /// The spec is carried out, and lets more or fewer in than its author may think; there only while it does.
        Warning,
        /// Ready is false, and stays so until somebody does something; there only while it is so. Flux and others go by it.
        Stalled,
    }
}

impl ConditionType {
    /// Those of a Tunnel, in the order that they are shown in.
    pub const TUNNEL: [Self; 5] =
        [Self::Accepted, Self::Programmed, Self::Connected, Self::Reachable, Self::Ready];

    /// Every condition of a Gateway, in the order that they are shown in.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::ResolvedRefs,
        Self::CertificatesReady,
        Self::OidcDiscovered,
        Self::Programmed,
        Self::Ready,
        Self::Degraded,
        Self::Warning,
    ];

    /// Those that every Gateway has; the others are there only where they apply.
    pub const ALWAYS: [Self; 5] =
        [Self::Accepted, Self::ResolvedRefs, Self::CertificatesReady, Self::Programmed, Self::Ready];

    /// Whether it is bad news when it is true.
    pub fn is_bad_when_true(self) -> bool {
        matches!(self, Self::Degraded | Self::Warning)
    }
}

/// Whether a condition is among these, and true.
pub fn holds(conditions: &[Condition], kind: ConditionType) -> bool {
    conditions.iter().any(|it| it.type_ == kind.as_str() && it.status == "True")
}

impl Reason {
    /// The reason of this name; None for one that this version does not know.
    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.iter().copied().find(|reason| reason.as_str() == name)
    }
}

explained! {
    /// Why a condition is as it is.
    pub enum Reason {
        /// The operator has not come to it yet.
        Pending,
        /// `Accepted`: the spec makes sense.
        Accepted,
        /// `Accepted`: a value that the API server could not check makes no sense.
        Invalid,
        /// `Accepted`: the overlay is no PodTemplateSpec.
        InvalidPodTemplate,
        /// `Accepted`: a driver's sidecar has something that no container has.
        InvalidSidecar,
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
        /// `ResolvedRefs`: the roots of a client authority are not there, or are none.
        RootsNotFound,
        /// `CertificatesReady`: all there.
        Issued,
        /// `CertificatesReady`: the authority's Secret is gone, though it has signed certificates that are in use.
        AuthorityMissing,
        /// `CertificatesReady`: the authority's Secret is there and cannot be used.
        AuthorityUnusable,
        /// `CertificatesReady`, and `Warning` where the one before stays: what the Secret of `spec.pki.ca.secretRef` holds, or
        /// the issuer of `spec.pki.ca.issuerRef` has issued, is not taken as authority.
        AuthorityRefused,
        /// `CertificatesReady`, and `Warning` where the one before stays: the Secret of `spec.pki.ca.secretRef` is not there.
        SecretNotFound,
        /// `CertificatesReady`, and `Warning` where the one before stays: the issuer of `spec.pki.ca.issuerRef` has not
        /// answered yet.
        RequestPending,
        /// The same: the request for an authority was denied by whoever approves requests. Another is made later.
        RequestDenied,
        /// The same: it could not be made, or the issuer refused it. Another is made later.
        RequestFailed,
        /// The same: cert-manager is not installed, or the operator may not look at its CertificateRequests.
        CertManagerMissing,
        /// A write to the API server failed.
        WriteFailed,
        /// `CertificatesReady`: a certificate could not be issued.
        IssuingFailed,
        /// `CertificatesReady`: the operator's clock is behind the time at which it issued what there is.
        ClockBehind,
        /// `OIDCDiscovered`: every ready replica has the keys of every issuer.
        Discovered,
        /// `OIDCDiscovered`: so it has, but the last attempt to fetch them anew failed.
        LastGoodKeys,
        /// `OIDCDiscovered`: a ready replica has no keys of an issuer.
        KeysMissing,
        /// `Programmed`: every ready replica has acknowledged.
        Programmed,
        /// `Programmed`: not every ready replica has acknowledged yet.
        WaitingForReplicas,
        /// `Programmed`: a replica refused the configuration.
        Rejected,
        /// `Ready`: no pod is ready yet.
        ReplicasNotReady,
        /// `Ready`: a pod cannot start. `Degraded`: one cannot, and others serve.
        PodFailing,
        /// `Ready`: the spec wants no replicas.
        NoReplicas,
        /// `Ready`: it answers.
        Ready,
        /// `Degraded`: every ready replica reaches its drivers.
        DriversConnected,
        /// `Degraded`: a ready replica cannot reach a driver.
        DriverUnavailable,
        /// `Warning`: tokens say who is asking, and every one of them makes a user.
        AuthenticationOnly,
        /// `Warning`: nothing says who is asking.
        NobodyKnown,
        /// `Warning`: the authority was replaced at once, and bundles from before open nothing any more.
        AuthorityReplaced,
        /// `Warning`: the authority that was brought along has less than a third of its life left.
        AuthorityEnds,
        /// `Warning`: the Secret of `spec.tunnels.certificateRef` is not there, cannot be used, or has ended.
        PublicCertificateUnusable,
        /// `Accepted` of a Tunnel: there is no such Gateway.
        GatewayNotFound,
        /// `Accepted` of a Tunnel: the Gateway takes no Tunnels, or none of this namespace.
        NotAllowed,
        /// `Accepted` of a Tunnel: an older Tunnel has the name.
        HostnameConflict,
        /// `Accepted` of a Tunnel: an older Tunnel has the port.
        PortConflict,
        /// `Accepted` of a Tunnel: the Gateway has as many Tunnels as it takes.
        QuotaExceeded,
        /// `Programmed` of a Tunnel: the Gateway does not serve it yet.
        GatewayNotProgrammed,
        /// `Connected`: a connector is.
        Connected,
        /// `Connected`: none is.
        NoConnector,
        /// `Reachable`: the endpoint answers.
        Reachable,
        /// `Reachable`: a probe failed; the message says at which hop.
        ProbeFailed,
        /// `Reachable`: the last proof is too old.
        ProbeExpired,
        /// The Tunnel says `enabled: false`.
        Disabled,
        /// `Accepted` of a Tunnel: its connector cannot be run as it is written.
        InvalidConnector,
    }
}

/// Both lists, as a page for people.
pub fn page() -> String {
    let conditions = ConditionType::EVERY.iter().map(|it| {
        let of = match (ConditionType::ALL.contains(it), ConditionType::TUNNEL.contains(it)) {
            (true, false) => "Gateway",
            (false, true) => "Tunnel",
            // In neither list: there only at times.
            (true, true) | (false, false) => "Gateway, Tunnel",
        };
        format!("| `{}` | {of} | {} |\n", it.as_str(), it.meaning())
    });
    let reasons = Reason::EVERY.iter().map(|it| format!("| `{}` | {} |\n", it.as_str(), it.meaning()));
    format!(
        "# Conditions and reasons\n\nWhat `kubectl describe gateway` and `kubectl describe tunnel` show under `Conditions`, and what \
        `kubectl wait --for=condition=Ready` waits for. Names stay as they are. A condition is `True`, `False`, or `Unknown` where \
        nothing proves either; its message says what is so and what to do. `observedGeneration` is the `metadata.generation` that \
        it speaks of.\n\n\
        | Condition | Of | True when |\n|---|---|---|\n{}\n\
        ## Reasons\n\n| Reason | Meaning |\n|---|---|\n{}",
        conditions.collect::<String>(),
        reasons.collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_condition_and_every_reason() {
        let page = page();
        assert!(page.contains("| `OIDCDiscovered` | Gateway | Every ready replica has the keys"), "{page}");
        assert!(page.contains("| `Connected` | Tunnel | "), "{page}");
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, ConditionType::EVERY.len() + Reason::EVERY.len());
    }

    #[test]
    fn a_reason_is_found_by_its_name_and_says_what_it_means() {
        for reason in Reason::EVERY {
            assert_eq!(Reason::named(reason.as_str()), Some(*reason));
            assert!(reason.meaning().ends_with('.') && !reason.meaning().starts_with(' '), "{reason:?}");
        }
        assert_eq!(Reason::named("OfALaterVersion"), None);
    }
}
