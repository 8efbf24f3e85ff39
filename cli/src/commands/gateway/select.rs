//! `gateway select NAME`.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Select;
use crate::store::Name;

pub(super) fn act(context: &Context, select: &Select) -> Result<(), Failure> {
    let name = &select.name;
    if context.store.find(name)?.is_none() {
        return Err(unknown(context, name));
    }
    let held = context.store.lock()?;
    context.store.set_active(&held, Some(name))?;
    context.say.note(format!("{name} is the active gateway now"));
    if std::env::var_os("PORTCULLIS_GATEWAY").is_some_and(|it| !it.is_empty()) {
        context.say.warn("PORTCULLIS_GATEWAY is set, and goes before the active gateway");
    }
    Ok(())
}

/// A name that is not stored, and those that are.
pub(super) fn unknown(context: &Context, name: &Name) -> Failure {
    let entries = context.store.entries().unwrap_or_default();
    let names: Vec<_> = entries.iter().map(|entry| entry.name.to_string()).collect();
    let hint = if names.is_empty() {
        "none is stored yet: run `portcullis gateway add URL`".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::new(Exit::NotFound, format!("there is no gateway `{name}`")).hint(hint)
}
