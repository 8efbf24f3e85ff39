//! The two doors and the backend behind both, started.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::folder::Folder;
use super::processors::Processors;
use super::server::Server;
use crate::bench::Side;
use crate::{command, wait};

/// How long a server may take to listen.
const LIMIT: Duration = Duration::from_secs(10);

/// Keep-alive without end, and as many connections as there may be.
const HEAD: &str = "
daemon off; master_process off; pid PREFIX/NAME.pid; error_log PREFIX/NAME.log warn;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path PREFIX/NAME-body; proxy_temp_path PREFIX/NAME-proxy;
  fastcgi_temp_path PREFIX/NAME-fastcgi; uwsgi_temp_path PREFIX/NAME-uwsgi; scgi_temp_path PREFIX/NAME-scgi;
";

/// Answers everything with a few bytes.
const BACKEND: &str = "
  server { listen 127.0.0.1:PORT backlog=4096; location / { return 200 'portcullis\\n'; } }
}
";

/// Serves a large file and an issuer's keys, and answers everything else with a few bytes.
const BULKY: &str = "
  server {
    listen 127.0.0.1:PORT backlog=4096; root PREFIX;
    location / { return 200 'portcullis\n'; }
    location = /bulk { sendfile on; }
    location = /jwks { default_type application/json; }
  }
}
";
/// The file. It is sparse: nobody writes it.
const BULK: &str = "bulk";
const BULK_BYTES: u64 = 2_000_000_000;

/// Ends callers' TLS, and passes what they ask for on to the backend.
const TLS_END: &str = "
  upstream backend { server 127.0.0.1:BACKEND; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:PORT ssl backlog=4096;
    ssl_certificate PREFIX/server/tls.crt; ssl_certificate_key PREFIX/server/tls.key; ssl_protocols TLSv1.3;
    CLIENTS
    location / {
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      IDENTITY
    }
  }
}
";
/// Whom the same door as ours lets in.
const CLIENTS: &str =
    "ssl_client_certificate PREFIX/server/ca.crt; ssl_verify_client on; ssl_verify_depth 1;";
/// Whom it says that they are: a constant here, where ours looks for it among the Gateway's clients.
const IDENTITY: &str =
    "proxy_set_header X-Portcullis-User 'ci@shop'; proxy_set_header X-Portcullis-Roles 'user';";

/// Ends all of them when dropped.
pub(super) struct Doors {
    ours: (Server, SocketAddr),
    peer: (Server, SocketAddr),
    backend: Server,
    caller: PathBuf,
    processors: Processors,
    folder: Folder,
}

impl Doors {
    /// Starts everything and waits until both doors answer.
    pub(super) fn opened(gateway: &Path, caller: PathBuf) -> Result<Self> {
        let processors = Processors::divided()?;
        let folder = Folder::made()?;
        let [ours, peer, inside] = ports()?;
        let port = inside.port().to_string();
        credentials(&caller, &folder, inside, &[])?;
        let backend = nginx(&folder, &processors.others, "backend", &BACKEND.replace("PORT", &port))?;
        let text = TLS_END.replace("CLIENTS", CLIENTS).replace("IDENTITY", IDENTITY);
        let peer_runs = tls_end(&folder, &processors.door, "peer", &text, [peer, inside])?;
        let ours_runs = started(&folder, &processors.door, gateway, ours)?;
        let mut doors =
            Self { ours: (ours_runs, ours), peer: (peer_runs, peer), backend, caller, processors, folder };
        wait::until("the doors", LIMIT, || {
            doors.check()?;
            let sides = [Side::Ours, Side::Peer];
            Ok(sides.into_iter().all(|side| command::succeeds(&mut doors.ask(side))).then_some(()))
        })?;
        Ok(doors)
    }

    /// A load on one of them.
    pub(super) fn load(&mut self, side: Side, arguments: &[&str]) -> Result<Command> {
        self.check()?;
        let (pid, _) = self.side(side);
        let mut load = self.call(side, "load");
        load.args(arguments).args(["--pid", &pid.to_string()]);
        Ok(load)
    }

    fn ask(&self, side: Side) -> Command {
        let mut ask = self.call(side, "answer");
        ask.args(["--limit", "2"]);
        ask
    }

    fn call(&self, side: Side, task: &str) -> Command {
        let (_, address) = self.side(side);
        let mut call = Command::new("taskset");
        call.args(["--cpu-list", &self.processors.others]).arg(&self.caller).arg(task).arg("--bundle");
        call.arg(self.folder.path().join("client")).args(["--address", &address.to_string()]);
        call
    }

    fn side(&self, side: Side) -> (u32, SocketAddr) {
        let (server, address) = if side == Side::Ours { &self.ours } else { &self.peer };
        (server.pid(), *address)
    }

    fn check(&mut self) -> Result<()> {
        [&mut self.ours.0, &mut self.peer.0, &mut self.backend].into_iter().try_for_each(Server::check)
    }
}

/// Certificates and a snapshot with this backend, as the Gateway's operator would have written them; more arguments come
/// last.
pub(in crate::bench) fn credentials(
    caller: &Path,
    folder: &Folder,
    backend: SocketAddr,
    more: &[&str],
) -> Result<()> {
    let mut credentials = Command::new(caller);
    credentials.arg("credentials").arg(folder.path()).args(["--backend", &backend.port().to_string()]);
    command::run(credentials.args(more))
}

/// nginx that ends the TLS of whoever comes, at the first address, and asks the second one.
pub(in crate::bench) fn open_tls_end(
    folder: &Folder,
    processors: &str,
    name: &str,
    addresses: [SocketAddr; 2],
) -> Result<Server> {
    let text = TLS_END.replace("CLIENTS", "").replace("IDENTITY", "");
    tls_end(folder, processors, name, &text, addresses)
}

fn tls_end(
    folder: &Folder,
    processors: &str,
    name: &str,
    text: &str,
    [address, backend]: [SocketAddr; 2],
) -> Result<Server> {
    let text = text.replace("PORT", &address.port().to_string());
    nginx(folder, processors, name, &text.replace("BACKEND", &backend.port().to_string()))
}

/// A backend that has something to download too, at `/bulk`.
pub(in crate::bench) fn bulky_backend(
    folder: &Folder,
    processors: &str,
    address: SocketAddr,
) -> Result<Server> {
    let bulk = fs::File::create(folder.path().join(BULK)).context("failed to make the file")?;
    bulk.set_len(BULK_BYTES).context("failed to make the file")?;
    nginx(folder, processors, "backend", &BULKY.replace("PORT", &address.port().to_string()))
}

pub(in crate::bench) fn nginx(folder: &Folder, processors: &str, name: &str, text: &str) -> Result<Server> {
    let prefix = folder.path().to_string_lossy();
    let text = [HEAD, text].concat().replace("PREFIX", &prefix).replace("NAME", name);
    let file = folder.path().join(format!("{name}.conf"));
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    let log = folder.path().join(format!("{name}.log"));
    let arguments = [OsStr::new("-p"), folder.path().as_os_str(), OsStr::new("-c"), file.as_os_str()];
    Server::started(processors, "nginx", &arguments, &log)
}

/// Ours, with nothing set that a pod on one processor would not have.
pub(in crate::bench) fn started(
    folder: &Folder,
    processors: &str,
    program: &Path,
    address: SocketAddr,
) -> Result<Server> {
    let at = |name: &str| folder.path().join(name);
    let (snapshot, tls, address) = (at("snapshot.json"), at("server"), address.to_string());
    let arguments = [
        OsStr::new("--snapshot"),
        snapshot.as_os_str(),
        OsStr::new("--tls-dir"),
        tls.as_os_str(),
        OsStr::new("--listen"),
        OsStr::new(&address),
        OsStr::new("--health-listen=127.0.0.1:0"),
        OsStr::new("--metrics-listen=127.0.0.1:0"),
        OsStr::new("--peer-listen=127.0.0.1:0"),
    ];
    Server::started(processors, program, &arguments, &at("ours.log"))
}

/// Addresses that nobody listens on.
pub(in crate::bench) fn ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<_> = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    let addresses: Vec<_> = held.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    addresses.try_into().ok().context("failed to find free ports")
}
