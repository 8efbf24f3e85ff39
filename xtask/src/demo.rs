//! `cargo xtask demo`: from nothing to a Gateway that answers, told step by step.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cluster::cli;
use crate::demo::door::Door;
use crate::demo::tunnel::Connected;
use crate::go::Module;
use crate::images::Profile;
use crate::install::{Place, Site};
use crate::{command, say, wait, workspace};

mod door;
mod tunnel;

const NAMESPACE: &str = "demo";
const EXAMPLE: &str = "manifests/examples/quickstart.yaml";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
}

/// Does it all.
pub(crate) fn act(options: &Options) -> Result<()> {
    let began = Instant::now();
    let site = options.place.site()?;
    let images = site.bring_images(Profile::Release)?;
    site.install_operator(&images)?;

    let step = say::step(format!("{EXAMPLE} applied"));
    site.apply(&workspace::root().join(EXAMPLE), &images)?;
    step.done();
    let applied = Instant::now();
    let step = say::step("Gateway demo/door is Ready");
    let ready =
        ["-n", NAMESPACE, "wait", "--for=condition=Ready", "gateways.portcullis.dev/door", "--timeout=120s"];
    let waited = command::run(&mut site.kubectl(ready)?);
    waited.with_context(|| described(&site))?;
    let backend = ["-n", NAMESPACE, "rollout", "status", "deployment/httpbin", "--timeout=120s"];
    command::run(&mut site.kubectl(backend)?).with_context(|| described(&site))?;
    step.done();

    let bundle = Bundle::fetched(&site, "alice")?;
    let door = Door::opened(&site, &bundle.folder)?;
    let step = say::step("first answer through the Gateway");
    wait::until_true("an answer through the Gateway", Duration::from_secs(30), || {
        door.curl(&["--output", "/dev/null", "--fail"], true, "/get")
            .is_ok_and(|mut curl| command::succeeds(&mut curl))
    })
    .with_context(|| described(&site))?;
    step.done_as(&format!(
        "first answer through the Gateway, {} after apply",
        say::seconds(applied.elapsed()).trim()
    ));

    let connected = Connected::started(&site, &door).with_context(|| described(&site))?;
    door.tell()?;
    let table =
        command::output(&mut site.kubectl(["get", "gateways.portcullis.dev", "-A", "-o", "wide"])?)?;
    say::result(format!("\n$ kubectl get gateways -A -o wide\n{}", table.trim_end()));
    connected.tell(&site, &door)?;
    say::note(format!("\n{}  done", say::seconds(began.elapsed())));
    say::note(how_to_go_on(&options.place));
    Ok(())
}

/// What the cluster says about the example, for an error's sake.
fn described(site: &Site) -> String {
    let ask = |arguments: &[&str]| {
        let told =
            site.kubectl(arguments.iter().copied()).and_then(|mut kubectl| command::output(&mut kubectl));
        told.unwrap_or_default()
    };
    let gateway =
        ask(&["-n", NAMESPACE, "get", "gateways.portcullis.dev/door", "-o", "jsonpath={.status.conditions}"]);
    let pods = ask(&["-n", NAMESPACE, "get", "pods", "-o", "wide"]);
    let events = ask(&["-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"]);
    let logs = ask(&["-n", "portcullis-system", "logs", "deployment/portcullis-operator", "--tail", "10"]);
    format!("{gateway}\n{pods}\n{}\n{logs}", command::tail(&events, 10))
}

fn how_to_go_on(place: &Place) -> String {
    let example = "manifests/examples/quickstart.yaml";
    if let Some(context) = &place.context {
        return format!(
            "\ngo on:  kubectl --context {context} -n demo describe gateway door\n\
             stop:   kubectl --context {context} delete -f {example}\n\
             \u{20}       helm --kube-context {context} -n portcullis-system uninstall portcullis\n\
             \u{20}       kubectl --context {context} delete -f manifests/namespace.yaml -f crds"
        );
    }
    let name = if place.name == cli::DEFAULT { String::new() } else { format!(" --name {}", place.name) };
    format!(
        "\ngo on:  cargo xtask cluster run{name} -- kubectl -n demo describe gateway door\n\
         \u{20}       cargo xtask cluster run{name} -- bash    # then kubectl, helm, grpcurl, and edit {example}\n\
         stop:   cargo xtask cluster down{name}"
    )
}

/// The client's certificate, key and roots as files, for this run only.
struct Bundle {
    folder: PathBuf,
}

impl Bundle {
    fn fetched(site: &Site, client: &str) -> Result<Self> {
        let folder =
            command::output(Command::new("mktemp").args(["-d", "--tmpdir", "portcullis-demo.XXXXXXXX"]))?;
        let bundle = Self { folder: PathBuf::from(folder.trim()) };
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            let path = format!("go-template={{{{index .data \"{file}\" | base64decode}}}}");
            let get = ["-n", NAMESPACE, "get", "secret", &format!("door-client-{client}"), "-o", &path];
            let text = command::output(&mut site.kubectl(get)?)?;
            std::fs::write(bundle.folder.join(file), text).context("failed to write the bundle")?;
        }
        Ok(bundle)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// `grpcurl`, built on first use.
fn grpcurl() -> Result<PathBuf> {
    Ok(Module::Tools.programs()?.join("grpcurl"))
}

/// A path as text, which all paths here are.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
