//! The demo's Gateway as a client meets it: where it is, and what `curl` and `grpcurl` get from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::demo::{NAMESPACE, grpcurl, text};
use crate::install::Site;
use crate::{command, say, wait};

/// The Gateway's name in its certificate.
pub(super) const HOST: &str = "door.demo.svc";
const PORT: u16 = 443;
/// Where `kubectl port-forward` listens for a cluster that is not on this machine.
const FORWARDED: u16 = 18443;
const WHO_AM_I: &str = "portcullis.gateway.v1.Gateway/WhoAmI";

/// Where the Gateway is reached, and with which bundle.
pub(super) struct Door {
    site: Site,
    bundle: PathBuf,
    address: String,
    port: u16,
    forwarding: Option<Child>,
}

impl Door {
    /// Finds the way: straight to the Service, or through the API server.
    pub(super) fn opened(site: &Site, bundle: &Path) -> Result<Self> {
        let (site, bundle) = (site.clone(), bundle.to_path_buf());
        if let Site::Local(_) = &site {
            let get = ["-n", NAMESPACE, "get", "service", "door", "-o", "jsonpath={.spec.clusterIP}"];
            let address = command::output(&mut site.kubectl(get)?)?.trim().to_owned();
            return Ok(Self { site, bundle, address, port: PORT, forwarding: None });
        }
        let ports = format!("{FORWARDED}:{PORT}");
        let forwarding = site
            .kubectl(["-n", NAMESPACE, "port-forward", "service/door", &ports])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start kubectl port-forward")?;
        let door =
            Self { site, bundle, address: "127.0.0.1".into(), port: FORWARDED, forwarding: Some(forwarding) };
        wait::until_true("kubectl port-forward", Duration::from_secs(15), || {
            std::net::TcpStream::connect(("127.0.0.1", FORWARDED)).is_ok()
        })?;
        Ok(door)
    }

    /// `curl` for a path, with the client's certificate or without.
    pub(super) fn curl(&self, options: &[&str], certified: bool, path: &str) -> Result<Command> {
        let mut curl = self.program(Path::new("curl"))?;
        let resolve = format!("{HOST}:{}:{}", self.port, self.address);
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--resolve",
            &resolve,
            "--cacert",
            &self.file("ca.crt"),
        ]);
        if certified {
            curl.args(["--cert", &self.file("tls.crt"), "--key", &self.file("tls.key")]);
        }
        curl.args(options).arg(format!("https://{}{path}", self.host()));
        Ok(curl)
    }

    /// Shows what is answered, and what is not.
    pub(super) fn tell(&self) -> Result<()> {
        let host = self.host();
        let answer = command::output(&mut self.curl(&[], true, "/get?x=1")?)?;
        told(
            "curl --cacert ca.crt --cert tls.crt --key tls.key",
            &format!("'https://{host}/get?x=1'"),
            &answer,
        );

        let (authority, certificate, key) = (self.file("ca.crt"), self.file("tls.crt"), self.file("tls.key"));
        let mut grpcurl = self.program(&grpcurl()?)?;
        grpcurl.args(["-cacert", &authority, "-cert", &certificate, "-key", &key, "-authority", HOST]);
        grpcurl.args(["-max-time", "10", &format!("{}:{}", self.address, self.port), WHO_AM_I]);
        let answer = command::output(&mut grpcurl)?;
        let call = format!("{HOST}:{} {WHO_AM_I}", self.port);
        told("grpcurl -cacert ca.crt -cert tls.crt -key tls.key", &call, &answer);

        let refused = self.curl(&[], false, "/get?x=1")?.output().context("failed to start curl")?;
        ensure!(!refused.status.success(), "the Gateway answered a client without a certificate");
        let why = String::from_utf8_lossy(&refused.stderr);
        told("curl --cacert ca.crt", &format!("'https://{host}/get?x=1'"), &why);
        Ok(())
    }

    /// Its URL, by the address that it is reached at.
    pub(super) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    /// The address and port that it is reached at.
    pub(super) fn at(&self) -> (&str, u16) {
        (&self.address, self.port)
    }

    /// Host and port as a URL has them.
    fn host(&self) -> String {
        if self.port == PORT { HOST.to_owned() } else { format!("{HOST}:{}", self.port) }
    }

    /// A program where the Gateway can be reached from.
    pub(super) fn program(&self, program: &Path) -> Result<Command> {
        match &self.site {
            Site::Local(cluster) => cluster.command(program),
            Site::Theirs { .. } => Ok(Command::new(program)),
        }
    }

    fn file(&self, name: &str) -> String {
        text(&self.bundle.join(name))
    }
}

/// A command as a user would type it, and its answer.
pub(super) fn told(command: &str, what: &str, answer: &str) {
    say::result(format!("\n$ {command} {what}\n{}", answer.trim_end()));
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(forwarding) = &mut self.forwarding {
            drop(forwarding.kill());
            drop(forwarding.wait());
        }
    }
}
