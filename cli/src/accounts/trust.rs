//! Which providers are believed: those whose certificates this machine's own authorities signed, or browsers', or the one
//! that a login was told of. Tokens are worth stealing: no option turns this off.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::failure::{Exit, Failure};
use crate::line::tls::{builder, public_roots};
use crate::login::{Error, Web};
use portcullis_protocol::clock::Clock;

/// Asks providers; `ca` is PEM, and the only one that counts where it is given.
pub(super) fn web(ca: Option<&str>) -> Result<Arc<Web>, Failure> {
    let roots = match ca {
        Some(pem) => given(pem)?,
        None => known(),
    };
    let tls = builder().map_err(Error::Tls)?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(Web::new(tls, None, Clock::default())?))
}

/// SSL_CERT_FILE and SSL_CERT_DIR, or else where the system keeps them; those of browsers besides.
fn known() -> RootCertStore {
    let mut roots = public_roots();
    // Some of what lies about on a machine is unreadable; what is left counts.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The roots in a PEM.
pub(super) fn given(pem: &str) -> Result<RootCertStore, Failure> {
    let broken = |reason: String| {
        Failure::new(Exit::Usage, format!("failed to read the provider's CA: {reason}"))
            .hint("give a file with the PEM of the authority that signed its certificate")
    };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let root = root.map_err(|error| broken(error.to_string()))?;
        roots.add(root).map_err(|error| broken(error.to_string()))?;
    }
    if roots.is_empty() { Err(broken("there is no certificate in it".to_owned())) } else { Ok(roots) }
}
