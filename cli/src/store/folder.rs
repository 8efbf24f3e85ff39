//! A folder by its descriptor: every step below it is taken from there, so that nobody can lead it elsewhere by a symbolic
//! link. Files are replaced whole: written beside, flushed to the disk, renamed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::Error;

/// No file that is kept is longer, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Tells apart what threads of this process write.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    at: PathBuf,
}

impl Folder {
    /// Opens one, where it is. What leads to it is the user's own business; it itself must be no link.
    pub(crate) fn open(at: &Path) -> Result<Option<Self>, Error> {
        let opened = rustix::fs::open(at, folder_flags(), Mode::empty());
        Self::opened(opened, at.to_owned())
    }

    /// Opens one, and makes it where it is not, with what leads to it.
    pub(crate) fn create(at: &Path) -> Result<Self, Error> {
        if let Some(folder) = Self::open(at)? {
            return Ok(folder);
        }
        let failed = |source: std::io::Error| match Errno::from_io_error(&source) {
            Some(errno) => Error::system("make", at.to_owned(), errno),
            None => Error::System { verb: "make", path: at.to_owned(), source },
        };
        if let Some(above) = at.parent() {
            std::fs::create_dir_all(above).map_err(failed)?;
        }
        match rustix::fs::mkdir(at, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system("make", at.to_owned(), errno)),
        }
        Self::open(at)?.ok_or_else(|| Error::system("make", at.to_owned(), Errno::NOENT))
    }

    /// A folder in it.
    pub(crate) fn child(&self, name: &str) -> Result<Option<Self>, Error> {
        Self::opened(rustix::fs::openat(&self.fd, name, folder_flags(), Mode::empty()), self.path(name))
    }

    /// The same, made where it is not.
    pub(crate) fn make(&self, name: &str) -> Result<Self, Error> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            // On a file system that may not be written, this comes before EXIST.
            Err(_) if self.child(name).is_ok_and(|it| it.is_some()) => {}
            Err(errno) => return Err(Error::system("make", self.path(name), errno)),
        }
        self.child(name)?.ok_or_else(|| Error::system("make", self.path(name), Errno::NOENT))
    }

    fn opened(opened: Result<OwnedFd, Errno>, at: PathBuf) -> Result<Option<Self>, Error> {
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            // Linux says so of a link too, where a folder was asked for.
            Err(Errno::NOTDIR) if is_link(&at) => return Err(Error::Link(at)),
            Err(Errno::NOTDIR) => return Err(Error::Kind { path: at, wanted: "folder" }),
            Err(errno) => return Err(Error::system("read", at, errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::system("read", at.clone(), errno))?;
        own(&stat, &at)?;
        Ok(Some(Self { fd, at }))
    }

    /// Where something in it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// A file's content.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let failed = |errno| Error::system("read", self.path(name), errno);
        // Without NONBLOCK, a pipe of that name would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Kind { path: self.path(name), wanted: "file" });
        }
        own(&stat, &self.path(name))?;
        let mut bytes = Vec::new();
        let read = File::from(fd).take(LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::System { verb: "read", path: self.path(name), source })?;
        if bytes.len() as u64 > LONGEST { Err(Error::TooLong(self.path(name))) } else { Ok(Some(bytes)) }
    }

    /// Replaces a file, or makes it. Whoever reads sees what was there before or all of this.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::system("write", self.path(name), errno);
        self.sweep(name)?;
        let beside = format!(".{name}.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, &beside, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let mut file = File::from(fd);
        let done = file.write_all(bytes).and_then(|()| file.sync_all());
        let done = done.map_err(|source| match Errno::from_io_error(&source) {
            Some(errno) => failed(errno),
            None => Error::System { verb: "write", path: self.path(name), source },
        });
        let done = done.and_then(|()| self.replace(&beside, name));
        if done.is_err() {
            drop(self.unlink(&beside));
        }
        done?;
        // The new name must survive a crash too. Some file systems cannot say.
        match rustix::fs::fsync(&self.fd) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes what commands that were killed have left beside a file.
    fn sweep(&self, name: &str) -> Result<(), Error> {
        for (entry, _) in self.list()? {
            let writer = entry.strip_prefix('.').and_then(|it| it.strip_prefix(name)?.strip_prefix('.'));
            let writer = writer.and_then(|it| it.split('.').next()?.parse().ok()).and_then(Pid::from_raw);
            if writer.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
                self.unlink(&entry)?;
            }
        }
        Ok(())
    }

    fn replace(&self, beside: &str, name: &str) -> Result<(), Error> {
        // A rename would replace the link and harm nothing, but whoever made it wanted the file elsewhere.
        if self.stat(name)?.is_some_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Symlink) {
            return Err(Error::Link(self.path(name)));
        }
        match rustix::fs::renameat(&self.fd, beside, &self.fd, name) {
            Err(Errno::ISDIR) => Err(Error::Kind { path: self.path(name), wanted: "file" }),
            done => done.map_err(|errno| Error::system("write", self.path(name), errno)),
        }
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system("read", self.path(name), errno)),
        }
    }

    /// Opens a file to be locked; makes it where it is not.
    pub(crate) fn open_lock(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(File::from(fd)),
            Err(Errno::ISDIR) => Err(Error::Kind { path: self.path(name), wanted: "file" }),
            Err(errno) => Err(Error::system("write", self.path(name), errno)),
        }
    }

    /// Replaces a folder by one that is filled first. Whoever holds the lock may.
    pub(crate) fn replace_folder(
        &self,
        name: &str,
        fill: impl FnOnce(&Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |errno| Error::system("write", self.path(name), errno);
        let beside = format!(".{name}.new");
        self.remove_folder(&beside)?;
        let done = self.make(&beside).and_then(|folder| fill(&folder)).and_then(|()| {
            let exchange =
                || rustix::fs::renameat_with(&self.fd, &beside, &self.fd, name, RenameFlags::EXCHANGE);
            match self.child(name)? {
                None => rustix::fs::renameat(&self.fd, &beside, &self.fd, name).map_err(failed),
                Some(_) => match exchange() {
                    // Not every file system can. Readers may find none for a moment then.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        self.remove_folder(name)?;
                        rustix::fs::renameat(&self.fd, &beside, &self.fd, name).map_err(failed)
                    }
                    done => done.map_err(failed),
                },
            }
        });
        let swept = self.remove_folder(&beside);
        done.and(swept)
    }

    /// Gives something in it another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let renamed = rustix::fs::renameat(&self.fd, from, &self.fd, to);
        renamed.map_err(|errno| Error::system("write", self.path(to), errno))
    }

    /// Whether two are one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (rustix::fs::fstat(&self.fd), rustix::fs::fstat(&other.fd)) {
            (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        }
    }

    /// Removes a file, where there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        self.unlink(name)
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::system("remove", self.path(name), errno)),
        }
    }

    /// Removes a folder with all that is in it; of links in it, the links.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), Error> {
        let Some(folder) = self.child(name)? else { return Ok(()) };
        for (entry, kind) in folder.list()? {
            match kind {
                FileType::Directory => folder.remove_folder(&entry)?,
                _ => folder.unlink(&entry)?,
            }
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::system("remove", self.path(name), errno)),
        }
    }

    /// Names of the folders in it.
    pub(crate) fn folders(&self) -> Result<Vec<String>, Error> {
        let entries = self.list()?.into_iter();
        Ok(entries.filter(|(_, kind)| *kind == FileType::Directory).map(|(name, _)| name).collect())
    }

    /// What is in it. Names that are no text are none that we gave.
    pub(crate) fn list(&self) -> Result<Vec<(String, FileType)>, Error> {
        let failed = |errno| Error::system("read", self.at.clone(), errno);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match self.stat(name)? {
                    Some(stat) => FileType::from_raw_mode(stat.st_mode),
                    None => continue,
                },
                kind => kind,
            };
            entries.push((name.to_owned(), kind));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_link(at: &Path) -> bool {
    std::fs::symlink_metadata(at).is_ok_and(|it| it.is_symlink())
}

/// What belongs to somebody else is not believed; what is the system's is. Root may read what is anybody's.
fn own(stat: &Stat, at: &Path) -> Result<(), Error> {
    let user = rustix::process::geteuid();
    let owner = stat.st_uid;
    if user.is_root() || owner == 0 || owner == user.as_raw() {
        Ok(())
    } else {
        Err(Error::Foreign { path: at.to_owned(), owner, user: user.as_raw() })
    }
}
