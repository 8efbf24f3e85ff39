//! What is kept in a gateway's `oidc_token.json`: tokens of whoever is logged in, as OpenShell has them too, and of those who
//! are set aside.

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::login::Tokens;
use crate::store::{Item, Lock, Name, Place, Store};

/// Tokens at one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of whoever is logged in.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub active: Option<Tokens>,
    /// Of those who are set aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Tokens>,
    /// Of machines, which are never the ones that commands mean unless the environment says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Tokens>,
}

/// Whether both are of the same person at the same provider.
fn is_same(one: &Tokens, other: &Tokens) -> bool {
    one.issuer == other.issuer && one.subject == other.subject && one.account == other.account
}

impl Kept {
    /// Makes these the ones that commands mean, and sets aside whoever it was before.
    pub fn enter(&mut self, tokens: Tokens) {
        self.others.retain(|it| !is_same(it, &tokens));
        if let Some(before) = self.active.replace(tokens)
            && self.active.as_ref().is_some_and(|now| !is_same(now, &before))
        {
            self.others.push(before);
        }
    }

    /// Those of the machine with this client id.
    pub fn machine(&self, client_id: &str) -> Option<&Tokens> {
        self.machines.iter().find(|it| it.client_id == client_id)
    }

    /// Keeps those of a machine.
    pub fn enter_machine(&mut self, tokens: Tokens) {
        self.machines.retain(|it| it.client_id != tokens.client_id);
        self.machines.push(tokens);
    }

    /// Makes another account the one that commands mean: by its name, or its subject. None where no other is called so.
    pub fn switch(&mut self, account: &str) -> Option<&Tokens> {
        let called = |it: &Tokens| it.account == account || it.subject == account;
        let at = self.others.iter().position(called)?;
        let tokens = self.others.remove(at);
        self.enter(tokens);
        self.active.as_ref()
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.active.is_none() && self.others.is_empty() && self.machines.is_empty()
    }
}

/// Where the tokens of one gateway are.
#[derive(Clone, Debug)]
pub struct Accounts {
    store: Store,
    place: Place,
    name: Name,
}

impl Accounts {
    /// Of this gateway. What is got here is always kept in the user's own directory.
    pub fn of(store: &Store, place: Place, name: &Name) -> Self {
        Self { store: store.clone(), place, name: name.clone() }
    }

    /// What is kept.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(&self) -> Result<Kept, Failure> {
        let Some(bytes) = self.item(Item::OidcToken)? else { return Ok(Kept::default()) };
        let broken = || {
            Failure::new(Exit::Failed, format!("the tokens that are kept for {} cannot be read", self.name))
                .hint("they may have been cut short: run `portcullis gateway login`")
        };
        let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| broken())?;
        let names_one = document.get("access_token").is_some();
        let kept: Kept = serde_json::from_value(document).map_err(|_| broken())?;
        if names_one && kept.active.is_none() { Err(broken()) } else { Ok(kept) }
    }

    /// The edge's token.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn edge(&self) -> Result<Option<String>, Failure> {
        let bytes = self.item(Item::EdgeToken)?;
        let text = bytes.map(|it| String::from_utf8_lossy(&it).trim().to_owned());
        Ok(text.filter(|it| !it.is_empty()))
    }

    /// Keeps the edge's token, or forgets it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn set_edge(&self, token: Option<&str>) -> Result<(), Failure> {
        Ok(self.store.set_item(&self.name, Item::EdgeToken, token.map(str::as_bytes))?)
    }

    /// Waits until no other command changes these tokens.
    ///
    /// # Errors
    /// Where there can be no lock.
    pub fn lock(&self) -> Result<Lock, Failure> {
        Ok(self.store.lock_tokens(&self.name)?)
    }

    /// Changes what is kept. What cannot be read any more is replaced.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn change<T>(&self, _held: &Lock, change: impl FnOnce(&mut Kept) -> T) -> Result<T, Failure> {
        let mut kept = self.read().unwrap_or_default();
        let outcome = change(&mut kept);
        if kept.is_empty() {
            self.store.set_item(&self.name, Item::OidcToken, None)?;
        } else {
            let mut bytes = serde_json::to_vec_pretty(&kept).map_err(anyhow::Error::new)?;
            bytes.push(b'\n');
            self.store.set_item(&self.name, Item::OidcToken, Some(&bytes))?;
        }
        Ok(outcome)
    }

    fn item(&self, item: Item) -> Result<Option<Vec<u8>>, Failure> {
        match self.store.item(Place::Own, &self.name, item)? {
            Some(bytes) => Ok(Some(bytes)),
            None => Ok(self.store.item(self.place, &self.name, item)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(account: &str) -> Tokens {
        let kept = format!(
            r#"{{"access_token":"of {account}","issuer":"https://idp","client_id":"cli","subject":"{account}","account":"{account}"}}"#
        );
        serde_json::from_str(&kept).unwrap()
    }

    fn accounts() -> (tempfile::TempDir, Accounts) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("own"), &folder.path().join("system"));
        let accounts = Accounts::of(&store, Place::Own, &"shop".parse().unwrap());
        (folder, accounts)
    }

    fn names(kept: &Kept) -> (Option<&str>, Vec<&str>) {
        (kept.active.as_ref().map(Tokens::name), kept.others.iter().map(Tokens::name).collect())
    }

    #[test]
    fn whoever_was_logged_in_is_set_aside_and_can_come_back() {
        let mut kept = Kept::default();
        kept.enter(tokens("alice"));
        kept.enter(tokens("alice"));
        assert_eq!(names(&kept), (Some("alice"), vec![]), "the same person replaces herself");
        kept.enter(tokens("bob"));
        assert_eq!(names(&kept), (Some("bob"), vec!["alice"]));
        assert_eq!(kept.switch("carol"), None);
        assert_eq!(kept.switch("alice").map(Tokens::name), Some("alice"));
        assert_eq!(names(&kept), (Some("alice"), vec!["bob"]));
        kept.enter(tokens("bob"));
        assert_eq!(names(&kept), (Some("bob"), vec!["alice"]), "nobody is there twice");
    }

    #[test]
    fn a_machine_changes_nothing_for_people() {
        let mut kept = Kept::default();
        kept.enter(tokens("alice"));
        kept.enter_machine(Tokens { client_id: "ci".to_owned(), ..tokens("ci") });
        assert_eq!(names(&kept), (Some("alice"), vec![]));
        assert_eq!(kept.machine("ci").map(Tokens::name), Some("ci"));
        assert_eq!(kept.machine("cli"), None);
    }

    #[test]
    fn what_is_kept_comes_back_whole_and_openshell_could_read_it() {
        let (folder, accounts) = accounts();
        let held = accounts.lock().unwrap();
        accounts.change(&held, |kept| kept.enter(tokens("alice"))).unwrap();
        accounts.change(&held, |kept| kept.enter(tokens("bob"))).unwrap();
        assert_eq!(names(&accounts.read().unwrap()), (Some("bob"), vec!["alice"]));
        let file = folder.path().join("own/gateways/shop/oidc_token.json");
        let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(document["access_token"], "of bob");
        accounts.change(&held, |kept| *kept = Kept::default()).unwrap();
        assert!(!file.exists(), "nothing is left of those who are gone");
    }

    #[test]
    fn tokens_that_were_cut_short_are_said_and_a_login_replaces_them() {
        let (folder, accounts) = accounts();
        let held = accounts.lock().unwrap();
        accounts.change(&held, |kept| kept.enter(tokens("alice"))).unwrap();
        let file = folder.path().join("own/gateways/shop/oidc_token.json");
        let whole = std::fs::read_to_string(&file).unwrap();
        for cut in ["", &whole[..whole.len() / 2], r#"{"access_token":"x"}"#] {
            std::fs::write(&file, cut).unwrap();
            let failure = accounts.read().unwrap_err();
            assert!(failure.hint.unwrap().contains("gateway login"), "{cut}");
        }
        accounts.change(&held, |kept| kept.enter(tokens("bob"))).unwrap();
        assert_eq!(names(&accounts.read().unwrap()), (Some("bob"), vec![]));
    }
}
