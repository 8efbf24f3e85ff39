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
    /// Optimised, quick to build
    Release,
    /// As it is shipped and measured
    Dist,
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
            Builder::Own => written(&out, name, about, &binaries.join(name))?,
            Builder::Buildah => built_by_buildah(&out, name, &binaries)?,
        });
    }
    let httpbin = Module::Tools.programs()?.join(HTTPBIN);
    archives.push(written(&out, HTTPBIN, "HTTP requests, answered", &httpbin)?);
    Ok(archives)
}

/// The folder with our binaries, linked statically, so that they need nothing of an image.
pub(crate) fn binaries(profile: Profile) -> Result<PathBuf> {
    let [(operator, _), (gateway, _), _] = SHIPPED;
    compiled(profile, &[operator, gateway, CLI_PACKAGE, EXAMPLES_PACKAGE])
}

/// The folder with the binaries of these packages, compiled as those that are shipped.
pub(crate) fn compiled(profile: Profile, packages: &[&str]) -> Result<PathBuf> {
    let profile = if profile == Profile::Release { "release" } else { "dist" };
    let step = say::step(format!("static binaries ({profile})"));
    let host = host_triple()?;
    let mut cargo = workspace::cargo();
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS").args([
        "build",
        "--profile",
        profile,
        "--target",
        &host,
        "--bins",
    ]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    command::show(&mut cargo)?;
    step.done();
    Ok(workspace::target().join(host).join(profile))
}

fn written(out: &Path, name: &str, about: &str, binary: &Path) -> Result<Archive> {
    let step = say::step(format!("image localhost/{name}:{TAG}"));
    let program = fs::read(binary).with_context(|| format!("failed to read {}", binary.display()))?;
    let reference = reference(name);
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

/// What this machine is called by the compiler.
fn host_triple() -> Result<String> {
    let told = command::output(Command::new("rustc").arg("-vV").current_dir(workspace::root()))?;
    told.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not say what this machine is")
}
