//! The real binary in a home of its own: what it stores, what it prints, how it fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "command/background.rs"]
mod background;
#[path = "command/disk.rs"]
mod disk;
#[path = "command/exported.rs"]
mod exported;
#[path = "command/home.rs"]
mod home;
#[path = "command/manners.rs"]
mod manners;
#[path = "command/remote.rs"]
mod remote;
#[path = "command/terminal.rs"]
mod terminal;
