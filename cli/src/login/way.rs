//! Which of the three ways is gone, and going it.

use super::code;
use super::device;
use super::discover::{self, Oidc, Provider};
use super::error::Error;
use super::machine::{self, Machine};
use super::tokens::Tokens;
use super::web::{Web, skew_in_words};
use super::word::{Show, Word};

/// What is asked of a provider.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The provider.
    pub issuer: String,
    /// The client that the command is there.
    pub client_id: String,
    /// What tokens are for; empty where it is not said.
    pub audience: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// Whether the person is to prove anew who they are, whatever session the browser has.
    pub anew: bool,
}

impl Ask {
    /// What a gateway says, with other scopes where some are given.
    pub fn of(oidc: &Oidc, scopes: Option<&[String]>) -> Self {
        Self {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            audience: oidc.audience.clone(),
            scopes: scopes.map_or_else(|| oidc.scopes.clone(), <[String]>::to_vec),
            anew: false,
        }
    }

    /// OpenID Connect Core, 3.1.2.1 and 11: a refresh token that outlives the session needs consent.
    pub(super) fn prompt(&self) -> Option<&'static str> {
        match (self.anew, self.scopes.iter().any(|scope| scope == "offline_access")) {
            (false, false) => None,
            (true, false) => Some("login"),
            (false, true) => Some("consent"),
            (true, true) => Some("login consent"),
        }
    }
}

/// How somebody logs in.
#[derive(Clone, Debug)]
pub enum Means {
    /// In a browser on this machine.
    Browser,
    /// On any machine, by a code; without such a thing, in a browser that the person finds.
    Code,
    /// With a secret of its own.
    Machine(Machine),
}

/// The way that fits this machine: variables of its environment decide, unless no browser is wished for.
///
/// # Errors
/// Where the environment names half of a machine.
pub fn choose(no_browser: bool, variable: &dyn Fn(&str) -> Option<String>) -> Result<Means, Error> {
    if let Some(machine) = Machine::find(variable)? {
        return Ok(Means::Machine(machine));
    }
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    let seen = cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY") || set("BROWSER");
    Ok(if no_browser || remote || !seen { Means::Code } else { Means::Browser })
}

/// Logs in.
///
/// # Errors
/// See [`Error`].
pub async fn login(web: &Web, ask: &Ask, means: &Means, show: &Show<'_>) -> Result<Tokens, Error> {
    let provider = discover::provider(web, &ask.issuer).await?;
    if let Some(ahead) = web.skew() {
        show(Word::Note(&skew_in_words(ahead, &ask.issuer)));
    }
    match means {
        Means::Machine(machine) => machine::login(web, &provider, ask, machine).await,
        Means::Browser => code::login(web, &provider, ask, true, show).await,
        Means::Code if provider.device_authorization_endpoint.is_some() => {
            device::login(web, &provider, ask, show).await
        }
        Means::Code => without_codes(web, &provider, ask, show).await,
    }
}

/// There is no browser here, and the provider knows no other way: the person finds one.
async fn without_codes(web: &Web, provider: &Provider, ask: &Ask, show: &Show<'_>) -> Result<Tokens, Error> {
    show(Word::Note(
        "the provider offers no login by a code: open the address in a browser on this machine, or forward the port in its redirect_uri (ssh -L PORT:127.0.0.1:PORT)",
    ));
    code::login(web, provider, ask, false, show).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(no_browser: bool, set: &[(&str, &str)]) -> &'static str {
        let variable = |name: &str| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        match choose(no_browser, &variable).unwrap() {
            Means::Browser => "browser",
            Means::Code => "code",
            Means::Machine(_) => "machine",
        }
    }

    #[test]
    fn the_way_follows_from_where_the_command_runs() {
        let desk = [("DISPLAY", ":0")];
        assert_eq!(chosen(false, &desk), "browser");
        assert_eq!(chosen(true, &desk), "code");
        assert_eq!(chosen(false, &[("DISPLAY", ":10"), ("SSH_CONNECTION", "a 1 b 22")]), "code");
        assert_eq!(chosen(false, &[("BROWSER", "firefox")]), "browser");
        let ci = [("PORTCULLIS_CLIENT_ID", "ci"), ("PORTCULLIS_CLIENT_SECRET", "s"), ("DISPLAY", ":0")];
        assert_eq!(chosen(true, &ci), "machine");
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn where_nothing_can_be_seen_no_browser_is_opened() {
        assert_eq!(chosen(false, &[]), "code");
    }

    #[test]
    fn the_password_is_asked_for_where_it_must_be_and_consent_where_a_login_is_to_last() {
        let ask = |anew, scopes: &[&str]| {
            let scopes = scopes.iter().map(|it| (*it).to_owned()).collect();
            Ask { scopes, anew, ..Ask::default() }.prompt()
        };
        assert_eq!(ask(false, &["openid"]), None);
        assert_eq!(ask(true, &[]), Some("login"));
        assert_eq!(ask(false, &["offline_access"]), Some("consent"));
        assert_eq!(ask(true, &["offline_access"]), Some("login consent"));
    }
}
