//! `cargo xtask images`: static binaries of ours as images FROM scratch, and where clusters take them from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::go::Module;
use crate::image::Image;
use crate::images::context::Target;
use crate::{command, say, workspace};

pub(crate) mod context;

/// The binaries that are shipped, an image each, and what each says that it is.
pub(crate) const SHIPPED: [(&str, &str); 3] = [
    ("portcullis-operator", "Controllers for Portcullis Gateways"),
    ("portcullis-gateway", "Data plane of a Portcullis Gateway"),
    ("portcullis", "Command line of Portcullis, and the connector of its Tunnels"),
];
/// The package that the command line is in.
const CLI_PACKAGE: &str = "portcullis-cli";
/// Drivers to begin one's own from, which the tests use; and the package that they are in.
const EXAMPLES: [(&str, &str); 2] = [
    ("portcullis-example-compute-driver", "Example compute driver of a Portcullis Gateway"),
    ("portcullis-example-credentials-driver", "Example credentials driver of a Portcullis Gateway"),
];
const EXAMPLES_PACKAGE: &str = "portcullis-example-drivers";
/// The backend of the demo and of the tests, which nobody here wrote.
const HTTPBIN: &str = "go-httpbin";
const TAG: &str = "dev";
/// Where our binaries are in their images; the Dockerfile's too.
const PROGRAM: &str = "/portcullis";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How the binaries are optimised
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Where the archives go [default: target/images]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What makes the images: this program itself, or buildah with the Dockerfile
    #[arg(long, value_enum, default_value_t = Builder::Own)]
    builder: Builder,
    /// Hand the images to the cluster of this kubeconfig context too: loaded where it is kind, k3d or minikube
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Push the images to this registry too
    #[arg(long, value_name = "HOST/PREFIX")]
    registry: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Not optimised: built anew within seconds
    Dev,
    /// Optimised, quick to build
    Release,
    /// As it is shipped and measured
    Dist,
}

impl Profile {
    /// As cargo and the command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Builder {
    Own,
    Buildah,
}

/// One archive.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    /// The image's name.
    pub(crate) reference: String,
    /// Its file.
    pub(crate) path: PathBuf,
}

impl Archive {
    /// A short name for its content.
    pub(crate) fn content(&self) -> Result<String> {
        let bytes =
            fs::read(&self.path).with_context(|| format!("failed to read {}", self.path.display()))?;
        Ok(crate::cache::key([bytes.as_slice()]))
    }

    /// The digest of its configuration, which is the image's identity however its layers are packed.
    pub(crate) fn configuration(&self) -> Result<String> {
        let read = |file: &str| -> Result<serde_json::Value> {
            let mut tar = Command::new("tar");
            tar.arg("--extract").arg("--to-stdout").arg("--file").arg(&self.path).arg(file);
            serde_json::from_str(&command::output(&mut tar)?).with_context(|| format!("{file} is no JSON"))
        };
        let index = read("index.json")?;
        let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default().replace(':', "/");
        let manifest = read(&format!("blobs/{digest}"))?;
        Ok(manifest["config"]["digest"].as_str().context("an image without a configuration")?.to_owned())
    }
}

/// Does what was asked.
pub(crate) fn act(options: &Options) -> Result<()> {
    let target = Target::of(options.context.as_deref(), options.registry.as_deref())?;
    let archives = build(options.profile, options.builder, options.out.as_deref())?;
    for archive in &archives {
        say::result(format!("{}  {}", archive.reference, archive.path.display()));
    }
    if let Some(target) = target {
        for image in target.take(&archives)?.iter().filter(|image| image.name != image.reference) {
            say::result(&image.name);
        }
    }
    Ok(())
}

/// What an image of ours is called, before a registry gives it another name.
pub(crate) fn reference(name: &str) -> String {
    format!("localhost/{name}:{TAG}")
}

/// Builds binaries and archives.
pub(crate) fn build(profile: Profile, builder: Builder, out: Option<&Path>) -> Result<Vec<Archive>> {
    let binaries = binaries(profile)?;
    let out = out.map_or_else(|| workspace::target().join("images"), Path::to_path_buf);
    fs::create_dir_all(&out).with_context(|| format!("failed to make {}", out.display()))?;
    let mut archives = Vec::new();
    for (name, about) in SHIPPED.into_iter().chain(EXAMPLES) {
        archives.push(match builder {
            Builder::Own => written(&out, name, about, &binaries.join(name), TAG)?,
            Builder::Buildah => built_by_buildah(&out, name, &binaries)?,
        });
    }
    let httpbin = Module::Tools.programs()?.join(HTTPBIN);
    archives.push(written(&out, HTTPBIN, "HTTP requests, answered", &httpbin, TAG)?);
    Ok(archives)
}

/// The folder with our binaries, linked statically, so that they need nothing of an image.
pub(crate) fn binaries(profile: Profile) -> Result<PathBuf> {
    compiled(profile, &packages())
}

/// The packages that our images are of.
pub(crate) fn packages() -> [&'static str; 4] {
    let [(operator, _), (gateway, _), _] = SHIPPED;
    [operator, gateway, CLI_PACKAGE, EXAMPLES_PACKAGE]
}

/// The folder with the binaries of these packages, compiled as those that are shipped.
pub(crate) fn compiled(profile: Profile, packages: &[&str]) -> Result<PathBuf> {
    let step = say::step(format!("static binaries ({})", profile.name()));
    command::show(&mut compiling(profile, packages)?)?;
    step.done();
    binaries_folder(profile)
}

/// The cargo that does so.
pub(crate) fn compiling(profile: Profile, packages: &[&str]) -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.envs(flags(profile)?).env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["build", "--profile", profile.name(), "--target", &host_triple()?, "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    Ok(cargo)
}

/// Where it leaves them.
pub(crate) fn binaries_folder(profile: Profile) -> Result<PathBuf> {
    // Cargo has a folder of another name for what it calls dev.
    let folder = if profile == Profile::Dev { "debug" } else { profile.name() };
    Ok(workspace::target().join(host_triple()?).join(folder))
}

/// An image of a release, tagged with its version.
pub(crate) fn released(out: &Path, name: &str, about: &str, binary: &Path, version: &str) -> Result<Archive> {
    let archive = written(out, name, about, binary, version)?;
    let path = out.join(format!("{name}-{version}-{}.oci.tar", crate::image::architecture()));
    fs::rename(&archive.path, &path).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(Archive { path, ..archive })
}

fn written(out: &Path, name: &str, about: &str, binary: &Path, tag: &str) -> Result<Archive> {
    let step = say::step(format!("image localhost/{name}:{tag}"));
    let program = fs::read(binary).with_context(|| format!("failed to read {}", binary.display()))?;
    let reference = format!("localhost/{name}:{tag}");
    let labels = labels(name, about);
    let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    let image = Image {
        reference: &reference,
        entrypoint: if name == HTTPBIN { "/go-httpbin" } else { PROGRAM },
        program: &program,
        user: "65532:65532",
        labels: if name == HTTPBIN { &[] } else { &labels },
    };
    let path = out.join(format!("{name}.tar"));
    replace(&path, &image.archive()?)?;
    step.done();
    Ok(Archive { reference, path })
}

fn labels(name: &str, about: &str) -> [(&'static str, String); 5] {
    [
        ("org.opencontainers.image.title", name.to_owned()),
        ("org.opencontainers.image.description", about.to_owned()),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE").to_owned()),
        ("org.opencontainers.image.url", env!("CARGO_PKG_REPOSITORY").to_owned()),
    ]
}

/// The same by the Dockerfile, with storage that is thrown away and no privileges beyond those of this user.
fn built_by_buildah(out: &Path, name: &str, binaries: &Path) -> Result<Archive> {
    if !command::exists("buildah") {
        bail!("buildah is not installed: apt-get install buildah, or leave out --builder");
    }
    let step = say::step(format!("image localhost/{name}:{TAG} by buildah"));
    let reference = reference(name);
    let (path, storage) = (out.join(format!("{name}.tar")), out.join("buildah"));
    let buildah = || {
        let mut buildah = Command::new("buildah");
        buildah.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
        buildah.arg("--runroot").arg(storage.join("run"));
        buildah
    };
    let built = command::run(
        buildah()
            .args([
                "bud",
                "--isolation",
                "chroot",
                "--timestamp",
                "0",
                "--build-arg",
                &format!("BINARY={name}"),
            ])
            .args([
                "--build-arg",
                concat!("VERSION=", env!("CARGO_PKG_VERSION")),
                "--tag",
                &reference,
                "--file",
            ])
            .arg(workspace::root().join("Dockerfile"))
            .arg(binaries),
    )
    .and_then(|()| {
        drop(fs::remove_file(&path));
        command::run(
            buildah().arg("push").arg(&reference).arg(format!("oci-archive:{}:{reference}", path.display())),
        )
    });
    crate::cache::remove(&storage)?;
    built?;
    step.done();
    Ok(Archive { reference, path })
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let half = path.with_extension("half");
    fs::write(&half, bytes).with_context(|| format!("failed to write {}", half.display()))?;
    fs::rename(&half, path).with_context(|| format!("failed to write {}", path.display()))
}

/// What the compilers are told: to link statically and, of what is shipped, to say nothing of the folders that it was
/// compiled in, so that the same source gives the same bytes everywhere.
fn flags(profile: Profile) -> Result<Vec<(&'static str, String)>> {
    let mut rust = "-C target-feature=+crt-static".to_owned();
    let mut flags = Vec::new();
    if profile == Profile::Dist {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let home = home.context("no place where cargo keeps sources: set CARGO_HOME")?;
        let folders =
            [(workspace::target(), "/target"), (home, "/cargo"), (workspace::root().into(), "/portcullis")];
        // Of several that fit, the last one counts: the target folder may be within the checkout.
        let told = |flag: &str| {
            let each =
                folders.iter().rev().map(|(folder, name)| format!("{flag}={}={name}", folder.display()));
            each.collect::<Vec<_>>().join(" ")
        };
        rust = format!("{rust} {}", told("--remap-path-prefix"));
        if host_triple()? == "x86_64-unknown-linux-gnu" {
            // Functions that are alike are kept once, and where addresses stand in the data is written in bits (glibc
            // reads that since 2.36): a fifteenth of a program. Here Rust brings the linker that can.
            rust.push_str(" -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs");
        }
        flags.push(("CFLAGS", told("-ffile-prefix-map")));
        flags.push(("SOURCE_DATE_EPOCH", "0".to_owned()));
    }
    flags.push(("RUSTFLAGS", rust));
    Ok(flags)
}

/// What this machine is called by the compiler.
pub(crate) fn host_triple() -> Result<String> {
    let told = command::output(Command::new("rustc").arg("-vV").current_dir(workspace::root()))?;
    told.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not say what this machine is")
}
