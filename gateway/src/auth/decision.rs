//! The decision itself: pure, given the evidence, the configuration and the time.

use crate::config::Config;
use crate::metrics::label;

use super::principal::{roles_header, user_header};
use super::{Evidence, Principal};

label! {
    /// Why a caller was denied.
    enum DenialReason {
        NoEvidence => "no_evidence",
        NoIdentity => "no_identity",
        OtherGateway => "other_gateway",
        NotAClient => "not_a_client",
        UnknownClient => "unknown_client",
        NotYetValid => "not_yet_valid",
        Expired => "expired",
    }
}

/// A denied caller: the reason is counted, the detail is logged, and the caller is told neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: DenialReason,
    pub(crate) detail: String,
}

/// Whom this evidence speaks for now, under this configuration.
pub(crate) fn decide(evidence: &Evidence, config: &Config, now: i64) -> Result<Principal, Denial> {
    let deny = |reason, detail: String| Err(Denial { reason, detail });
    let Some(certificate) = &evidence.certificate else {
        return deny(DenialReason::NoEvidence, "the caller showed nothing".to_owned());
    };
    let identity = match &certificate.identity {
        Ok(identity) => identity,
        Err(why) => return deny(DenialReason::NoIdentity, (*why).to_owned()),
    };
    if identity.trust_domain != config.trust_domain
        || identity.namespace != config.gateway.namespace
        || identity.gateway != config.gateway.name
    {
        return deny(DenialReason::OtherGateway, format!("{identity} is not of this gateway"));
    }
    let Some(name) = &identity.client else {
        return deny(DenialReason::NotAClient, format!("{identity} is a replica, not a client"));
    };
    let Some(client) = config.clients.get(name) else {
        return deny(DenialReason::UnknownClient, format!("{identity} is not among the gateway's clients"));
    };
    if now < certificate.not_before {
        return deny(DenialReason::NotYetValid, format!("the certificate of {identity} is not valid yet"));
    }
    if now > certificate.not_after {
        return deny(DenialReason::Expired, format!("the certificate of {identity} has expired"));
    }
    Ok(Principal {
        user: client.user.clone(),
        roles: client.roles.clone(),
        identity: identity.to_string(),
        serial: certificate.serial.clone(),
        fingerprint: certificate.fingerprint.clone(),
        expires_at: certificate.not_after,
        proof: "client-certificate",
        user_header: user_header(&client.user),
        roles_header: roles_header(&client.roles),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ClientCertificate;
    use crate::config::tests::config;
    use proptest::prelude::*;

    fn shown(uri: &str) -> Evidence {
        let identity = uri.parse().map_err(|_| "no identity");
        Evidence { certificate: Some(ClientCertificate::for_test(identity, 100, 200)), ..Evidence::default() }
    }

    fn reason(evidence: &Evidence, now: i64) -> DenialReason {
        decide(evidence, &config(), now).unwrap_err().reason
    }

    #[test]
    fn a_listed_client_is_who_the_snapshot_says() {
        let principal =
            decide(&shown("spiffe://cluster.local/ns/shop/gateway/door/client/ci"), &config(), 150).unwrap();
        assert_eq!(principal.user, "ci@shop");
        assert_eq!(principal.roles, ["user", "deployer"]);
        assert_eq!(principal.expires_at, 200);
        assert_eq!(principal.identity, "spiffe://cluster.local/ns/shop/gateway/door/client/ci");
    }

    #[test]
    fn everything_else_is_denied_with_its_reason() {
        assert_eq!(reason(&Evidence::default(), 150), DenialReason::NoEvidence);
        for (uri, expected) in [
            ("spiffe://cluster.local/ns/shop/gateway/door/client/eve", DenialReason::UnknownClient),
            ("spiffe://cluster.local/ns/shop/gateway/door", DenialReason::NotAClient),
            ("spiffe://cluster.local/ns/shop/gateway/other/client/ci", DenialReason::OtherGateway),
            ("spiffe://cluster.local/ns/other/gateway/door/client/ci", DenialReason::OtherGateway),
            ("spiffe://example.org/ns/shop/gateway/door/client/ci", DenialReason::OtherGateway),
            ("https://example.org/", DenialReason::NoIdentity),
        ] {
            assert_eq!(reason(&shown(uri), 150), expected, "{uri}");
        }
        let listed = shown("spiffe://cluster.local/ns/shop/gateway/door/client/ci");
        assert_eq!(reason(&listed, 99), DenialReason::NotYetValid);
        assert_eq!(reason(&listed, 201), DenialReason::Expired);
    }

    proptest! {
        #[test]
        fn removing_a_client_never_widens_rights(name in "[a-z]{1,6}", removed in "[a-z]{1,6}", now in 0_i64..300) {
            let evidence = shown(&format!("spiffe://cluster.local/ns/shop/gateway/door/client/{name}"));
            let before = config();
            let mut after = config();
            after.clients.remove(&removed);
            after.clients.remove("ci");
            if let Ok(principal) = decide(&evidence, &after, now) {
                prop_assert_eq!(Ok(principal), decide(&evidence, &before, now));
            }
        }

        #[test]
        fn removing_evidence_never_widens_rights(now in 0_i64..300) {
            prop_assert!(decide(&Evidence::default(), &config(), now).is_err());
        }
    }
}
