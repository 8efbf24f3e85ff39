//! The demo's Tunnel: a service on this machine, outside of the cluster, that answers on a public name of the Gateway.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::demo::door::{Door, HOST, told};
use crate::demo::{Bundle, NAMESPACE};
use crate::go::Module;
use crate::install::Site;
use crate::{command, images, say, wait};

const NAME: &str = "web.demo.example.com";
const PORT: &str = "18080";

/// A service and the connector next to it; they end with this.
pub(super) struct Connected {
    children: Vec<Child>,
    bundle: Bundle,
}

impl Connected {
    /// Starts both, and waits until the public name answers.
    pub(super) fn started(site: &Site, door: &Door) -> Result<Self> {
        let began = Instant::now();
        let bundle = Bundle::fetched(site, "laptop")?;
        let mut connected = Self { children: Vec::new(), bundle };
        let mut service = door.program(&Module::Tools.programs()?.join("go-httpbin"))?;
        connected.run(service.args(["-host", "127.0.0.1", "-port", PORT]))?;
        let mut connector = door.program(&images::binaries(images::Profile::Release)?.join("portcullis"))?;
        connector.args(["connector", &format!("{NAMESPACE}/web"), "--endpoint"]);
        connector.arg(format!("http://localhost:{PORT}")).args(["--gateway", &door.url()]);
        connector.args(["--server-name", HOST, "--credentials"]).arg(&connected.bundle.folder);
        connected.run(&mut connector)?;
        let step = say::step("a service on this machine answers on its public name");
        wait::until_true("an answer through the Tunnel", Duration::from_mins(1), || {
            connected
                .curl(door, &["--output", "/dev/null", "--fail"])
                .is_ok_and(|mut curl| command::succeeds(&mut curl))
        })?;
        step.done_as(&format!(
            "a service on this machine answers on its public name, {} after its connector was started",
            say::seconds(began.elapsed()).trim()
        ));
        let ready =
            ["-n", NAMESPACE, "wait", "--for=condition=Ready", "tunnels.portcullis.dev/web", "--timeout=60s"];
        command::run(&mut site.kubectl(ready)?)?;
        Ok(connected)
    }

    /// Shows what is answered.
    pub(super) fn tell(&self, site: &Site, door: &Door) -> Result<()> {
        let run =
            format!("--endpoint http://localhost:{PORT} --gateway {} --credentials laptop/ &", door.url());
        told(&format!("portcullis connector {NAMESPACE}/web"), &run, "");
        let answer = command::output(&mut self.curl(door, &[])?)?;
        told("curl --cacert ca.crt", &format!("'https://{NAME}/get?x=1'"), &answer);
        let table =
            command::output(&mut site.kubectl(["get", "tunnels.portcullis.dev", "-A", "-o", "wide"])?)?;
        told("kubectl get tunnels", "-A -o wide", &table);
        Ok(())
    }

    fn curl(&self, door: &Door, options: &[&str]) -> Result<Command> {
        let mut curl = door.program(Path::new("curl"))?;
        let (address, port) = door.at();
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--resolve",
            &format!("{NAME}:{port}:{address}"),
        ]);
        curl.arg("--cacert").arg(self.bundle.folder.join("ca.crt")).args(options);
        curl.arg(format!("https://{NAME}:{port}/get?x=1"));
        Ok(curl)
    }

    fn run(&mut self, command: &mut Command) -> Result<()> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.with_context(|| format!("failed to start {command:?}"))?);
        Ok(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
