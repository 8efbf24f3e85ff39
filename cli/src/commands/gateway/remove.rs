//! `gateway remove NAME`.

use super::select::unknown;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Remove;
use crate::store::Place;

pub(super) fn act(context: &Context, remove: &Remove) -> Result<(), Failure> {
    let (store, name) = (&context.store, &remove.name);
    let entries = store.entries()?;
    match entries.iter().find(|entry| entry.name == *name).map(|entry| entry.place) {
        None => return Err(unknown(context, name)),
        Some(Place::System) => {
            return Err(Failure::new(
                Exit::Denied,
                format!("the gateway `{name}` is one of /etc/portcullis, which is only read"),
            ));
        }
        Some(Place::Own) => {}
    }
    let was_active = store.active(Place::Own).ok().flatten().as_ref() == Some(name);
    let held = store.lock()?;
    store.remove(&held, name)?;
    drop(held);
    context.say.note(format!("{name} is forgotten, with its certificates and tokens"));
    if was_active {
        context.say.note("no gateway is active now: run `portcullis gateway select NAME`");
    }
    Ok(())
}
