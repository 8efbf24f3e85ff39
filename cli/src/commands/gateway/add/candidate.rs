//! A gateway that might be stored: what the command line says of it.

use std::fs;
use std::path::Path;

use http::Uri;
use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};

use super::super::passphrase;
use super::{kube, remote};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways;
use crate::options::Add;
use crate::portable::{self, Portable, Tokens};
use crate::store::{Bundle, Metadata, Mode, Name, Place};

/// A gateway that might be stored.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: Name,
    pub(super) metadata: Metadata,
    pub(super) bundle: Bundle,
    pub(super) tokens: Tokens,
}

impl Candidate {
    pub(super) async fn read(context: &Context, add: &Add) -> Result<Self, Failure> {
        let mut candidate = match (&add.from_kube, &add.remote, &add.bundle) {
            (Some((namespace, name)), _, _) => kube::read(context, add, namespace.as_deref(), name).await?,
            (None, Some(remote), _) => remote::read(context, add, remote).await?,
            (None, None, _) if add.local => kube::only(context, add).await?,
            (None, None, Some(file)) if file.is_file() => Self::sealed(add, file)?,
            (None, None, _) => Self::of_url(add)?,
        };
        if let Some(ca) = &add.ca {
            candidate.bundle.ca = Some(file(ca)?);
        }
        if let Some(server_name) = &add.server_name {
            candidate.metadata.server_name = Some(server_name.clone());
        }
        Ok(candidate)
    }

    /// All out of a file that `gateway export` has made; a URL says that it is elsewhere now.
    fn sealed(add: &Add, path: &Path) -> Result<Self, Failure> {
        let sealed = file(path)?;
        let portable = portable::open(&sealed, passphrase::to_open(add.passphrase_file.as_deref())?)?;
        Ok(Self::portable(add, portable))
    }

    /// What another machine has exported; a URL says that it is elsewhere from here.
    pub(super) fn portable(add: &Add, portable: Portable) -> Self {
        let mut metadata = portable.metadata;
        if let Some(url) = &add.url {
            let before =
                gateways::endpoint(&metadata.endpoint).ok().and_then(|it| it.host().map(str::to_owned));
            metadata.server_name = metadata.server_name.or(before);
            metadata.endpoint = written(url);
        }
        let name = add.name.clone().unwrap_or(portable.name);
        Self { name, metadata, bundle: portable.bundle, tokens: portable.tokens }
    }

    fn of_url(add: &Add) -> Result<Self, Failure> {
        if add.client.is_some() {
            return Err(Failure::new(
                Exit::Usage,
                "--client says whose bundle is read from a cluster, and none is named",
            )
            .hint("give --from-kube NAMESPACE/NAME, --local or --remote HOST too"));
        }
        let url = add.url.as_ref().ok_or_else(|| {
            Failure::new(Exit::Usage, "no URL is given")
                .hint("write where the gateway is, such as https://door.example.com")
        })?;
        let bundle = match &add.bundle {
            Some(path) => folder(path)?,
            None => Bundle::default(),
        };
        let host = url.host().unwrap_or_default();
        let name = add.name.clone().or_else(|| Name::near(host)).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("no name can be made of `{host}`")).hint("give one with --name")
        })?;
        let mode = if url.scheme_str() == Some("http") { Mode::Plaintext } else { Mode::MutualTLS };
        let endpoint = written(url);
        Ok(Self {
            name,
            metadata: Metadata { endpoint, mode, ..Metadata::default() },
            bundle,
            tokens: Tokens::default(),
        })
    }

    /// Takes over what is stored for this address, where the command line does not mention it.
    pub(super) fn inherit(&mut self, context: &Context) -> Result<(), Failure> {
        let Some((Place::Own, stored)) = context.store.find(&self.name)? else { return Ok(()) };
        if stored.endpoint == self.metadata.endpoint {
            let bundle = context.store.bundle(Place::Own, &self.name)?.unwrap_or_default();
            self.metadata.server_name = self.metadata.server_name.take().or(stored.server_name);
            self.bundle.ca = self.bundle.ca.take().or(bundle.ca);
            self.bundle.identity = self.bundle.identity.take().or(bundle.identity);
        }
        Ok(())
    }

    /// Writes what was found out; what was not stays as it was stored.
    pub(super) fn write(&self, stored: &mut Metadata) {
        let found = &self.metadata;
        stored.endpoint.clone_from(&found.endpoint);
        stored.mode = found.mode;
        stored.server_name.clone_from(&found.server_name);
        stored.project = stored.project.take().or_else(|| found.project.clone());
        stored.edge = found.edge.clone().or_else(|| stored.edge.take());
        stored.oidc = match (stored.oidc.take(), found.oidc.clone()) {
            // Scopes that somebody asked for once are asked for again.
            (Some(before), Some(mut now)) if before.issuer == now.issuer => {
                now.more.extend(before.more);
                if !before.scopes.is_empty() {
                    now.scopes = before.scopes;
                }
                Some(now)
            }
            (before, now) => now.or(before),
        };
    }
}

/// A URL as it is stored.
pub(super) fn written(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// A bundle as the operator's Secrets hold it.
fn folder(path: &Path) -> Result<Bundle, Failure> {
    if !path.is_dir() {
        return Err(Failure::new(
            Exit::Usage,
            format!("failed to read {}: it is not a folder", path.display()),
        )
        .hint("give a folder with ca.crt, tls.crt and tls.key"));
    }
    Ok(Bundle {
        ca: Some(file(&path.join(SERVER_CA))?),
        identity: Some((file(&path.join(SERVER_CERTIFICATE))?, file(&path.join(SERVER_KEY))?)),
    })
}

fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("failed to read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Oidc;

    fn oidc(issuer: &str, scopes: &[&str]) -> Oidc {
        Oidc {
            issuer: issuer.to_owned(),
            scopes: scopes.iter().map(|it| (*it).to_owned()).collect(),
            ..Oidc::default()
        }
    }

    fn candidate(oidc: Option<Oidc>) -> Candidate {
        let metadata = Metadata { endpoint: "https://new".to_owned(), oidc, ..Metadata::default() };
        Candidate {
            name: "shop".parse().unwrap(),
            metadata,
            bundle: Bundle::default(),
            tokens: Tokens::default(),
        }
    }

    #[test]
    fn adding_again_keeps_the_project_and_the_scopes_that_were_asked_for() {
        let mut stored = Metadata {
            endpoint: "https://old".to_owned(),
            project: Some("p".to_owned()),
            oidc: Some(oidc("https://idp", &["tunnel:write"])),
            ..Metadata::default()
        };
        candidate(Some(oidc("https://idp", &["openid"]))).write(&mut stored);
        assert_eq!((stored.endpoint.as_str(), stored.project.as_deref()), ("https://new", Some("p")));
        assert_eq!(stored.oidc.as_ref().unwrap().scopes, ["tunnel:write"]);
        candidate(None).write(&mut stored);
        assert_eq!(stored.oidc.as_ref().unwrap().issuer, "https://idp");
        candidate(Some(oidc("https://other", &["openid"]))).write(&mut stored);
        assert_eq!(stored.oidc.as_ref().unwrap().scopes, ["openid"]);
    }
}
