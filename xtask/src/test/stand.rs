//! A cluster for the tests of one run: fresh, of this run alone, and gone with it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, Extent};
use crate::go::Module;
use crate::parts::Parts;
use crate::{cache, definitions, say, workspace};

/// Waits for the end of this program, of whatever kind, and then takes the cluster down.
const WATCH: &str = r#"trap '' INT TERM HUP; read -r done || exec "$0" cluster down --name "$1""#;

/// A cluster that tests stand on.
#[derive(Debug)]
pub(super) struct Stand {
    cluster: Cluster,
    programs: PathBuf,
    binaries: Option<PathBuf>,
    parts: Option<PathBuf>,
    watch: Child,
    _claim: File,
}

impl Stand {
    /// Starts one; a second run at the same time gets one of its own.
    pub(super) fn started(name: &str, extent: Extent) -> Result<Self> {
        let (name, claim) = claimed(name)?;
        let cluster = Cluster::named(&name)?;
        let own = std::env::current_exe().context("failed to find this program")?;
        let own = own.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        let watch = Command::new("sh")
            .args(["-c", WATCH, &own, &name])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start the watch")?;
        let stand =
            Self { cluster, programs: gathered(extent)?, binaries: None, parts: None, watch, _claim: claim };
        stand.cluster.down()?;
        stand.cluster.up(extent)?;
        Ok(stand)
    }

    /// Tells the tests where our binaries are.
    pub(super) fn with_binaries(mut self, folder: PathBuf) -> Self {
        self.binaries = Some(folder);
        self
    }

    /// Starts the parts, which get ready while the rest of the stand does.
    pub(super) fn with_parts(mut self, parts: &Parts) -> Result<Self> {
        self.parts = Some(parts.start(&self.cluster)?);
        Ok(self)
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A command that finds the cluster, and is told what tests want to know.
    pub(super) fn command(&self, program: &OsStr) -> Result<Command> {
        let mut command = self.cluster.command(program)?;
        command
            .env("PORTCULLIS_TEST_BIN", &self.programs)
            .env("PORTCULLIS_TEST_CLUSTER", self.cluster.name());
        if let Some(folder) = &self.parts {
            command.env("PORTCULLIS_TEST_PARTS", folder);
        }
        if let Some(folder) = &self.binaries {
            for (variable, name) in [
                ("PORTCULLIS_OPERATOR_BIN", "portcullis-operator"),
                ("PORTCULLIS_GATEWAY_BIN", "portcullis-gateway"),
                ("PORTCULLIS_CLI_BIN", "portcullis"),
            ] {
                command.env(variable, folder.join(name));
            }
        }
        Ok(command)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            say::note(format!("error: {error:#}"));
        }
        if let Some(mut pipe) = self.watch.stdin.take() {
            drop(writeln!(pipe, "done"));
        }
        drop(self.watch.wait());
    }
}

/// A name that no other run has, and what keeps it ours until this program ends.
fn claimed(name: &str) -> Result<(String, File)> {
    let folder = cache::folder()?.join("claims");
    fs::create_dir_all(&folder).context("failed to make a folder for claims")?;
    for number in 1.. {
        let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        let file = File::create(folder.join(&name)).context("failed to claim a name")?;
        if file.try_lock().is_ok() {
            return Ok((name, file));
        }
    }
    unreachable!("some number is free")
}

/// One folder with all programs that tests call, and others' definitions in one below it.
fn gathered(extent: Extent) -> Result<PathBuf> {
    let folder = workspace::target().join("test-programs");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let mut modules = vec![
        Module::Kubernetes,
        Module::Tools,
        Module::Helm,
        Module::Helm3,
        Module::Tilt,
        Module::Kstatus,
        Module::Argo,
    ];
    if extent == Extent::Node {
        modules.extend([Module::Interop, Module::Collector]);
    } else {
        modules.push(Module::CertManager);
    }
    link(&definitions::folder()?, "definitions", &folder)?;
    for module in modules {
        for program in fs::read_dir(module.programs()?).context("failed to read a folder of programs")? {
            let program = program.context("failed to read a folder of programs")?;
            link(&program.path(), program.file_name(), &folder)?;
        }
    }
    Ok(folder)
}

fn link(target: &Path, name: impl AsRef<OsStr>, folder: &Path) -> Result<()> {
    let name = name.as_ref();
    let (half, whole) =
        (folder.join(format!(".{}.{}", name.display(), std::process::id())), folder.join(name));
    std::os::unix::fs::symlink(target, &half).context("failed to link a program")?;
    fs::rename(&half, &whole).context("failed to link a program")
}
