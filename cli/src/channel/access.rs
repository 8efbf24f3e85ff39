//! What is shown to a gateway, and how it is reached.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::TokenSource;
use crate::failure::{Exit, Failure};
use crate::line::tls::{AnyCertificate, builder, public_roots};
use crate::store::{Bundle, Name, Place, Store};

/// What is shown to a gateway, and how it is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whom it is checked against, and the client certificate.
    pub bundle: Bundle,
    /// Where it is stored, if it is: it may be renewed meanwhile.
    pub kept: Option<(Store, Place, Name)>,
    /// Who has a token.
    pub tokens: Arc<dyn TokenSource>,
    /// Any certificate of the server is believed. The client's own is shown all the same.
    pub insecure: bool,
    /// How long anything may take.
    pub timeout: Duration,
    /// The HTTP proxies that the environment names.
    pub proxies: Arc<Matcher>,
}

impl Access {
    /// Through the proxies that the environment names.
    pub fn new(bundle: Bundle, tokens: Arc<dyn TokenSource>, insecure: bool, timeout: Duration) -> Self {
        Self { bundle, kept: None, tokens, insecure, timeout, proxies: Arc::new(Matcher::from_env()) }
    }

    /// What is stored by now; what was read at first, where nothing is.
    fn bundle(&self) -> Result<Cow<'_, Bundle>, Failure> {
        let now = match &self.kept {
            Some((store, place, name)) => store.bundle(*place, name)?,
            None => None,
        };
        Ok(now.map_or(Cow::Borrowed(&self.bundle), Cow::Owned))
    }

    /// TLS as all that says, now.
    ///
    /// # Errors
    /// Where the certificates are none.
    pub fn tls(&self) -> Result<ClientConfig, Failure> {
        let failed = |error: rustls::Error| broken(&error);
        let bundle = self.bundle()?;
        let builder = builder().map_err(failed)?;
        let builder = if self.insecure {
            let any = AnyCertificate(Arc::clone(builder.crypto_provider()));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        } else {
            builder.with_root_certificates(roots(bundle.ca.as_deref())?)
        };
        match &bundle.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| broken(&error))?;
                builder.with_client_auth_cert(chain, key).map_err(failed)
            }
        }
    }

    /// Roots of the gateway's own authority, where they are stored and good.
    pub(crate) fn own_roots(&self) -> Option<RootCertStore> {
        roots(Some(self.bundle.ca.as_deref()?)).ok()
    }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, Failure> {
    let Some(ca) = ca else { return Ok(public_roots()) };
    let mut roots = RootCertStore::empty();
    for root in certificates(ca, "the CA certificate")? {
        roots.add(root).map_err(|error| broken(&error))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| broken(&error))?;
    if found.is_empty() { Err(broken(&format!("there is no PEM in {what}"))) } else { Ok(found) }
}

fn broken(reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("failed to use the gateway's certificates: {reason}"))
        .hint("add the gateway again, with its bundle")
}
