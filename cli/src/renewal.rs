//! What is stored for a gateway is kept good through the gateway itself: a certificate for a key that is made here and never
//! leaves, and the roots that the gateway will show a certificate of. Both are replaced in one step, or not at all.
//!
//! When that is due is [`due`]'s to say; which kind of key is wanted, [`key`]'s.

mod due;
mod files;
mod key;

use std::time::Duration;

use portcullis_contract::gateway::identities_client::IdentitiesClient;
use portcullis_contract::gateway::{GetTrustRequest, RenewCertificateRequest, RenewCertificateResponse};
use portcullis_protocol::clock;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::Code;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::channel::{Access, Channel};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Resolved, certificate};
use crate::store::{Bundle, Item, Name, Place, Store};

pub(crate) use due::Life;
pub(crate) use files::finish;
pub use files::{Did, Files};

/// How long what nobody asked for may hold up a command.
const ASIDE: Duration = Duration::from_secs(5);

/// What was stored in the place of what was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Lower-case hexadecimal digits.
    pub serial: String,
    /// When it ends, in seconds since 1970-01-01T00:00:00Z.
    pub ends: i64,
}

/// Asks for a certificate with a new key, and stores it with the roots that come with it. `shown` is what the channel shows.
///
/// # Errors
/// Where none is stored that could be renewed, the gateway gives none, or what it gives cannot be stored.
pub async fn renew(
    store: &Store,
    name: &Name,
    channel: &Channel,
    shown: &Bundle,
) -> Result<Renewed, Failure> {
    let (renewed, bundle) = another(channel, shown).await?;
    replace(store, name, shown, &bundle)?;
    Ok(renewed)
}

/// Asks for a certificate with a new key: what is to take the place of what the channel shows.
async fn another(channel: &Channel, shown: &Bundle) -> Result<(Renewed, Bundle), Failure> {
    let name = channel.gateway().title();
    let Some((chain, _)) = &shown.identity else {
        return Err(Failure::new(
            Exit::Conflict,
            format!("no client certificate is stored for the gateway {name}, so that there is none to renew"),
        ));
    };
    let (renewed, key) = ask(channel, &key::kinds(chain, shown.ca.as_deref())).await?;
    let odd = |what: &str| {
        Failure::new(Exit::Failed, format!("the gateway {name} answered with {what}, which is not taken"))
    };
    let der = CertificateDer::from_pem_slice(renewed.certificate_chain.as_bytes());
    let der = der.map_err(|_| odd("no certificate"))?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| odd("no certificate"))?;
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(odd("the certificate of another key"));
    }
    let ends = certificate.validity().not_after.timestamp();
    let identity = (renewed.certificate_chain.into_bytes(), key.serialize_pem().into_bytes());
    let ca = taken(shown.ca.as_deref(), renewed.ca_certificates.as_bytes()).or_else(|| shown.ca.clone());
    Ok((Renewed { serial: renewed.serial, ends }, Bundle { ca, identity: Some(identity) }))
}

/// Asks with a key of each kind until one is taken: after a rotation it may be another than that of what is shown.
async fn ask(channel: &Channel, kinds: &[key::Kind]) -> Result<(RenewCertificateResponse, KeyPair), Failure> {
    let doing = "renew the client certificate";
    let mut client = IdentitiesClient::new(channel.service());
    let mut refused = None;
    for kind in kinds {
        let failed =
            |error: rcgen::Error| Failure::new(Exit::Failed, format!("failed to make a key: {error}"));
        let key = kind.make().map_err(failed)?;
        let request = CertificateParams::default().serialize_request(&key).map_err(failed)?;
        let request = RenewCertificateRequest { certificate_request: request.der().to_vec() };
        match client.renew_certificate(request).await {
            Ok(renewed) => return Ok((renewed.into_inner(), key)),
            Err(status) if status.code() == Code::InvalidArgument => {
                refused = Some(channel.failed(doing, &status));
            }
            Err(status) => return Err(channel.failed(doing, &status)),
        }
    }
    Err(refused.unwrap_or_else(|| Failure::new(Exit::Failed, "the stored certificate cannot be read")))
}

/// Asks for the roots that there are, and stores them where they are others. True where they were.
///
/// # Errors
/// Where the gateway does not say, or they cannot be stored.
pub async fn trust(store: &Store, name: &Name, channel: &Channel, shown: &Bundle) -> Result<bool, Failure> {
    let Some(bundle) = other_roots(channel, shown).await? else { return Ok(false) };
    replace(store, name, shown, &bundle)?;
    Ok(true)
}

/// Asks for the roots that there are: what is to take the place of what the channel shows. None where they are the same.
async fn other_roots(channel: &Channel, shown: &Bundle) -> Result<Option<Bundle>, Failure> {
    let asked = IdentitiesClient::new(channel.service()).get_trust(GetTrustRequest {}).await;
    let said =
        asked.map_err(|status| channel.failed("ask for the roots of the server's certificate", &status))?;
    let ca = taken(shown.ca.as_deref(), said.into_inner().ca_certificates.as_bytes());
    Ok(ca.map(|ca| Bundle { ca: Some(ca), identity: shown.identity.clone() }))
}

/// The roots that take the place of those that are stored. None where they stay: they are the same, or of somebody else, such
/// as of an edge in front.
fn taken(stored: Option<&[u8]>, said: &[u8]) -> Option<Vec<u8>> {
    let roots =
        |pem: &[u8]| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    let (before, after) = (roots(stored?), roots(said));
    let is_known = after.iter().any(|root| before.contains(root));
    let is_same = before.len() == after.len() && after.iter().all(|root| before.contains(root));
    (is_known && !is_same).then(|| said.to_vec())
}

/// In one step, and only where what is stored is what was shown: another command may have been quicker.
fn replace(store: &Store, name: &Name, shown: &Bundle, by: &Bundle) -> Result<(), Failure> {
    let held = store.lock()?;
    if store.bundle(Place::Own, name)?.as_ref() != Some(shown) {
        return Err(Failure::new(
            Exit::Conflict,
            format!("what is stored for the gateway {name} was changed meanwhile, and stays as it is"),
        ));
    }
    Ok(store.set_bundle(&held, name, by)?)
}

/// Renews what is due, if it was not tried lately, and says how that went where somebody must do something. False where the
/// certificate is as it was.
pub(crate) async fn keep(context: &Context, gateway: &Resolved, access: &Access, channel: &Channel) -> bool {
    let Some((name, life)) = wanted(context, gateway, access) else { return false };
    let (store, shown) = (&context.store, &access.bundle);
    let now = clock::now();
    if let Err(error) = store.set_item(name, Item::Renewal, Some(now.to_string().as_bytes())) {
        context.say.detail(error.to_string());
        return false;
    }
    let Some(life) = life.filter(|life| life.is_due(now)) else {
        match aside(trust(store, name, channel, shown)).await {
            Ok(true) => context.say.detail("the gateway's roots are others now: they are stored"),
            Ok(false) => {}
            Err(failure) => context.say.detail(failure.to_string()),
        }
        return false;
    };
    match aside(renew(store, name, channel, shown)).await {
        Ok(renewed) => {
            let ends = certificate::shown(renewed.ends);
            context.say.detail(format!("the client certificate is renewed, until {ends}"));
            true
        }
        Err(failure) => {
            let ends = certificate::shown(life.ends);
            context.say.warn(format!(
                "the client certificate for the gateway {name} ends at {ends} and was not renewed: {failure}. `portcullis gateway renew -g {name}` tries again; otherwise add the gateway again with a new bundle"
            ));
            false
        }
    }
}

/// Whether it is time to look at what is stored. Where it is only read, or whoever answers is not looked at, nothing is.
pub(crate) fn wanted<'a>(
    context: &Context,
    gateway: &'a Resolved,
    access: &Access,
) -> Option<(&'a Name, Option<Life>)> {
    let Some((Place::Own, name)) = &gateway.stored else { return None };
    if access.insecure || access.bundle == Bundle::default() {
        return None;
    }
    let life = access.bundle.identity.as_ref().and_then(|(chain, _)| Life::of(chain));
    let last = context.store.item(Place::Own, name, Item::Renewal).ok().flatten();
    let last = last.and_then(|it| String::from_utf8_lossy(&it).trim().parse::<i64>().ok());
    due::may_look(life, last, clock::now()).then_some((name, life))
}

async fn aside<T>(what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(ASIDE, what).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new(Exit::TimedOut, format!("no answer within {} s", ASIDE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default().self_signed(&key).unwrap().pem().into_bytes()
    }

    #[test]
    fn roots_are_taken_where_one_of_those_that_are_stored_is_among_them() {
        let (old, new, foreign) = (root(), root(), root());
        let both = [old.clone(), new.clone()].concat();
        assert_eq!(taken(Some(&old), &both), Some(both.clone()));
        assert_eq!(taken(Some(&both), &new), Some(new.clone()));
        assert_eq!(
            taken(Some(&both), &[new.clone(), old.clone()].concat()),
            None,
            "the same in another order"
        );
        assert_eq!(taken(Some(&foreign), &both), None, "an edge's own");
        assert_eq!(taken(None, &both), None, "the public ones");
        assert_eq!(taken(Some(&old), b""), None);
    }
}
