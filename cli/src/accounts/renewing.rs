//! Shows what a login has left, and renews it before it ends.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::keeper::{Slot, Slots};
use super::kept::Accounts;
use super::{remember, trust};
use crate::channel::{Token, TokenSource};
use crate::context::Context;
use crate::failure::Failure;
use crate::login::{Error, Machine, Secret, Session, skew_in_words};
use crate::say::Say;
use crate::store::{Metadata, Name, Oidc, Place};
use portcullis_protocol::clock::Clock;

/// Tokens of whoever is logged in at a gateway, or of the machine that the environment names.
pub struct Renewing {
    slots: Slots,
    oidc: Option<Oidc>,
    machine: Option<Machine>,
    clock: Clock,
    /// Made when something is to be renewed: most calls find a token that is good.
    session: OnceCell<Session>,
    renewals: TaskTracker,
    say: Say,
    warned: AtomicBool,
}

impl Renewing {
    /// Of this gateway.
    ///
    /// # Errors
    /// Where the environment names half of a machine.
    pub fn new(context: &Context, place: Place, name: &Name, metadata: &Metadata) -> Result<Self, Failure> {
        let machine = Machine::find(&|name| env::var(name).ok())?;
        let slot = machine.as_ref().map_or(Slot::Active, |it| Slot::Machine(it.client_id.clone()));
        let slots = Slots { accounts: Accounts::of(&context.store, place, name), slot };
        let oidc = metadata.oidc.clone();
        Ok(Self {
            slots,
            oidc,
            machine,
            clock: Clock::default(),
            session: OnceCell::new(),
            renewals: context.renewals.clone(),
            say: context.say.clone(),
            warned: AtomicBool::new(false),
        })
    }

    async fn token(&self) -> Result<Option<Token>, Failure> {
        let kept = self.slots.tokens()?;
        if let Some(tokens) = kept.as_ref().filter(|it| it.is_fresh(self.clock.now())) {
            return Ok(Token::new(tokens.access_token.expose()));
        }
        if kept.is_none() && (self.machine.is_none() || self.oidc.is_none()) {
            return Ok(None);
        }
        self.renewed(self.session().await?.token().await)
    }

    /// What came of asking a provider; a clock that is off is said, whatever that was.
    fn renewed(&self, outcome: Result<Secret, Error>) -> Result<Option<Token>, Failure> {
        let skew = self.session.get().and_then(Session::skew);
        if let Some(ahead) = skew.filter(|_| !self.warned.swap(true, Ordering::Relaxed)) {
            let issuer = self.oidc.as_ref().map_or("the provider", |oidc| &oidc.issuer);
            self.say.warn(skew_in_words(ahead, issuer));
        }
        Ok(Token::new(outcome?.expose()))
    }

    /// Another one than this, which a gateway did not take: its end is told by a clock that may have been put right.
    async fn other(&self, refused: &Token) -> Result<Option<Token>, Failure> {
        let kept = self.slots.tokens()?;
        let is_renewable = kept.as_ref().is_some_and(|it| it.refresh_token.is_some());
        if !is_renewable && self.machine.is_none() {
            return Ok(None);
        }
        let refused = refused.as_str().to_owned().into();
        self.renewed(self.session().await?.instead_of(&refused).await)
    }

    async fn session(&self) -> Result<&Session, Failure> {
        self.session.get_or_try_init(async || self.begun()).await
    }

    fn begun(&self) -> Result<Session, Failure> {
        let (ask, ca) = match &self.oidc {
            Some(oidc) => (remember::ask(oidc), remember::ca(oidc)),
            None => Default::default(),
        };
        let (slots, machine) = (Arc::new(self.slots.clone()), self.machine.clone());
        Ok(Session::new(slots, trust::web(ca)?, ask, machine, self.renewals.clone()))
    }
}

impl TokenSource for Renewing {
    fn bearer(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(self.token())
    }

    fn instead_of<'a>(&'a self, refused: &'a Token) -> BoxFuture<'a, Result<Option<Token>, Failure>> {
        Box::pin(self.other(refused))
    }

    fn edge(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { Ok(self.slots.accounts.edge()?.and_then(|it| Token::new(&it))) })
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing").finish_non_exhaustive()
    }
}
