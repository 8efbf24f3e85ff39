//! A bundle in a folder that somebody has named, kept good as what is stored is. Three files cannot be replaced in one step:
//! what is new is whole in a folder beside them first, and whoever comes after a crash goes on from there. A folder whose
//! files are links, as in a mounted Secret, or that may not be written, is left as it is.

use std::fs::File;
use std::path::Path;

use portcullis_protocol::clock;
use rustix::fs::FlockOperation;

use super::{Renewed, another, due, other_roots};
use crate::channel::{Access, Channel};
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::store::{Bundle, Folder};

/// What is new, whole.
const NEW: &str = ".renewed";
/// The same, once every file is in its place.
const OLD: &str = ".renewed.done";
/// In it: the certificate that it takes the place of.
const INSTEAD_OF: &str = "instead-of.crt";
/// Held while files are replaced.
const LOCK: &str = ".renewal.lock";

/// What became of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// There was nothing to do.
    Nothing,
    /// The certificate is another.
    Renewed(Renewed),
    /// The roots are others.
    Trusts,
}

/// A folder with a bundle, and what was tried with it.
#[derive(Debug, Default)]
pub struct Files {
    /// When something was asked for, in seconds since 1970.
    last: Option<i64>,
    /// The certificate's end of which it was said that it cannot be renewed here.
    told: Option<i64>,
}

impl Files {
    /// Renews what is due, and takes up the gateway's roots where they are others; if it was not tried lately.
    ///
    /// # Errors
    /// Where the certificate is due and was not renewed. Where the folder may not be written, once for each certificate.
    pub async fn keep(
        &mut self,
        at: &Path,
        gateway: &Resolved,
        access: impl FnOnce(Bundle) -> Access,
    ) -> Result<Did, Failure> {
        let now = clock::now();
        let Some(life) = end_of(at) else { return Ok(Did::Nothing) };
        if !due::may_look(Some(life), self.last, now) {
            return Ok(Did::Nothing);
        }
        let is_due = life.is_due(now);
        let (folder, _held) = match writable(at) {
            Ok(folder) => folder,
            Err(_) if !is_due || self.told == Some(life.ends) => return Ok(Did::Nothing),
            Err(failure) => {
                self.told = Some(life.ends);
                return Err(failure);
            }
        };
        self.last = Some(now);
        let Some(shown) = Bundle::read(&folder)? else { return Ok(Did::Nothing) };
        let access = access(shown.clone());
        let asked = async {
            let channel = Channel::open(gateway, &access).await?;
            if is_due {
                let (renewed, bundle) = another(&channel, &shown).await?;
                return Ok(Some((Did::Renewed(renewed), bundle)));
            }
            Ok(other_roots(&channel, &shown).await?.map(|bundle| (Did::Trusts, bundle)))
        };
        match super::aside(asked).await {
            Ok(Some((did, bundle))) => {
                replace(&folder, &shown, &bundle)?;
                Ok(did)
            }
            Ok(None) => Ok(Did::Nothing),
            // Of roots somebody else may tell, too.
            Err(_) if !is_due => Ok(Did::Nothing),
            Err(failure) => Err(failure),
        }
    }
}

/// How long the certificate lives that is shown; links are followed, as whoever shows it does.
fn end_of(at: &Path) -> Option<due::Life> {
    due::Life::of(&std::fs::read(at.join(portcullis_contract::files::SERVER_CERTIFICATE)).ok()?)
}

/// The folder, where its files are no links and it may be written, and nobody else writes it now.
fn writable(at: &Path) -> Result<(Folder, File), Failure> {
    let missing = || Failure::new(Exit::NotFound, format!("{} is not there", at.display()));
    let folder = Folder::open(at)?.ok_or_else(missing)?;
    // Links are an error here.
    Bundle::read(&folder)?;
    let lock = folder.open_lock(LOCK)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::new(Exit::Conflict, format!("another process renews what is in {}", at.display()))
    })?;
    Ok((folder, lock))
}

/// In steps of which each can be the last: what is new is whole before anything of it is in its place.
fn replace(folder: &Folder, shown: &Bundle, by: &Bundle) -> Result<(), Failure> {
    if Bundle::read(folder)?.as_ref() != Some(shown) {
        let what = "the bundle was changed meanwhile, and stays as it is";
        return Err(Failure::new(Exit::Conflict, what));
    }
    let was = shown.identity.as_ref().map(|(chain, _)| chain.as_slice()).unwrap_or_default();
    folder.replace_folder(NEW, |new| {
        by.write(new)?;
        new.write(INSTEAD_OF, was)
    })?;
    put(folder)
}

/// Puts what is new into its place.
fn put(folder: &Folder) -> Result<(), Failure> {
    folder.remove_folder(OLD)?;
    let Some(new) = folder.child(NEW)? else { return Ok(()) };
    let (bundle, was) = (Bundle::read(&new)?, new.read(INSTEAD_OF)?);
    let there = folder.read(portcullis_contract::files::SERVER_CERTIFICATE)?;
    let is_new =
        bundle.as_ref().and_then(|it| it.identity.as_ref()).map(|(chain, _)| chain) == there.as_ref();
    // What somebody has put there since is newer.
    if let Some(bundle) = bundle.filter(|_| is_new || there == was) {
        bundle.write(folder)?;
    }
    folder.rename(NEW, OLD)?;
    Ok(folder.remove_folder(OLD)?)
}

/// Goes on where a process that was killed has left off. Before the bundle is read.
///
/// # Errors
/// Where something was left and cannot be put into its place.
pub(crate) fn finish(at: &Path) -> Result<(), Failure> {
    if !at.join(NEW).exists() {
        return Ok(());
    }
    let Some(folder) = Folder::open(at)? else { return Ok(()) };
    let lock = folder.open_lock(LOCK)?;
    // Whoever renews at this moment is not disturbed, and what it does is waited for.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|errno| {
        Failure::new(Exit::Failed, format!("failed to lock {}: {errno}", at.join(LOCK).display()))
    })?;
    put(&folder)
}

#[cfg(test)]
mod tests;
