//! Keeps the tokens of one account where a session finds them.

use std::any::Any;

use super::kept::Accounts;
use crate::login::{Keeper, Tokens};

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Whose tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Of whoever is logged in.
    Active,
    /// Of the machine with this client id.
    Machine(String),
}

/// The tokens of one account.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pub(super) accounts: Accounts,
    pub(super) slot: Slot,
}

impl Slots {
    pub(super) fn tokens(&self) -> Result<Option<Tokens>, crate::failure::Failure> {
        let kept = self.accounts.read()?;
        Ok(match &self.slot {
            Slot::Active => kept.active,
            Slot::Machine(id) => kept.machine(id).cloned(),
        })
    }
}

impl Keeper for Slots {
    fn lock(&self) -> Result<Box<dyn Any + Send>, Trouble> {
        Ok(Box::new(self.accounts.lock()?))
    }

    fn read(&self) -> Result<Option<Tokens>, Trouble> {
        Ok(self.tokens()?)
    }

    fn write(&self, held: &dyn Any, tokens: &Tokens) -> Result<(), Trouble> {
        let held = held.downcast_ref().ok_or("the tokens are not locked")?;
        let tokens = tokens.clone();
        self.accounts.change(held, |kept| match &self.slot {
            Slot::Active => kept.enter(tokens),
            Slot::Machine(_) => kept.enter_machine(tokens),
        })?;
        Ok(())
    }
}
