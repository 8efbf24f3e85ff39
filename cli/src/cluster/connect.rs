//! A client of the cluster that the caller's kubeconfig names, and what the API server says in words.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::failure::{Exit, Failure, chain};
use crate::options::Kube;

/// A client, and the namespace that is meant where none is said.
///
/// # Errors
/// Where the kubeconfig cannot be used.
pub async fn connect(kube: &Kube) -> Result<(Client, String), Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(Exit::Failed, format!("failed to use the kubeconfig: {}", chain(error))).hint(
            "`kubectl config view --minify` shows what is used; --kubeconfig and --context choose another",
        )
    };
    let options = KubeConfigOptions { context: kube.context.clone(), ..KubeConfigOptions::default() };
    let config = match &kube.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| failed(&error))?
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            // In a pod there is no kubeconfig, and no context to choose.
            Err(error) if kube.context.is_none() => Config::incluster().map_err(|_| failed(&error))?,
            Err(error) => return Err(failed(&error)),
        },
    };
    let namespace = kube.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| failed(&error))?;
    Ok((client, namespace))
}

/// What the API server says.
pub(super) fn said(verb: &str, what: &str, error: &kube::Error) -> Failure {
    let message = format!("failed to {verb} {what}: ");
    match error {
        kube::Error::Api(status) => {
            let (exit, hint) = match status.code {
                404 => (Exit::NotFound, Some("check the name, the namespace and the kubeconfig's context")),
                401 | 403 => (
                    Exit::Denied,
                    Some(match verb {
                        "read" => "ask for the right to `get` it, or for a bundle in a file (--bundle)",
                        _ => "ask for the right to `patch` it",
                    }),
                ),
                _ => (Exit::Failed, None),
            };
            let failure = Failure::new(exit, message + &status.message);
            hint.map_or(failure.clone(), |hint| failure.hint(hint))
        }
        other => Failure::new(Exit::Unreachable, message + &chain(other))
            .hint("is the cluster there? `kubectl cluster-info` asks it"),
    }
}
