//! Keeps an access token fresh: renewed before it ends, once for all calls of this process and for all processes on this
//! machine, which wait for each other at the [`Keeper`]'s lock.

use std::any::Any;
use std::sync::Arc;

use oauth2::RefreshToken;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::discover;
use super::error::Error;
use super::grant;
use super::identity::{self, Expected, Identity};
use super::machine::{self, Machine};
use super::secret::Secret;
use super::tokens::Tokens;
use super::way::Ask;
use super::web::Web;

/// Anything that can go wrong with files.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What is held while tokens are renewed.
type Held = Box<dyn Any + Send>;

/// Where the tokens of one gateway are kept. Its functions may block.
pub trait Keeper: Send + Sync + 'static {
    /// Waits until no other process holds the lock, and holds it until what it returns is dropped.
    ///
    /// # Errors
    /// Where there can be no lock.
    fn lock(&self) -> Result<Held, Trouble>;

    /// What is kept.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self) -> Result<Option<Tokens>, Trouble>;

    /// Keeps this instead, under the lock that is held.
    ///
    /// # Errors
    /// Where it cannot be written; what was kept is still there then.
    fn write(&self, held: &dyn Any, tokens: &Tokens) -> Result<(), Trouble>;
}

/// Hands out access tokens.
pub struct Session {
    renewer: Arc<Renewer>,
    /// What was found last. Whoever renews holds it.
    held: Arc<Mutex<Option<Tokens>>>,
    renewals: TaskTracker,
}

struct Renewer {
    keeper: Arc<dyn Keeper>,
    web: Arc<Web>,
    ask: Ask,
    /// What gets tokens again where nothing else does.
    machine: Option<Machine>,
}

impl Session {
    /// For what is kept there. Of `ask`, a machine needs all of it; a person's tokens know their issuer and client. Whoever
    /// ends the program waits for `renewals` first: what a provider gives once must be kept, whether or not anybody still
    /// waits for it.
    pub fn new(
        keeper: Arc<dyn Keeper>,
        web: Arc<Web>,
        ask: Ask,
        machine: Option<Machine>,
        renewals: TaskTracker,
    ) -> Self {
        Self { renewer: Arc::new(Renewer { keeper, web, ask, machine }), held: Arc::default(), renewals }
    }

    /// An access token that holds for a while yet.
    ///
    /// # Errors
    /// Where nobody is logged in, or the login has ended.
    pub async fn token(&self) -> Result<Secret, Error> {
        self.other_than(None).await
    }

    /// An access token other than this one, which a gateway did not take.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn instead_of(&self, refused: &Secret) -> Result<Secret, Error> {
        self.other_than(Some(refused.clone())).await
    }

    /// How many seconds the provider's clock is ahead of this machine's, where it was asked and that is too many.
    pub fn skew(&self) -> Option<i64> {
        self.renewer.web.skew()
    }

    async fn other_than(&self, refused: Option<Secret>) -> Result<Secret, Error> {
        // Whoever comes while another renews waits here, and finds what that one got.
        let mut held = Arc::clone(&self.held).lock_owned().await;
        if let Some(tokens) = held.as_ref().filter(|it| self.renewer.is_good(it, refused.as_ref())) {
            return Ok(tokens.access_token.clone());
        }
        let renewer = Arc::clone(&self.renewer);
        let found = self.renewals.spawn(async move {
            let tokens = renewer.find(refused.as_ref()).await?;
            Ok(held.insert(tokens).access_token.clone())
        });
        found
            .await
            .unwrap_or_else(|error| Err(Error::Kept { what: "renew the tokens", source: error.into() }))
    }
}

impl Renewer {
    fn is_good(&self, tokens: &Tokens, refused: Option<&Secret>) -> bool {
        tokens.is_fresh(self.web.now()) && refused != Some(&tokens.access_token)
    }

    /// Tokens that are good; renewed where what is kept is not.
    async fn find(&self, refused: Option<&Secret>) -> Result<Tokens, Error> {
        let good = |tokens: &Tokens| self.is_good(tokens, refused);
        let kept = self.kept("read the tokens", <dyn Keeper>::read).await?;
        if let Some(tokens) = kept.filter(good) {
            return Ok(tokens);
        }
        let lock = match self.kept("wait for other commands", <dyn Keeper>::lock).await {
            Ok(lock) => Some(lock),
            // A machine logs in anew where nothing can be kept.
            Err(_) if self.machine.is_some() => None,
            Err(error) => return Err(error),
        };
        // Another process may have renewed it while this one waited.
        match self.kept("read the tokens", <dyn Keeper>::read).await? {
            Some(tokens) if good(&tokens) => Ok(tokens),
            Some(tokens) => match self.renewed(lock, &tokens).await {
                // It holds for the rest of its last minute; the next call tries again.
                Err(error)
                    if tokens.holds(self.web.now())
                        && refused != Some(&tokens.access_token)
                        && !is_final(&error) =>
                {
                    Ok(tokens)
                }
                renewed => renewed,
            },
            None => {
                let machine = self.machine.as_ref().ok_or(Error::NotLoggedIn)?;
                self.keep(lock, self.again(machine).await?).await
            }
        }
    }

    async fn renewed(&self, lock: Option<Held>, tokens: &Tokens) -> Result<Tokens, Error> {
        // A provider takes a refresh token once. It is asked when what comes of it can be kept.
        let lock = match lock {
            Some(lock) if self.machine.is_none() => Some(self.write(lock, tokens.clone()).await?),
            lock => lock,
        };
        let renewed = self.renew(tokens).await?;
        self.keep(lock, renewed).await
    }

    async fn again(&self, machine: &Machine) -> Result<Tokens, Error> {
        let provider = discover::provider(&self.web, &self.ask.issuer).await?;
        machine::login(&self.web, &provider, &self.ask, machine).await
    }

    async fn renew(&self, tokens: &Tokens) -> Result<Tokens, Error> {
        let over =
            |reason: &str| Error::LoginAgain { account: tokens.name().to_owned(), reason: reason.to_owned() };
        let Some(refresh) = &tokens.refresh_token else {
            return match &self.machine {
                Some(machine) => self.again(machine).await,
                None => Err(over("it cannot be renewed")),
            };
        };
        let provider = discover::provider(&self.web, &tokens.issuer).await?;
        let client = grant::client(&provider, &tokens.client_id, None)?;
        let shown = RefreshToken::new(refresh.expose().to_owned());
        let granted = client.exchange_refresh_token(&shown).request_async(&*self.web).await;
        let granted = granted.map_err(|error| {
            if grant::is_over(&error) {
                over("the provider does not renew it")
            } else {
                grant::refused(&provider, &provider.token_endpoint, error)
            }
        })?;
        let ask = Ask {
            issuer: tokens.issuer.clone(),
            client_id: tokens.client_id.clone(),
            scopes: tokens.scopes.clone(),
            ..Ask::default()
        };
        let who = Identity {
            issuer: tokens.issuer.clone(),
            subject: tokens.subject.clone(),
            account: tokens.account.clone(),
            ends: None,
        };
        // OpenID Connect Core, 12.2: a new ID token must be the same person's.
        let id_token = granted.extra_fields().id_token();
        if let Some(token) = &id_token {
            let expected = Expected { client_id: &tokens.client_id, nonce: None, now: self.web.their_now() };
            let renewed = identity::believe(&self.web, &provider, token, &expected).await?;
            if !who.subject.is_empty() && renewed.subject != who.subject {
                return Err(Error::Identity {
                    issuer: provider.issuer.clone(),
                    reason: format!("the renewed login is of {}, not of {}", renewed.account, who.account),
                });
            }
        }
        let mut renewed = grant::assemble(&self.web, &ask, &granted, who, id_token);
        // Without a new one, the old one goes on (RFC 6749, 6).
        renewed.refresh_token = renewed.refresh_token.or_else(|| tokens.refresh_token.clone());
        renewed.id_token = renewed.id_token.or_else(|| tokens.id_token.clone());
        Ok(renewed)
    }

    async fn keep(&self, lock: Option<Held>, tokens: Tokens) -> Result<Tokens, Error> {
        if let Some(lock) = lock {
            match self.write(lock, tokens.clone()).await {
                Err(error) if self.machine.is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(tokens)
    }

    async fn write(&self, lock: Held, tokens: Tokens) -> Result<Held, Error> {
        let written = move |keeper: &dyn Keeper| keeper.write(&*lock, &tokens).map(|()| lock);
        self.kept("keep the renewed tokens", written).await
    }

    /// Does something with files where waiting for them stops nobody.
    async fn kept<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce(&dyn Keeper) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Error> {
        let keeper = Arc::clone(&self.keeper);
        let done = tokio::task::spawn_blocking(move || job(&*keeper)).await;
        let done = done.unwrap_or_else(|error| Err(error.into()));
        done.map_err(|source| Error::Kept { what, source })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Whether trying again would come to the same.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::LoginAgain { .. } | Error::Identity { .. } | Error::Kept { .. })
}
