//! The configuration directory: which gateways there are, and what is shown to them.
//!
//! ```text
//! $XDG_CONFIG_HOME/portcullis/            0700, all files 0600
//!   active_gateway                        a name
//!   lock                                  held while something is changed
//!   gateways/<name>/metadata.json         endpoint, mode, oidc, project
//!   gateways/<name>/mtls/{ca.crt,tls.crt,tls.key}
//!   gateways/<name>/edge_token  oidc_token.json  last_tunnel  renewal
//! ```
//!
//! `/etc/portcullis`, laid out likewise, is only read, and only for what the directory does not have. Files are replaced
//! whole or not at all; below the directory no symbolic link is followed.
//!
//! What must not live here: what a command means by a gateway ([`crate::gateways`]), and what is printed.

mod bundle;
mod error;
pub(crate) mod folder;
mod lock;
mod metadata;
mod name;
#[cfg(test)]
mod tests;

use std::env;
use std::path::{Path, PathBuf};

pub use bundle::Bundle;
pub use error::Error;
pub(crate) use folder::Folder;
pub use lock::Lock;
pub use metadata::{Edge, Metadata, Mode, Oidc};
pub use name::{BadName, Name};

const ACTIVE: &str = "active_gateway";
const GATEWAYS: &str = "gateways";
const METADATA: &str = "metadata.json";
/// The folder of a gateway's certificates.
pub(crate) const MTLS: &str = "mtls";

/// What is kept for a gateway beside its metadata and its certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The token that an identity-aware edge has given.
    EdgeToken,
    /// The tokens of an OpenID provider, JSON.
    OidcToken,
    /// The tunnel that was listened for last.
    LastTunnel,
    /// When it was looked last whether its certificate is to be renewed, in seconds since 1970-01-01T00:00:00Z.
    Renewal,
}

impl Item {
    fn file(self) -> &'static str {
        match self {
            Self::EdgeToken => "edge_token",
            Self::OidcToken => "oidc_token.json",
            Self::LastTunnel => "last_tunnel",
            Self::Renewal => "renewal",
        }
    }
}

/// Whose directory something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The user's own.
    Own,
    /// `/etc/portcullis`.
    System,
}

/// A gateway that is stored.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Where it is stored.
    pub place: Place,
    /// What is known of it. One that cannot be read is in nobody's way but its own.
    pub metadata: Result<Metadata, Error>,
}

/// The configuration directory, and the system's.
#[derive(Clone, Debug)]
pub struct Store {
    /// None where nothing says where it is, as in a container: then there is nothing of our own to read.
    own: Option<PathBuf>,
    system: PathBuf,
}

/// A folder of the XDG Base Directory Specification: the variable's, else this one in the home. None without a home.
pub(crate) fn base(variable: &str, in_home: &str) -> Option<PathBuf> {
    let configured = env::var_os(variable).map(PathBuf::from).filter(|it| it.is_absolute());
    let base = configured.or_else(|| env::home_dir().map(|home| home.join(in_home)));
    base.filter(|it| it.is_absolute())
}

impl Store {
    /// As the environment says: `XDG_CONFIG_HOME`, else `.config` in the home.
    pub fn from_environment() -> Self {
        let own = base("XDG_CONFIG_HOME", ".config").map(|base| base.join("portcullis"));
        Self { own, system: PathBuf::from("/etc/portcullis") }
    }

    /// In these folders.
    pub fn at(own: &Path, system: &Path) -> Self {
        Self { own: Some(own.to_owned()), system: system.to_owned() }
    }

    /// The user's own folder.
    pub fn path(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// Where what is kept for a gateway is.
    pub fn folder(&self, place: Place, name: &Name) -> PathBuf {
        self.root(place).unwrap_or(Path::new("")).join(GATEWAYS).join(name.as_str())
    }

    fn root(&self, place: Place) -> Option<&Path> {
        match place {
            Place::Own => self.own.as_deref(),
            Place::System => Some(&self.system),
        }
    }

    fn open(&self, place: Place) -> Result<Option<Folder>, Error> {
        self.root(place).map_or(Ok(None), Folder::open)
    }

    fn create(&self) -> Result<Folder, Error> {
        Folder::create(self.own.as_deref().ok_or(Error::NoHome)?)
    }

    /// Holds off other commands that would change something, until dropped. Commands that only read do not wait.
    ///
    /// # Errors
    /// Where the directory cannot be made or written.
    pub fn lock(&self) -> Result<Lock, Error> {
        Lock::take(&self.create()?, "lock")
    }

    /// Holds off other commands that would renew this gateway's tokens, until dropped; others may change all else.
    ///
    /// # Errors
    /// Where the gateway's folder cannot be made or written.
    pub fn lock_tokens(&self, name: &Name) -> Result<Lock, Error> {
        Lock::take(&self.make(name)?, "lock")
    }

    /// Every gateway that is stored, by name; the user's own come first, and hide the system's of the same name.
    ///
    /// # Errors
    /// Where a directory cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        for place in [Place::Own, Place::System] {
            let Some(gateways) = self.gateways(place)? else { continue };
            for name in gateways.folders()? {
                let Ok(name) = name.parse::<Name>() else { continue };
                if entries.iter().any(|entry| entry.name == name) {
                    continue;
                }
                let metadata = match self.metadata_in(place, &name) {
                    Ok(Some(metadata)) => Ok(metadata),
                    // A folder that somebody else is still filling, or has emptied.
                    Ok(None) => continue,
                    Err(error) => Err(error),
                };
                entries.push(Entry { name, place, metadata });
            }
        }
        entries.sort_by(|a, b| (a.place, &a.name).cmp(&(b.place, &b.name)));
        Ok(entries)
    }

    /// What is known of a gateway, and where from.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn find(&self, name: &Name) -> Result<Option<(Place, Metadata)>, Error> {
        for place in [Place::Own, Place::System] {
            if let Some(metadata) = self.metadata_in(place, name)? {
                return Ok(Some((place, metadata)));
            }
        }
        Ok(None)
    }

    fn metadata_in(&self, place: Place, name: &Name) -> Result<Option<Metadata>, Error> {
        let Some(folder) = self.gateway(place, name)? else { return Ok(None) };
        let Some(bytes) = folder.read(METADATA)? else { return Ok(None) };
        Metadata::parse(&bytes)
            .map(Some)
            .map_err(|reason| Error::Broken { path: folder.path(METADATA), reason })
    }

    /// Changes what is known of a gateway; makes it where there is none yet. What is not mentioned stays.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn update(
        &self,
        _held: &Lock,
        name: &Name,
        change: impl FnOnce(&mut Metadata),
    ) -> Result<Metadata, Error> {
        let mut metadata = self.metadata_in(Place::Own, name)?.unwrap_or_default();
        change(&mut metadata);
        self.make(name)?.write(METADATA, &metadata.to_bytes())?;
        Ok(metadata)
    }

    /// The gateway that commands mean where nothing else is said.
    ///
    /// # Errors
    /// Where it cannot be read, or is no name.
    pub fn active(&self, place: Place) -> Result<Option<Name>, Error> {
        let Some(root) = self.open(place)? else { return Ok(None) };
        let Some(bytes) = root.read(ACTIVE)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() {
            return Ok(None);
        }
        let name = text.trim().parse();
        name.map(Some)
            .map_err(|error: BadName| Error::Broken { path: root.path(ACTIVE), reason: error.to_string() })
    }

    /// Makes a gateway the active one, or none.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn set_active(&self, _held: &Lock, name: Option<&Name>) -> Result<(), Error> {
        let root = self.create()?;
        match name {
            Some(name) => root.write(ACTIVE, format!("{name}\n").as_bytes()),
            None => root.remove(ACTIVE),
        }
    }

    /// The certificates that are shown to a gateway and that it is checked against.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn bundle(&self, place: Place, name: &Name) -> Result<Option<Bundle>, Error> {
        let Some(gateway) = self.gateway(place, name)? else { return Ok(None) };
        loop {
            let Some(folder) = gateway.child(MTLS)? else { return Ok(None) };
            let read = Bundle::read(&folder);
            // The folder is replaced as a whole; what was read of one that has gone meanwhile may be half of it.
            if gateway.child(MTLS)?.is_some_and(|now| now.is_same(&folder)) {
                return read;
            }
        }
    }

    /// Replaces them.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn set_bundle(&self, _held: &Lock, name: &Name, bundle: &Bundle) -> Result<(), Error> {
        self.make(name)?.replace_folder(MTLS, |folder| bundle.write(folder))
    }

    /// Something that is kept for a gateway.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn item(&self, place: Place, name: &Name, item: Item) -> Result<Option<Vec<u8>>, Error> {
        match self.gateway(place, name)? {
            Some(folder) => folder.read(item.file()),
            None => Ok(None),
        }
    }

    /// Keeps it, or forgets it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn set_item(&self, name: &Name, item: Item, bytes: Option<&[u8]>) -> Result<(), Error> {
        match bytes {
            Some(bytes) => self.make(name)?.write(item.file(), bytes),
            None => match self.gateway(Place::Own, name)? {
                Some(folder) => folder.remove(item.file()),
                None => Ok(()),
            },
        }
    }

    /// Forgets a gateway with all that is kept for it.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, held: &Lock, name: &Name) -> Result<(), Error> {
        if let Some(gateways) = self.gateways(Place::Own)? {
            gateways.remove_folder(name.as_str())?;
        }
        if self.active(Place::Own).is_ok_and(|active| active.as_ref() == Some(name)) {
            self.set_active(held, None)?;
        }
        Ok(())
    }

    fn gateways(&self, place: Place) -> Result<Option<Folder>, Error> {
        match self.open(place)? {
            Some(root) => root.child(GATEWAYS),
            None => Ok(None),
        }
    }

    fn gateway(&self, place: Place, name: &Name) -> Result<Option<Folder>, Error> {
        match self.gateways(place)? {
            Some(gateways) => gateways.child(name.as_str()),
            None => Ok(None),
        }
    }

    fn make(&self, name: &Name) -> Result<Folder, Error> {
        self.create()?.make(GATEWAYS)?.make(name.as_str())
    }
}
