//! What a gateway's metadata remembers of logins: which provider, which scopes, whom it believes.

use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::Resolved;
use crate::login::{Ask, Offer, Oidc as Offered};
use crate::store::{Edge, Metadata, Oidc, Place};

/// The scopes were chosen here; what the gateway says does not change them.
const CHOSEN: &str = "scopes_chosen";
/// Whose certificates the provider shows, PEM.
const CA: &str = "issuer_ca";
/// Somebody has logged out: the next login asks for the password.
const ANEW: &str = "login_anew";

/// The provider's CA that an earlier login was given.
pub(super) fn ca(oidc: &Oidc) -> Option<&str> {
    oidc.more.get(CA).and_then(Value::as_str)
}

/// What is asked of the provider that is remembered.
pub(super) fn ask(oidc: &Oidc) -> Ask {
    Ask {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        audience: oidc.audience.clone(),
        scopes: oidc.scopes.clone(),
        anew: oidc.more.get(ANEW).is_some_and(|it| *it == Value::Bool(true)),
    }
}

/// What to remember of a gateway's provider, scopes and CA where they are given anew.
pub(super) fn merged(
    before: Option<&Oidc>,
    offered: &Offered,
    scopes: Option<&[String]>,
    ca: Option<&str>,
) -> Oidc {
    let mut oidc = before.cloned().unwrap_or_default();
    if oidc.issuer != offered.issuer {
        // Another provider: nothing that was chosen for the one before holds.
        oidc = Oidc::default();
    }
    oidc.issuer.clone_from(&offered.issuer);
    oidc.client_id.clone_from(&offered.client_id);
    oidc.audience.clone_from(&offered.audience);
    match scopes {
        // Without any, it is the gateway's again.
        Some([]) => drop(oidc.more.remove(CHOSEN)),
        Some(chosen) => {
            oidc.scopes = chosen.to_vec();
            oidc.more.insert(CHOSEN.to_owned(), true.into());
        }
        None => {}
    }
    if !oidc.more.contains_key(CHOSEN) {
        oidc.scopes.clone_from(&offered.scopes);
    }
    if let Some(ca) = ca {
        oidc.more.insert(CA.to_owned(), ca.into());
    }
    oidc
}

/// Remembers it, now that somebody is logged in.
pub(super) fn entered(context: &Context, gateway: &Resolved, oidc: &Oidc) -> Result<(), Failure> {
    let mut oidc = oidc.clone();
    oidc.more.remove(ANEW);
    write(context, gateway, |metadata| metadata.oidc = Some(oidc))
}

/// Remembers how the edge's token is carried.
pub(super) fn edge(context: &Context, gateway: &Resolved, offer: &Offer) -> Result<(), Failure> {
    let Some(offered) = &offer.edge else { return Ok(()) };
    write(context, gateway, |metadata| {
        let edge = metadata.edge.get_or_insert_with(Edge::default);
        edge.header.clone_from(&offered.header);
        edge.cookie.clone_from(&offered.cookie);
    })
}

/// Remembers that somebody has logged out.
pub(super) fn left(context: &Context, gateway: &Resolved) -> Result<(), Failure> {
    write(context, gateway, |metadata| {
        if let Some(oidc) = &mut metadata.oidc {
            oidc.more.insert(ANEW.to_owned(), true.into());
        }
    })
}

/// Writes what is different. A gateway of the system's is copied first, since that directory is only read.
fn write(context: &Context, gateway: &Resolved, change: impl FnOnce(&mut Metadata)) -> Result<(), Failure> {
    let Some((place, name)) = &gateway.stored else { return Ok(()) };
    let held = context.store.lock()?;
    let before = match context.store.find(name)? {
        Some((_, metadata)) => metadata,
        None => gateway.metadata.clone(),
    };
    let mut after = before.clone();
    change(&mut after);
    if after != before || (*place == Place::System && context.store.find(name)?.is_none()) {
        context.store.update(&held, name, |metadata| *metadata = after)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(issuer: &str, scopes: &[&str]) -> Offered {
        Offered {
            issuer: issuer.to_owned(),
            client_id: "cli".to_owned(),
            audience: "gateway".to_owned(),
            scopes: scopes.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn scopes_that_were_chosen_once_are_asked_for_again_until_none_are_chosen() {
        let chosen = ["tunnel:read".to_owned()];
        let first = merged(None, &offered("https://i", &["openid"]), Some(&chosen), None);
        assert_eq!(ask(&first).scopes, chosen);
        let again = merged(Some(&first), &offered("https://i", &["openid", "more"]), None, None);
        assert_eq!(ask(&again).scopes, chosen, "the gateway's do not change them");
        let none = merged(Some(&again), &offered("https://i", &["openid", "more"]), Some(&[]), None);
        assert_eq!(ask(&none).scopes, ["openid", "more"]);
    }

    #[test]
    fn what_was_chosen_for_one_provider_does_not_hold_for_another() {
        let first = merged(None, &offered("https://i", &[]), Some(&["a".to_owned()]), Some("PEM"));
        assert_eq!(ca(&first), Some("PEM"));
        assert_eq!(ca(&merged(Some(&first), &offered("https://i", &[]), None, None)), Some("PEM"));
        let other = merged(Some(&first), &offered("https://j", &["openid"]), None, None);
        assert_eq!((ca(&other), ask(&other).scopes), (None, vec!["openid".to_owned()]));
    }
}
