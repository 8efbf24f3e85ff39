//! The Unix socket that a driver listens on.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;

/// Listens at `path`, in place of what a driver before left behind there. Whoever sees the folder may connect: it is shared
/// by the containers of one pod, which may run as different users.
///
/// # Errors
/// Where the folder is not there or may not be written to.
pub fn listen(path: &Path) -> io::Result<UnixListenerStream> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(UnixListenerStream::new(listener))
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// Where the signals cannot be listened for.
pub async fn told_to_stop() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
