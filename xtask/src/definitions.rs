//! Kinds that others define and our examples and chart make objects of: their CustomResourceDefinitions, out of the Go
//! modules that their makers publish.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{cache, command, go, say};

/// A published module and the definitions in it that are wanted.
struct Source {
    module: &'static str,
    version: &'static str,
    /// What Go's checksum database says of it, so that another module under this name is noticed.
    sum: &'static str,
    files: &'static [&'static str],
}

const SOURCES: &[Source] = &[
    Source {
        module: "github.com/argoproj/argo-cd/v3",
        version: "v3.4.0",
        sum: "h1:yZwfaOIzE/aQTA52mOfeZQbribmyxKYvMgirQja4eX0=",
        files: &["manifests/crds/application-crd.yaml", "manifests/crds/appproject-crd.yaml"],
    },
    Source {
        module: "github.com/fluxcd/source-controller",
        version: "v1.7.0",
        sum: "h1:/fBgS4CSmT5Jj/fjQDF92y+pC3gst1GJjgNSzY8Ff9I=",
        files: &["config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"],
    },
    Source {
        module: "github.com/fluxcd/kustomize-controller",
        version: "v1.7.3",
        sum: "h1:SzNnGn/4ObAPEHHleM5U7y/AKxKXph3Vj6ZhteeXw8M=",
        files: &["config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"],
    },
    Source {
        module: "github.com/fluxcd/helm-controller",
        version: "v1.4.0",
        sum: "h1:rkm8rmB6Na7eNc4pJOnvtXEaJ19iKluRtayHKjBxcUM=",
        files: &["config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml"],
    },
    Source {
        module: "github.com/prometheus-operator/prometheus-operator",
        version: "v0.85.0",
        sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        files: &[
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ],
    },
    Source {
        module: "github.com/cert-manager/cert-manager",
        version: "v1.21.2",
        sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        files: &[
            "deploy/crds/cert-manager.io_certificaterequests.yaml",
            "deploy/crds/cert-manager.io_issuers.yaml",
            "deploy/crds/cert-manager.io_clusterissuers.yaml",
        ],
    },
];

/// The folder with all of them, a file each, fetched now if they never were.
pub(crate) fn folder() -> Result<PathBuf> {
    let parts = SOURCES
        .iter()
        .flat_map(|it| [it.module, it.version, it.sum].into_iter().chain(it.files.iter().copied()));
    let name = format!("definitions-{}", cache::key(parts.map(str::as_bytes)));
    cache::built(&name, |folder| {
        let step = say::step("definitions of Argo CD, cert-manager, Flux and the Prometheus operator (once)");
        SOURCES.iter().try_for_each(|source| source.copied(folder))?;
        step.done();
        Ok(())
    })
}

impl Source {
    /// Fetches the module and copies its definitions.
    fn copied(&self, into: &Path) -> Result<()> {
        let mut download = go::command(into)?;
        download.args(["mod", "download", "-json", &format!("{}@{}", self.module, self.version)]);
        let told = command::output(&mut download)?;
        let told: Value = serde_json::from_str(&told).context("go told no JSON of a module")?;
        ensure!(
            told["Sum"] == self.sum,
            "{} {} has the sum {}, not {}",
            self.module,
            self.version,
            told["Sum"],
            self.sum
        );
        let sources = told["Dir"].as_str().context("go does not say where a module is")?;
        for file in self.files {
            let from = Path::new(sources).join(file);
            let to = into.join(from.file_name().context("a definition without a file")?);
            // Copied by its content: what Go keeps is for reading only.
            fs::read(&from)
                .and_then(|content| fs::write(to, content))
                .with_context(|| format!("failed to copy {}", from.display()))?;
        }
        Ok(())
    }
}
