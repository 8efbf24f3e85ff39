//! Which names an authority may certify (RFC 5280, 4.2.1.10): written into its certificate, read
//! back, and asked before each leaf. Why there are no URI constraints: docs/adr/0004.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rcgen::{CidrSubnet, GeneralSubtree};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::names::{self, Name};
use crate::{Error, LeafProfile};

/// The subtrees that an authority is held to, by kind of name. `None` leaves that kind free; an
/// empty set permits no name of that kind. The default leaves all free and writes no extension.
/// URIs are always free: rustls refuses every URI under an authority that constrains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Each permits its own name and all below it; without leading dot or wildcard.
    pub dns: Option<BTreeSet<String>>,
    /// Each permits the addresses in it.
    pub ip: Option<BTreeSet<IpNet>>,
}

impl NameConstraints {
    /// The narrowest constraints that still permit these DNS names (wildcards by their parent,
    /// others with all below them) and these addresses, and no others.
    pub fn covering<'a>(
        dns_names: impl IntoIterator<Item = &'a str>,
        ip_addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let parent = |name: &str| {
            let name = names::canonical_dns(name);
            name.strip_prefix("*.").map(str::to_owned).unwrap_or(name)
        };
        Self {
            dns: Some(dns_names.into_iter().map(parent).collect()),
            ip: Some(ip_addresses.into_iter().map(|address| IpNet::from(address.to_canonical())).collect()),
        }
    }

    /// Whether an authority held to these may issue the leaf; else the first name that is left out.
    pub fn check(&self, profile: &LeafProfile) -> Result<(), Error> {
        match names::wanted(profile).iter().find(|name| !self.permit(name)) {
            None => Ok(()),
            Some(name) => {
                Err(Error::NotPermitted { subject: profile.common_name.clone(), name: name.to_string() })
            }
        }
    }

    fn permit(&self, name: &Name) -> bool {
        match name {
            Name::Dns(name) => self.dns.as_ref().is_none_or(|bases| {
                let name = name.strip_prefix("*.").unwrap_or(name);
                bases.iter().any(|base| {
                    name.strip_suffix(base.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            }),
            Name::Ip(address) => {
                self.ip.as_ref().is_none_or(|subnets| subnets.iter().any(|subnet| subnet.contains(address)))
            }
            Name::Uri(_) => true,
        }
    }

    /// As the certificate will say it; `None` where it is to say nothing.
    pub(crate) fn extension(&self) -> Result<Option<rcgen::NameConstraints>, Error> {
        let dns = self.dns.iter().flatten();
        if let Some(base) = dns.clone().find(|base| !names::is_dns(base)) {
            return Err(Error::InvalidName { kind: "DNS subtree", name: base.clone() });
        }
        let subnets =
            |subnets: &BTreeSet<IpNet>| -> Vec<GeneralSubtree> { subnets.iter().map(subtree).collect() };
        let mut permitted: Vec<_> = dns.cloned().map(GeneralSubtree::DnsName).collect();
        let mut excluded = Vec::new();
        if self.dns.as_ref().is_some_and(BTreeSet::is_empty) {
            permitted.push(GeneralSubtree::DnsName(NOWHERE.to_owned()));
        }
        match &self.ip {
            Some(none) if none.is_empty() => excluded = subnets(&everywhere()),
            Some(some) => permitted.extend(subnets(some)),
            None => {}
        }
        let empty = permitted.is_empty() && excluded.is_empty();
        Ok((!empty)
            .then_some(rcgen::NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }))
    }

    /// What a stored authority is held to. Of a foreign authority only the permitted DNS names and
    /// addresses are told; verifiers enforce the rest.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let Ok(Some(extension)) = certificate.name_constraints() else { return Self::default() };
        let bases = |subtrees: &'_ Option<Vec<_>>| -> Vec<Base> {
            subtrees
                .iter()
                .flatten()
                .filter_map(|tree: &x509_parser::extensions::GeneralSubtree<'_>| base(&tree.base))
                .collect()
        };
        let mut constraints = Self::default();
        for base in bases(&extension.value.permitted_subtrees) {
            match base {
                Base::Dns(name) if name == NOWHERE => drop(constraints.dns.get_or_insert_default()),
                Base::Dns(name) => drop(constraints.dns.get_or_insert_default().insert(name)),
                Base::Ip(subnet) => drop(constraints.ip.get_or_insert_default().insert(subnet)),
            }
        }
        let excluded: BTreeSet<IpNet> = bases(&extension.value.excluded_subtrees)
            .into_iter()
            .filter_map(|base| if let Base::Ip(subnet) = base { Some(subnet) } else { None })
            .collect();
        if excluded.is_superset(&everywhere()) {
            constraints.ip = Some(BTreeSet::new());
        }
        constraints
    }
}

/// No name is below it (RFC 6761): permitting it alone permits none, and no verifier needs to
/// know the special case of an excluded empty name.
const NOWHERE: &str = "nothing.invalid";

enum Base {
    Dns(String),
    Ip(IpNet),
}

fn everywhere() -> BTreeSet<IpNet> {
    BTreeSet::from([IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())])
}

fn subtree(subnet: &IpNet) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(subnet.network(), subnet.prefix_len()))
}

fn base(name: &GeneralName<'_>) -> Option<Base> {
    match name {
        GeneralName::DNSName(name) => Some(Base::Dns(names::canonical_dns(name))),
        GeneralName::IPAddress(bytes) => {
            let (address, mask) = bytes.split_at(bytes.len() / 2);
            IpNet::with_netmask(address_of(address)?, address_of(mask)?).ok().map(Base::Ip)
        }
        _ => None,
    }
}

/// Four or sixteen bytes.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

#[cfg(test)]
mod tests;
