//! `man FOLDER`.

use clap::CommandFactory as _;

use crate::failure::{Exit, Failure};
use crate::options::{Man, Options};
use crate::say::Say;

pub(super) fn act(say: &Say, man: &Man) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("failed to write manual pages to {}: {error}", man.folder.display()),
        )
    };
    std::fs::create_dir_all(&man.folder).map_err(failed)?;
    clap_mangen::generate_to(Options::command(), &man.folder).map_err(failed)?;
    say.note(format!("manual pages are in {}: `man portcullis-gateway-add` is one", man.folder.display()));
    Ok(())
}
