//! `gateway import [FOLDER]`: gateways of OpenShell, or of an older layout.

use std::path::PathBuf;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Import;
use crate::portable::{self, Portable};
use crate::store::{Item, Place};

pub(super) fn act(context: &Context, import: &Import) -> Result<(), Failure> {
    let folder = import.folder.clone().or_else(|| usual(context)).ok_or_else(|| {
        Failure::new(Exit::Usage, "no folder is given").hint("write where OpenShell's configuration is")
    })?;
    let (mut taken, mut left) = (0, 0);
    for found in portable::read_folder(&folder)? {
        let portable = match found {
            Ok(portable) => portable,
            Err(reason) => {
                context.say.warn(format!("left out: {reason}"));
                left += 1;
                continue;
            }
        };
        let stored = context.store.find(&portable.name)?;
        if stored.is_some_and(|(place, _)| place == Place::Own) && !import.replace {
            context.say.warn(format!(
                "left out: {} is stored here already (--replace takes it anew)",
                portable.name
            ));
            left += 1;
            continue;
        }
        store(context, &portable)?;
        context.say.note(format!("{} at {}", portable.name, portable.metadata.endpoint));
        taken += 1;
    }
    if taken == 0 {
        let exit = if left > 0 { Exit::Conflict } else { Exit::NotFound };
        let message = format!("nothing was taken from {}", folder.display());
        return Err(Failure::new(exit, message).hint("it holds no gateways, or only such as are named above"));
    }
    context.say.note("try one and make it the active one: portcullis gateway status -g NAME && portcullis gateway select NAME");
    Ok(())
}

/// Where OpenShell keeps its own, beside ours.
fn usual(context: &Context) -> Option<PathBuf> {
    Some(context.store.path()?.parent()?.join("openshell"))
}

/// Stores all of it.
pub(super) fn store(context: &Context, portable: &Portable) -> Result<(), Failure> {
    let (store, name) = (&context.store, &portable.name);
    let held = store.lock()?;
    store.update(&held, name, |metadata| {
        let project = metadata.project.take();
        *metadata = portable.metadata.clone();
        metadata.project = metadata.project.take().or(project);
    })?;
    store.set_bundle(&held, name, &portable.bundle)?;
    for (item, token) in [(Item::EdgeToken, &portable.tokens.edge), (Item::OidcToken, &portable.tokens.oidc)]
    {
        if let Some(token) = token {
            store.set_item(name, item, Some(token))?;
        }
    }
    Ok(())
}
