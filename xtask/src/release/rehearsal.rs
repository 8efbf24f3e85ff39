//! The release, pushed to a registry that is started for that, and pulled from it again: what comes back is what went in.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{SUMS, VERSION, chart};
use crate::images::Archive;
use crate::images::context::Target;
use crate::{cache, command, helm, say, wait};

/// Debian's name of the program and of its package.
const REGISTRY: &str = "docker-registry";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry on loopback; it ends with this.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Result<Self> {
        if !command::exists(REGISTRY) {
            bail!("{REGISTRY} is not installed: apt-get install --no-install-recommends {REGISTRY}");
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).context("no free port")?;
        let address = free.to_string();
        let store = folder.join("store");
        let configuration = serde_json::json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": store } },
            "http": { "addr": address },
        });
        let file = folder.join("registry.yaml");
        fs::write(&file, configuration.to_string())
            .context("failed to write the registry's configuration")?;
        let child = Command::new(REGISTRY)
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start the registry")?;
        let registry = Self { child, address };
        wait::until_true("the registry to answer", Duration::from_secs(20), || {
            command::succeeds(Command::new("curl").args(["--silent", "--fail", &registry.url("/v2/")]))
        })?;
        Ok(registry)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn manifest(&self, name: &str, tag: &str) -> Result<Value> {
        let url = self.url(&format!("/v2/{name}/manifests/{tag}"));
        let accept = format!("Accept: {MANIFEST}");
        let text = command::output(Command::new("curl").args([
            "--silent",
            "--show-error",
            "--fail",
            "--header",
            &accept,
            &url,
        ]))?;
        serde_json::from_str(&text).context("the registry's manifest is no JSON")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Does it.
pub(super) fn rehearse(out: &Path, archives: &[Archive]) -> Result<()> {
    let step = say::step("rehearsal");
    let folder = out.with_extension("rehearsal");
    cache::remove(&folder)?;
    fs::create_dir_all(&folder).context("failed to make a folder")?;
    let registry = Registry::start(&folder)?;
    command::run(Command::new("sha256sum").current_dir(out).args(["--check", "--quiet", SUMS]))?;
    for pushed in Target::released(&registry.address).take(archives)? {
        let (repository, tag) = pushed.name.rsplit_once(':').context("a name without a tag")?;
        let (_, name) = repository.split_once('/').context("a name without a registry")?;
        ensure!(tag == VERSION, "{} is not tagged with {VERSION}", pushed.name);
        let wanted =
            archives.iter().find(|it| it.reference == pushed.reference).context("pushed what is not ours")?;
        let came = registry.manifest(name, tag)?["config"]["digest"].clone();
        ensure!(came == wanted.configuration()?, "{name} is another image in the registry: {came}");
    }
    let charts = format!("oci://{}/charts", registry.address);
    command::run(helm::program()?.args(["push", "--plain-http"]).arg(out.join(chart::name())).arg(&charts))?;
    let pulled = format!("{charts}/portcullis");
    let mut pull = helm::program()?;
    pull.args(["pull", "--plain-http", "--version", VERSION, "--destination"]).arg(&folder).arg(&pulled);
    command::run(&mut pull)?;
    let bytes =
        |folder: &Path| fs::read(folder.join(chart::name())).context("failed to read the chart's package");
    ensure!(bytes(out)? == bytes(&folder)?, "the chart came back as something else");
    drop(registry);
    cache::remove(&folder)?;
    step.done_as("rehearsal: pushed to a registry and pulled again, the same");
    Ok(())
}
