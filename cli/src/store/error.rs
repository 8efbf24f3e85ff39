//! Why something could not be read or written, in words.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where the configuration directory is.
    #[error(
        "failed to find the configuration directory: neither HOME nor XDG_CONFIG_HOME is an absolute path"
    )]
    NoHome,
    /// A symbolic link where there should be none.
    #[error(
        "refused to follow the symbolic link {0}: what is kept for gateways is in real files and folders"
    )]
    Link(PathBuf),
    /// Somebody else's folder or file.
    #[error("refused to use {path}: it belongs to user {owner}, and this is user {user}")]
    Foreign {
        /// Which one.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A file where a folder should be, or the other way round.
    #[error("failed to use {path}: it is not a {wanted}")]
    Kind {
        /// Which one.
        path: PathBuf,
        /// `file` or `folder`.
        wanted: &'static str,
    },
    /// A file that is longer than can be meant.
    #[error("failed to read {0}: it is longer than a megabyte")]
    TooLong(PathBuf),
    /// A file that was cut short or is not what it should be.
    #[error("failed to read {path}: {reason}")]
    Broken {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No room.
    #[error("failed to write {0}: the disk is full, and what was there before is unchanged")]
    Full(PathBuf),
    /// Nothing may be written there.
    #[error("failed to write {0}: nothing may be written there ({1}), and nothing was changed")]
    ReadOnly(PathBuf, io::Error),
    /// Anything else that the system says.
    #[error("failed to {verb} {path}: {source}")]
    System {
        /// `read`, `write`, `remove`, …
        verb: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// An error of the system, in the words that it has here.
    pub(super) fn system(verb: &'static str, path: PathBuf, errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::MLINK => Self::Link(path),
            Errno::NOSPC | Errno::DQUOT => Self::Full(path),
            Errno::ROFS | Errno::ACCESS | Errno::PERM if verb != "read" => Self::ReadOnly(path, errno.into()),
            _ => Self::System { verb, path, source: errno.into() },
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoHome => Some("set HOME, or XDG_CONFIG_HOME to a folder of yours"),
            Self::Link(_) => Some(
                "replace the link by what it points to; set XDG_CONFIG_HOME to keep the configuration elsewhere",
            ),
            Self::Foreign { .. } => {
                Some("run this as its owner, or set XDG_CONFIG_HOME to a folder of yours")
            }
            Self::Kind { .. } => Some("move it out of the way"),
            Self::TooLong(_) | Self::Broken { .. } => {
                Some("put it right, or run `portcullis gateway remove NAME` and add the gateway again")
            }
            Self::Full(_) => Some("make room, and run the command again"),
            Self::ReadOnly(..) => Some("set XDG_CONFIG_HOME to a folder that may be written to"),
            Self::System { .. } => None,
        }
    }
}
