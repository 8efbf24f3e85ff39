//! The certificates of a gateway: whom it is checked against, and what is shown to it.

use std::fmt;

use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};

use super::Error;
use super::folder::Folder;

/// `ca.crt`, `tls.crt` and `tls.key`, PEM. Its key is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Roots that the gateway is checked against; without them, the public ones.
    pub ca: Option<Vec<u8>>,
    /// Certificate and private key that are shown to it.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Bundle {
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, Error> {
        let ca = folder.read(SERVER_CA)?;
        let identity = match (folder.read(SERVER_CERTIFICATE)?, folder.read(SERVER_KEY)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(missing(folder, SERVER_KEY)),
            (None, Some(_)) => return Err(missing(folder, SERVER_CERTIFICATE)),
        };
        Ok((ca.is_some() || identity.is_some()).then_some(Self { ca, identity }))
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let (certificate, key) = self.identity.as_ref().map(|(it, key)| (it, key)).unzip();
        for (name, bytes) in
            [(SERVER_CA, self.ca.as_ref()), (SERVER_KEY, key), (SERVER_CERTIFICATE, certificate)]
        {
            match bytes {
                Some(bytes) => folder.write(name, bytes)?,
                None => folder.remove(name)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

fn missing(folder: &Folder, name: &str) -> Error {
    Error::Broken { path: folder.path(name), reason: "it is missing beside its other half".to_owned() }
}
