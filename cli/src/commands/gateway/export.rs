//! `gateway export PATH`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::passphrase;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{Export, Form};
use crate::portable::{self, Portable, Tokens};
use crate::store::Item;

pub(super) fn act(context: &Context, export: &Export) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let Some((place, name)) = &gateway.stored else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("the gateway at {} is not stored", gateway.endpoint),
        )
        .hint("run `portcullis gateway add URL` first"));
    };
    let store = &context.store;
    let tokens = if export.with_tokens {
        Tokens {
            edge: store.item(*place, name, Item::EdgeToken)?,
            oidc: store.item(*place, name, Item::OidcToken)?,
        }
    } else {
        Tokens::default()
    };
    let portable = Portable {
        name: name.clone(),
        metadata: gateway.metadata.clone(),
        bundle: store.bundle(*place, name)?.unwrap_or_default(),
        tokens,
    };
    match export.form {
        Form::Sealed => {
            let passphrase = passphrase::to_seal(export.passphrase_file.as_deref())?;
            let step = context.say.step("sealing");
            let sealed = portable::seal(&portable, passphrase)?;
            drop(step);
            if export.path.as_os_str() == "-" {
                return context.say.bytes(&sealed);
            }
            write(&export.path, &sealed)?;
            context.say.note(format!(
                "{name} is in {}: `portcullis gateway add --bundle FILE` takes it in elsewhere",
                export.path.display()
            ));
        }
        Form::Openshell => {
            portable::export(&export.path, &portable)?;
            if let Some(server_name) = &gateway.metadata.server_name {
                context.say.warn(format!(
                    "the gateway's certificate is for `{server_name}`, and OpenShell's clients look for the name in the endpoint"
                ));
            }
            context.say.note(format!(
                "{name} is the active gateway of {} now; its certificates are not encrypted there",
                export.path.display()
            ));
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::new(Exit::Failed, format!("failed to write {}: {error}", path.display()));
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            Failure { exit: Exit::Conflict, ..failure }.hint("nothing is overwritten: choose another name")
        } else {
            failure
        }
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        drop(std::fs::remove_file(path));
        failed(error)
    })
}
