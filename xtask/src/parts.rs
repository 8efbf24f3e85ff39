//! The real parts of the end-to-end tests, which nobody here wrote: two OpenID providers that run beside the cluster for
//! as long as it does, and what the tests start themselves. Their configurations are in `tests/real/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cluster::Cluster;
use crate::{cache, command, say, workspace};

/// Keycloak's archive, as Maven calls it, and what its bytes must be.
const KEYCLOAK: &str = "org.keycloak:keycloak-quarkus-dist:26.4.7:zip";
const KEYCLOAK_DIGEST: &str = "dd9834c023460be856f731423d86228c23b5d002194a2064642bec0cc6573eaa";
const MAVEN_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// Folders of `tests/real/` whose programs run in Node, with the modules that their lock file pins.
const NODE_PROGRAMS: [&str; 2] = ["oidc-provider", "browser"];

/// Where Keycloak and oidc-provider listen, at the node's address; and where the latter takes orders, on loopback.
const KEYCLOAK_PORT: &str = "8443";
const PROVIDER_PORT: &str = "9443";
const PROVIDER_CONTROL: &str = "9444";

/// All that is downloaded and built once.
#[derive(Debug)]
pub(crate) struct Parts {
    keycloak: PathBuf,
    modules: [PathBuf; NODE_PROGRAMS.len()],
    openshell: PathBuf,
}

impl Parts {
    /// Fetches and builds what is not in the cache.
    pub(crate) fn installed() -> Result<Self> {
        let [provider, browser] = NODE_PROGRAMS;
        let modules = [node_modules(provider)?, node_modules(browser)?];
        Ok(Self { keycloak: keycloak()?, modules, openshell: python("openshell")? })
    }

    /// Starts both providers; says in which folder everything is that tests need. They answer some seconds later, and end
    /// with the cluster.
    pub(crate) fn start(&self, cluster: &Cluster) -> Result<PathBuf> {
        let folder = cluster.guests_folder();
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        certificate(&["authority"], &folder, &[])?;
        certificate(&["leaf"], &folder, &["keycloak", "keycloak.parts.svc"])?;
        certificate(&["leaf"], &folder, &["idp", "idp.parts.svc"])?;
        for (name, modules) in NODE_PROGRAMS.iter().zip(&self.modules) {
            place(name, modules, &folder)?;
        }
        std::os::unix::fs::symlink(&self.openshell, folder.join("openshell"))
            .with_context(|| format!("failed to lay out openshell in {}", folder.display()))?;
        let at = |name: &str| folder.join(name).display().to_string();
        let address = crate::cluster::ADDRESS;
        let keycloak = [
            sources("keycloak").join("start.sh").display().to_string(),
            self.keycloak.display().to_string(),
            at("keycloak"),
            address.to_owned(),
            KEYCLOAK_PORT.to_owned(),
            format!("https://keycloak.parts.svc:{KEYCLOAK_PORT}"),
            at("keycloak.crt"),
            at("keycloak.key"),
        ];
        cluster.start_guest("keycloak", Path::new("bash"), &keycloak)?;
        let provider = [
            &at("oidc-provider/provider.mjs"),
            "--issuer",
            &format!("https://idp.parts.svc:{PROVIDER_PORT}"),
            "--listen",
            &format!("{address}:{PROVIDER_PORT}"),
            "--cert",
            &at("idp.crt"),
            "--key",
            &at("idp.key"),
            "--keys",
            &at("idp.keys.json"),
            "--control",
            PROVIDER_CONTROL,
        ];
        cluster.start_guest("oidc-provider", Path::new("node"), &provider.map(str::to_owned))?;
        Ok(folder)
    }
}

fn sources(name: &str) -> PathBuf {
    workspace::root().join("tests/real").join(name)
}

/// Keycloak, unpacked, built, and with the realm of the tests in its database.
fn keycloak() -> Result<PathBuf> {
    let mut inputs = vec![KEYCLOAK.as_bytes().to_vec(), KEYCLOAK_DIGEST.into()];
    for file in ["build.sh", "realm.json"] {
        let path = sources("keycloak").join(file);
        inputs.push(fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    let name = format!("keycloak-{}", cache::key(inputs.iter().map(Vec::as_slice)));
    cache::built(&name, |folder| {
        let step = say::step("Keycloak (once)");
        let download = folder.join("download");
        command::run(Command::new("mvn").current_dir("/").args([
            "--quiet",
            "--batch-mode",
            MAVEN_PLUGIN,
            &format!("-Dartifact={KEYCLOAK}"),
            &format!("-DoutputDirectory={}", download.display()),
            "-Dmdep.stripVersion=true",
        ]))?;
        let archive = download.join("keycloak-quarkus-dist.zip");
        let bytes = fs::read(&archive).with_context(|| format!("failed to read {}", archive.display()))?;
        let digest = cache::digest(&bytes);
        if digest != KEYCLOAK_DIGEST {
            bail!("{KEYCLOAK} is not what it was: its SHA-256 is {digest}");
        }
        command::run(
            Command::new("bash").arg(sources("keycloak").join("build.sh")).arg(&archive).arg(folder),
        )?;
        cache::remove(&download)?;
        step.done();
        Ok(())
    })
}

/// The modules of a program, exactly those that its lock file names.
fn node_modules(program: &str) -> Result<PathBuf> {
    let files = ["package.json", "package-lock.json"];
    let mut inputs = Vec::new();
    for file in files {
        let path = sources(program).join(file);
        inputs.push(fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    let name = format!("{program}-{}", cache::key(inputs.iter().map(Vec::as_slice)));
    let folder = cache::built(&name, |folder| {
        let step = say::step(format!("Node modules: {program} (once)"));
        for (file, content) in files.iter().zip(&inputs) {
            fs::write(folder.join(file), content).with_context(|| format!("failed to write {file}"))?;
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        command::run(Command::new("npm").current_dir(folder).args(install))?;
        step.done();
        Ok(())
    })?;
    Ok(folder)
}

/// A Python that has what `requirements.txt` of this folder pins: here, since the cluster's network has no names of the world.
fn python(program: &str) -> Result<PathBuf> {
    let path = sources(program).join("requirements.txt");
    let pins = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let name = format!("{program}-{}", cache::key([pins.as_slice()].into_iter()));
    cache::built(&name, |folder| {
        let step = say::step(format!("Python modules: {program} (once)"));
        command::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        // By the interpreter, not by a script of the environment: those know where it was made, and it is moved from there.
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
        command::run(pip.arg(&path))?;
        step.done();
        Ok(())
    })
}

/// A program beside its modules, where Node looks for them.
fn place(program: &str, modules: &Path, folder: &Path) -> Result<()> {
    let place = folder.join(program);
    let placed = fs::create_dir_all(&place)
        .and_then(|()| std::os::unix::fs::symlink(modules.join("node_modules"), place.join("node_modules")))
        .and_then(|()| {
            for entry in fs::read_dir(sources(program))? {
                let entry = entry?;
                // Pictures that are compared with stay where they are.
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), place.join(entry.file_name()))?;
                }
            }
            Ok(())
        });
    placed.with_context(|| format!("failed to lay out {}", place.display()))
}

/// Runs `certificates.sh`; of what is left the first becomes a file's name below the folder.
fn certificate(job: &[&str], folder: &Path, rest: &[&str]) -> Result<()> {
    let mut make = Command::new("bash");
    make.arg(sources("certificates.sh")).args(job).arg(folder);
    if let Some((out, names)) = rest.split_first() {
        make.arg(folder.join(out)).args(names);
    }
    command::run(&mut make)
}
