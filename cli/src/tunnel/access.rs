//! Who may visit, as flags say.

use portcullis_contract::gateway::{TunnelAccess, VisitorAuth, VisitorRequirement};

use crate::options::Visitors;

/// Who may visit, as the flags say; none, where they say nothing.
pub(crate) fn access(visitors: Visitors) -> Option<TunnelAccess> {
    let Visitors { public, roles, networks } = visitors;
    if !public && roles.is_empty() && networks.is_empty() {
        return None;
    }
    let auth = if public { VisitorAuth::None } else { VisitorAuth::Required };
    let requires = roles.into_iter().map(|role| VisitorRequirement { role, ..Default::default() });
    Some(TunnelAccess {
        auth: auth.into(),
        requires: requires.collect(),
        source_cidrs: networks,
        ..TunnelAccess::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_nothing_is_said_of_who_may_visit() {
        assert_eq!(access(Visitors::default()), None);
        let (roles, networks) = (vec!["staff".into()], vec!["10.0.0.0/8".into()]);
        let limited = access(Visitors { public: false, roles, networks }).unwrap();
        assert_eq!((limited.auth(), limited.requires.len()), (VisitorAuth::Required, 1));
    }
}
