//! SPIFFE identities: the SAN URI that says whom a certificate speaks for.

use std::fmt;
use std::str::FromStr;

/// Whom a certificate of ours speaks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Trust domain, such as `cluster.local`.
    pub trust_domain: String,
    /// The Gateway's namespace.
    pub namespace: String,
    /// The Gateway's name.
    pub gateway: String,
    /// Who, of all that have to do with that Gateway.
    pub holder: Holder,
}

/// Who a certificate of a Gateway was issued to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// The Gateway's own replicas.
    Replica,
    /// A client of this name.
    Client(String),
    /// A connector of exactly this Tunnel.
    Connector {
        /// The Tunnel's namespace.
        namespace: String,
        /// The Tunnel's name.
        tunnel: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/gateway/{}", self.trust_domain, self.namespace, self.gateway)?;
        match &self.holder {
            Holder::Replica => Ok(()),
            Holder::Client(client) => write!(f, "/client/{client}"),
            Holder::Connector { namespace, tunnel } => write!(f, "/tunnel/{namespace}/{tunnel}"),
        }
    }
}

/// A URI that is none of our identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnIdentity;

impl fmt::Display for NotAnIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected spiffe://<trust domain>/ns/<namespace>/gateway/<name>[/client/<name>|/tunnel/<namespace>/<name>]",
        )
    }
}

impl std::error::Error for NotAnIdentity {}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let path = uri.strip_prefix("spiffe://").ok_or(NotAnIdentity)?;
        let segments: Vec<&str> = path.split('/').collect();
        if segments.iter().any(|segment| !is_plain(segment)) {
            return Err(NotAnIdentity);
        }
        let [domain, "ns", namespace, "gateway", gateway, ref holder @ ..] = segments[..] else {
            return Err(NotAnIdentity);
        };
        let holder = match *holder {
            [] => Holder::Replica,
            ["client", client] => Holder::Client(client.to_owned()),
            ["tunnel", namespace, tunnel] => {
                Holder::Connector { namespace: namespace.to_owned(), tunnel: tunnel.to_owned() }
            }
            _ => return Err(NotAnIdentity),
        };
        Ok(Self {
            trust_domain: domain.to_owned(),
            namespace: namespace.to_owned(),
            gateway: gateway.to_owned(),
            holder,
        })
    }
}

/// No empty segment, no escape, nothing that another reader could take for something else.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_identity_survives_its_own_uri(
            trust_domain in "[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?",
            namespace in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
            gateway in "[a-z]([-a-z0-9]{0,20}[a-z0-9])?",
            holder in prop_oneof![
                Just(Holder::Replica),
                "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?".prop_map(Holder::Client),
                ("[a-z0-9]{1,9}", "[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?")
                    .prop_map(|(namespace, tunnel)| Holder::Connector { namespace, tunnel }),
            ],
        ) {
            let identity = Identity { trust_domain, namespace, gateway, holder };
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }

        #[test]
        fn whatever_parses_is_written_the_same_way_again(uri in "spiffe://[a-z/.%A-Z-]{0,60}") {
            if let Ok(identity) = uri.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), uri);
            }
        }
    }

    #[test]
    fn foreign_uris_are_no_identities() {
        for uri in [
            "https://cluster.local/ns/a/gateway/b",
            "spiffe://cluster.local/ns/a/gateway/",
            "spiffe://cluster.local/ns/a/gateway/b/client",
            "spiffe://cluster.local/ns/a/gateway/b/client/c/d",
            "spiffe://cluster.local/ns/a/gateway/b/tunnel/c",
            "spiffe://cluster.local/ns/a/../gateway/b%2Fclient",
            "spiffe:///ns/a/gateway/b",
        ] {
            assert_eq!(uri.parse::<Identity>(), Err(NotAnIdentity), "{uri}");
        }
    }
}
