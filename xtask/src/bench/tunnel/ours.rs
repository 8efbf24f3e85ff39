//! Our gateway with two connectors, one next door and one at the end of a long line, and the backend of everybody.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::Way;
use super::peers::Peer;
use crate::bench::gateway::doors::{bulky_backend, credentials, open_tls_end, ports, started};
use crate::bench::gateway::folder::Folder;
use crate::bench::gateway::processors::Processors;
use crate::bench::gateway::server::Server;
use crate::{command, wait};

const LIMIT: Duration = Duration::from_secs(10);
/// Public names of the connector next door and of the one far away, as `bench-gateway credentials` made them.
pub(super) const NEAR: &str = "t0.t.example.com";
const FAR: &str = "t1.t.example.com";
/// The name that the gateway's certificate has for connectors.
const DOOR: &str = "door.shop.svc";
/// Idle connectors, each with a tunnel of its own.
const IDLE: &str = "10000";
/// The long line: 50 ms each way, 100 Mbit/s.
const LINE: [&str; 4] = ["--milliseconds", "50", "--rate", "12500000"];

/// Ends all of them when dropped.
pub(super) struct Ours {
    gateway: Server,
    address: SocketAddr,
    near: Server,
    /// The far connector, the two lines, and nginx at the end of the second one.
    far: [Server; 4],
    /// Where the line to nginx begins.
    far_nginx: SocketAddr,
    backend: Server,
    pub(super) backend_address: SocketAddr,
    /// A gateway for idle connectors alone, so that nothing else counts.
    hall: (Server, SocketAddr, Folder),
    caller: PathBuf,
    others: String,
    pub(super) folder: Folder,
}

impl Ours {
    /// Starts everything; it answers some time later.
    pub(super) fn opened(programs: &Path, caller: PathBuf, processors: &Processors) -> Result<Self> {
        let (folder, hall_folder) = (Folder::made()?, Folder::made()?);
        let [address, backend_address, hall, line_in, line_to_nginx, nginx_address] = ports()?;
        credentials(&caller, &folder, backend_address, &["--tunnels", "2"])?;
        credentials(&caller, &hall_folder, backend_address, &["--tunnels", IDLE])?;
        let backend = bulky_backend(&folder, &processors.others, backend_address)?;
        let program = programs.join("portcullis-gateway");
        let gateway = started(&folder, &processors.door, &program, address)?;
        let hall_runs = started(&hall_folder, &processors.door, &program, hall)?;
        let connector = |tunnel: &str, to: SocketAddr| {
            let (bundle, log) = (folder.path().join("client"), folder.path().join(format!("{tunnel}.log")));
            let (to, endpoint) = (format!("https://{to}"), format!("http://{backend_address}"));
            let arguments = ["connector", &format!("shop/{tunnel}"), "--gateway", &to];
            let more = ["--server-name", DOOR, "--endpoint", &endpoint, "--credentials"];
            let arguments: Vec<_> =
                arguments.iter().chain(&more).map(OsStr::new).chain([bundle.as_os_str()]).collect();
            Server::started(&processors.door, programs.join("portcullis"), &arguments, &log)
        };
        let line = |name: &str, from: SocketAddr, to: SocketAddr| {
            let ends = ["delay", "--listen", &from.to_string(), "--to", &to.to_string()];
            let arguments: Vec<_> = ends.iter().chain(&LINE).map(OsStr::new).collect();
            Server::started(&processors.others, &caller, &arguments, &folder.path().join(name))
        };
        let far = [
            line("line.log", line_in, address)?,
            connector("t1", line_in)?,
            open_tls_end(&folder, &processors.door, "far", [nginx_address, backend_address])?,
            line("line-to-nginx.log", line_to_nginx, nginx_address)?,
        ];
        let near = connector("t0", address)?;
        let (hall, far_nginx, others) =
            ((hall_runs, hall, hall_folder), line_to_nginx, processors.others.clone());
        Ok(Self {
            gateway,
            address,
            near,
            far,
            far_nginx,
            backend,
            backend_address,
            hall,
            caller,
            others,
            folder,
        })
    }

    pub(super) fn check(&mut self) -> Result<()> {
        let single = [&mut self.gateway, &mut self.near, &mut self.backend, &mut self.hall.0];
        single.into_iter().chain(&mut self.far).try_for_each(Server::check)
    }

    /// Waits until everybody answers.
    pub(super) fn await_answers(&mut self, peers: &[Peer]) -> Result<()> {
        let ours = [self.way(), self.far(), self.far_without_tunnel()];
        let ways: Vec<_> = ours.iter().chain(peers.iter().map(|peer| &peer.way)).collect();
        wait::until("an answer from everybody", LIMIT, || {
            self.check()?;
            let answers = ways.iter().all(|way| {
                let mut ask = self.call("answer", &[], way);
                command::succeeds(ask.args(["--limit", "2"]))
            });
            Ok(answers.then_some(()))
        })
    }

    /// The way through the gateway and the connector next door.
    pub(super) fn way(&self) -> Way {
        Way { address: self.address, host: NEAR, pids: vec![self.gateway.pid(), self.near.pid()] }
    }

    /// The way through the gateway, over the line, to the connector far away.
    pub(super) fn far(&self) -> Way {
        Way { address: self.address, host: FAR, pids: vec![self.gateway.pid(), self.far[1].pid()] }
    }

    /// The way over the same line to nginx.
    pub(super) fn far_without_tunnel(&self) -> Way {
        Way { address: self.far_nginx, host: NEAR, pids: vec![self.far[2].pid()] }
    }

    /// A load.
    pub(super) fn load(&self, way: &Way, arguments: &[&str]) -> Command {
        let mut load = self.call("load", arguments, way);
        processes(&mut load, way);
        load
    }

    /// A download of so many bytes.
    pub(super) fn download(&self, way: &Way, bytes: u64) -> Command {
        let arguments = ["--path", "/bulk", "--bytes", &bytes.to_string()];
        let mut stream = self.call("stream", &arguments, way);
        processes(&mut stream, way);
        stream
    }

    /// Connectors without work.
    pub(super) fn idle(&self) -> Command {
        let (gateway, address, folder) = &self.hall;
        let (backend, pid) = (self.backend_address.port().to_string(), gateway.pid().to_string());
        let mut idle = Command::new("taskset");
        idle.args(["--cpu-list", &self.others]).arg(&self.caller).arg("idle");
        idle.args(["--backend", &backend, "--pid", &pid, "--count", IDLE]);
        idle.arg("--bundle").arg(folder.path().join("client"));
        idle.args(["--address", &address.to_string(), "--host", DOOR]);
        idle
    }

    fn call(&self, task: &str, arguments: &[&str], way: &Way) -> Command {
        let mut call = Command::new("taskset");
        call.args(["--cpu-list", &self.others]).arg(&self.caller).arg(task).args(arguments).arg("--bundle");
        call.arg(self.folder.path().join("client"));
        call.args(["--address", &way.address.to_string(), "--host", way.host]);
        call
    }
}

fn processes(call: &mut Command, way: &Way) {
    for pid in &way.pids {
        call.args(["--pid", &pid.to_string()]);
    }
}
