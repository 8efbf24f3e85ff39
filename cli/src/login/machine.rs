//! The machine's way: a client with a secret of its own, from the environment (RFC 6749, 4.4). No person, no refresh
//! token: when a token ends, another is asked for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth2::url::form_urlencoded;

use super::discover::Provider;
use super::error::Error;
use super::grant;
use super::secret::Secret;
use super::tokens::Tokens;
use super::way::Ask;
use super::web::Web;

/// The variable with the client's id.
pub(super) const ID: &str = "PORTCULLIS_CLIENT_ID";
/// The variable with its secret.
pub(super) const SECRET: &str = "PORTCULLIS_CLIENT_SECRET";

/// A client with a secret.
#[derive(Clone)]
pub struct Machine {
    /// The client's id.
    pub client_id: String,
    /// Its secret.
    pub secret: Secret,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Machine {
    /// Both, as a header has them (RFC 6749, 2.3.1).
    pub(super) fn basic(&self) -> String {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let both = format!("{}:{}", encoded(&self.client_id), encoded(self.secret.expose()));
        format!("Basic {}", STANDARD.encode(both))
    }

    /// The one that the environment names, where it does.
    ///
    /// # Errors
    /// Where it names half of one.
    pub fn find(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match (set(ID), set(SECRET)) {
            (Some(client_id), Some(secret)) => Ok(Some(Self { client_id, secret: secret.into() })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::HalfMachine { set: ID, missing: SECRET }),
            (None, Some(_)) => Err(Error::HalfMachine { set: SECRET, missing: ID }),
        }
    }
}

/// Logs a machine in.
pub(super) async fn login(
    web: &Web,
    provider: &Provider,
    ask: &Ask,
    machine: &Machine,
) -> Result<Tokens, Error> {
    let client = grant::client(provider, &machine.client_id, Some(&machine.secret))?;
    let mut request = client.exchange_client_credentials().add_scopes(grant::scopes(ask, false));
    if !ask.audience.is_empty() {
        request = request.add_extra_param("audience", ask.audience.as_str());
    }
    let granted = request.request_async(web).await;
    let granted = granted.map_err(|error| grant::refused(provider, &provider.token_endpoint, error))?;
    let ask = Ask { client_id: machine.client_id.clone(), ..ask.clone() };
    let mut tokens = grant::accept(web, provider, &ask, &granted, None).await?;
    if tokens.account.is_empty() {
        tokens.account.clone_from(&machine.client_id);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_both_variables_and_half_of_it_is_a_mistake() {
        let with = |set: &'static [(&str, &str)]| {
            Machine::find(&move |name| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()))
        };
        assert!(with(&[]).unwrap().is_none());
        assert!(with(&[(ID, ""), (SECRET, "")]).unwrap().is_none());
        let machine = with(&[(ID, "ci"), (SECRET, "word")]).unwrap().unwrap();
        assert_eq!((machine.client_id.as_str(), machine.secret.expose()), ("ci", "word"));
        assert!(!format!("{machine:?}").contains("word"));
        let error = with(&[(ID, "ci")]).unwrap_err().to_string();
        assert!(error.contains(SECRET), "{error}");
        let error = with(&[(SECRET, "word")]).unwrap_err().to_string();
        assert!(error.contains(ID) && !error.contains("word"), "{error}");
    }
}
