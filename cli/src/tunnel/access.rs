//! Who may visit, as flags say.

use portcullis_contract::gateway::{TunnelAccess, VisitorAuth, VisitorRequirement};

/// Who may visit, as the flags say; none, where they say nothing.
pub(crate) fn access(public: bool, roles: &[String], networks: &[String]) -> Option<TunnelAccess> {
    if !public && roles.is_empty() && networks.is_empty() {
        return None;
    }
    let auth = if public { VisitorAuth::None } else { VisitorAuth::Required };
    let requires = roles.iter().map(|role| VisitorRequirement { role: role.clone(), ..Default::default() });
    Some(TunnelAccess {
        auth: auth.into(),
        requires: requires.collect(),
        source_cidrs: networks.to_vec(),
        ..TunnelAccess::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_nothing_is_said_of_who_may_visit() {
        assert_eq!(access(false, &[], &[]), None);
        let limited = access(false, &["staff".into()], &["10.0.0.0/8".into()]).unwrap();
        assert_eq!((limited.auth(), limited.requires.len()), (VisitorAuth::Required, 1));
    }
}
