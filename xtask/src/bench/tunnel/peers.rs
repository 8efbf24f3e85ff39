//! The others: rathole over TLS and over TCP, bore, and nginx without a tunnel. Built from their published crates, once.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Way;
use super::ours::NEAR;
use crate::bench::gateway::doors::{open_tls_end, ports};
use crate::bench::gateway::folder::Folder;
use crate::bench::gateway::processors::Processors;
use crate::bench::gateway::server::Server;
use crate::{cache, command, say};

/// Who they are, as the rows call them.
pub(super) const NAMES: [&str; 4] = ["rathole TLS", "rathole", "bore", "no tunnel"];
/// Which crates, and which versions.
const CRATES: [(&str, &str); 2] = [("rathole", "0.5.0"), ("bore-cli", "0.6.0")];
/// The port that bore's programs find each other by; it has no option for another.
const BORE: u16 = 7835;
/// Word that rathole's and bore's programs know each other by, on this machine's loopback and for this run.
const WORD: &str = "bench";

/// One of them, started.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) way: Way,
    programs: Vec<Server>,
}

/// The folder with their programs, built now if they never were. rathole's own lock file no longer compiles.
pub(super) fn programs() -> Result<PathBuf> {
    let named = CRATES.map(|(name, version)| format!("{name}-{version}")).join("-");
    let folder = cache::built(&named, |folder| {
        for (name, version) in CRATES {
            let step = say::step(format!("cargo install {name} {version} (once)"));
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["install", "--quiet", name, "--version", version, "--root"]).arg(folder);
            cargo.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
            command::run(&mut cargo)?;
            step.done();
        }
        cache::remove(&folder.join("target"))
    })?;
    Ok(folder.join("bin"))
}

impl Peer {
    /// All of them, each before an nginx of its own.
    pub(super) fn all(
        programs: &Path,
        folder: &Folder,
        processors: &Processors,
        backend: SocketAddr,
    ) -> Result<Vec<Self>> {
        let start = Start { programs, folder, door: &processors.door, backend };
        Ok(vec![start.rathole(true)?, start.rathole(false)?, start.bore()?, start.nginx()?])
    }

    pub(super) fn check(&mut self) -> Result<()> {
        self.programs.iter_mut().try_for_each(Server::check)
    }

    fn new(name: &'static str, address: SocketAddr, programs: Vec<Server>) -> Self {
        let pids = programs.iter().map(Server::pid).collect();
        Self { name, way: Way { address, host: NEAR, pids }, programs }
    }
}

/// What each of them is started with.
struct Start<'a> {
    programs: &'a Path,
    folder: &'a Folder,
    door: &'a str,
    backend: SocketAddr,
}

impl Start<'_> {
    fn rathole(&self, tls: bool) -> Result<Peer> {
        let name = if tls { NAMES[0] } else { NAMES[1] };
        let [public, inside, control] = ports()?;
        let (of_server, of_client) = if tls { self.rathole_tls()? } else { Default::default() };
        let server = format!(
            "[server]\nbind_addr = \"{control}\"\ndefault_token = \"{WORD}\"\n{of_server}\n\
             [server.services.web]\nbind_addr = \"{public}\"\n"
        );
        let client = format!(
            "[client]\nremote_addr = \"{control}\"\ndefault_token = \"{WORD}\"\n{of_client}\n\
             [client.services.web]\nlocal_addr = \"{inside}\"\n"
        );
        let run = |role: &str, text: &str| {
            let file = self.file(&format!("{role}-{}.toml", name.replace(' ', "-")), text)?;
            let log = file.with_extension("log");
            let (role, rathole) = (format!("--{role}"), self.programs.join("rathole"));
            Server::started(self.door, rathole, &[OsStr::new(&role), file.as_os_str()], &log)
        };
        let end = self.tls_end(if tls { "rathole-tls" } else { "rathole" }, inside)?;
        Ok(Peer::new(name, public, vec![run("server", &server)?, run("client", &client)?, end]))
    }

    /// Settings of server and client. Its TLS takes keys from PKCS #12 only.
    fn rathole_tls(&self) -> Result<(String, String)> {
        let at = |name: &str| self.folder.path().join(name);
        let mut openssl = Command::new("openssl");
        openssl
            .args(["pkcs12", "-export", "-passout", &format!("pass:{WORD}"), "-out"])
            .arg(at("rathole.p12"));
        openssl.arg("-inkey").arg(at("server/tls.key")).arg("-in").arg(at("server/tls.crt"));
        command::run(&mut openssl)?;
        let server = format!(
            "[server.transport]\ntype = \"tls\"\n[server.transport.tls]\npkcs12 = \"{}\"\npkcs12_password = \"{WORD}\"\n",
            at("rathole.p12").display()
        );
        let client = format!(
            "[client.transport]\ntype = \"tls\"\n[client.transport.tls]\ntrusted_root = \"{}\"\nhostname = \"door.shop.svc\"\n",
            at("server/ca.crt").display()
        );
        Ok((server, client))
    }

    fn bore(&self) -> Result<Peer> {
        let [public, inside] = ports()?;
        let run = |role: &str, arguments: &[&str]| {
            let arguments: Vec<_> = [&[role], arguments].concat().into_iter().map(OsStr::new).collect();
            let log = self.folder.path().join(format!("bore-{role}.log"));
            Server::started(self.door, self.programs.join("bore"), &arguments, &log)
        };
        let loopback = "127.0.0.1";
        let server = run("server", &["--bind-addr", loopback, "--bind-tunnels", loopback])?;
        let (port, local) = (public.port().to_string(), inside.port().to_string());
        crate::wait::until_true("bore's server", std::time::Duration::from_secs(10), || {
            std::net::TcpStream::connect((loopback, BORE)).is_ok()
        })?;
        let client = run("local", &[&local, "--to", loopback, "--port", &port])?;
        Ok(Peer::new(NAMES[2], public, vec![server, client, self.tls_end("bore", inside)?]))
    }

    fn nginx(&self) -> Result<Peer> {
        let [public] = ports()?;
        Ok(Peer::new(NAMES[3], public, vec![self.tls_end("plain", public)?]))
    }

    /// nginx at the end of a tunnel, or without one.
    fn tls_end(&self, name: &str, address: SocketAddr) -> Result<Server> {
        open_tls_end(self.folder, self.door, name, [address, self.backend])
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}
