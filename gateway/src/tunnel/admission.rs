//! Who may serve which tunnel: a connector's greeting, judged by the one decision. A connector that is there before the
//! snapshot which names its tunnel is waited with for a moment.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::rules::{Evidence, Role, Rule, Scope};
use portcullis_contract::tunnel::refusal::Code;
use portcullis_contract::tunnel::{EndpointTls, Hello, Offer, Refusal, Service, Welcome};
use portcullis_protocol::VERSION;
use portcullis_protocol::greeting::{self, refusal};
use portcullis_protocol::limits::PATIENCE;
use portcullis_protocol::message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::names::{Tunnel, Tunnels};
use crate::auth::Principal;
use crate::config::Config;
use crate::listener::Connection;

/// What a client needs to serve a tunnel. A connector's certificate names the one tunnel that it is for.
const SERVE: Rule =
    Rule { evidence: Evidence::Bearer, role: Some(Role::User), scope: Scope::Named("tunnel:write") };

/// A connector that is let in.
pub(crate) struct Admitted {
    pub(crate) hello: Hello,
    pub(crate) principal: Arc<Principal>,
    /// The evidence of the greeting, as a request would carry it.
    pub(crate) evidence: HeaderMap,
}

/// Greets whoever is at the other end. None: it was told why not.
pub(crate) async fn admit<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    connection: &Connection,
) -> Option<Admitted> {
    let verdict = match greeting::hear(stream).await {
        Ok(hello) => judge_in_time(hello, connection).await,
        Err(refusal) => Err(refusal),
    };
    let (admitted, answer) = match verdict {
        Ok((admitted, welcome)) => (Some(admitted), Ok(welcome)),
        Err(refusal) => {
            let (peer, code) = (connection.peer(), refusal.code().as_str_name());
            tracing::info!(%peer, code, reason = %refusal.message, "connector refused");
            connection.shared.metrics.connectors_refused.inc();
            (None, Err(refusal))
        }
    };
    let refused = answer.is_err();
    greeting::answer(stream, answer).await.ok()?;
    if refused {
        // A reset would take the answer from the connector before it is read.
        let mut rest = [0];
        let closed = tokio::io::AsyncReadExt::read(stream, &mut rest);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), closed).await;
    }
    admitted
}

async fn judge_in_time(hello: Hello, connection: &Connection) -> Result<(Admitted, Welcome), Refusal> {
    let mut evidence = HeaderMap::new();
    if !hello.bearer_token.is_empty() {
        let mut value = HeaderValue::try_from(format!("Bearer {}", hello.bearer_token))
            .map_err(|_| refusal(Code::Unauthenticated, "the token is none"))?;
        value.set_sensitive(true);
        evidence.insert(AUTHORIZATION, value);
    }
    if hello.connected.contains(&connection.shared.pod) {
        let replicas = connection.shared.replicas();
        let already = refusal(Code::Connected, "the connector is connected to this replica already");
        return Err(Refusal { replicas, ..already });
    }
    let mut changes = connection.shared.changes();
    let mut refused = refusal(Code::Unavailable, "the gateway has no configuration yet");
    let judged = async {
        loop {
            changes.mark_unchanged();
            let config = connection.shared.config();
            if let Some(config) = config.as_ref() {
                match judge(&hello, &evidence, connection, config).await {
                    Ok((principal, services)) => return (principal, services),
                    Err(refusal) => refused = refusal,
                }
            }
            drop(config);
            if !may_pass(&refused) || changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    // What a new snapshot will not change is told at once.
    let waited = tokio::select! {
        judged = judged => Some(judged),
        () = tokio::time::sleep(PATIENCE) => None,
    };
    let Some((principal, services)) = waited else { return Err(refused) };
    let shared = &connection.shared;
    let welcome = Welcome {
        version: VERSION,
        features: Vec::new(),
        replica: shared.pod.clone(),
        replicas: shared.replicas(),
        services,
    };
    if !message::fits(&welcome) {
        return Err(refusal(
            Code::Endpoint,
            "what is to be said of these tunnels is too long for one connection: offer fewer, or give them shorter upstream.tls.caBundles",
        ));
    }
    Ok((Admitted { hello, principal, evidence }, welcome))
}

/// Whether a new snapshot may turn a no into a yes.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal.code(), Code::NotFound | Code::Unavailable | Code::Unauthenticated | Code::Endpoint)
}

async fn judge(
    hello: &Hello,
    evidence: &HeaderMap,
    connection: &Connection,
    config: &Arc<Config>,
) -> Result<(Arc<Principal>, Vec<Service>), Refusal> {
    let Some(tunnels) = &config.tunnels else {
        return Err(refusal(
            Code::NotFound,
            "this gateway has no tunnels: its Gateway needs spec.tunnels with a domain",
        ));
    };
    let principal = connection.identify(evidence, config).await.map_err(|denial| {
        connection.shared.metrics.denial(denial.reason);
        refusal(
            Code::Unauthenticated,
            "the certificate or token does not open this gateway: take a bundle of one of its clients, or log in again",
        )
    })?;
    let mut services = Vec::with_capacity(hello.offers.len());
    for offer in &hello.offers {
        check(&principal, offer)?;
        services.push(service(tunnels, offer)?);
    }
    Ok((principal, services))
}

/// Whether whoever is at the other end may serve this.
fn check(principal: &Principal, offer: &Offer) -> Result<(), Refusal> {
    match principal.certificate.as_ref().and_then(|it| it.tunnel.as_ref()) {
        Some((namespace, tunnel)) if (namespace, tunnel) == (&offer.namespace, &offer.name) => Ok(()),
        Some((namespace, tunnel)) => Err(refusal(
            Code::Forbidden,
            format!(
                "this certificate is for the tunnel {namespace}/{tunnel}, not for {}/{}",
                offer.namespace, offer.name
            ),
        )),
        None => principal.allows(&SERVE).map_err(|missing| {
            refusal(Code::Forbidden, format!("{} lacks {missing}, which a connector needs", principal.user))
        }),
    }
}

/// What a connector serves that makes this offer.
pub(super) fn service(tunnels: &Tunnels, offer: &Offer) -> Result<Service, Refusal> {
    let Some(tunnel) = tunnels.by_name(&offer.namespace, &offer.name) else {
        let text = format!(
            "this gateway has no tunnel {}/{}: apply it, or look at its condition Accepted",
            offer.namespace, offer.name
        );
        return Err(refusal(Code::NotFound, text));
    };
    let offered: Vec<Endpoint> = offer.endpoints.iter().filter_map(|text| text.parse().ok()).collect();
    if !offered.contains(&tunnel.endpoint) {
        let text = format!(
            "the tunnel {} leads to {}, which this connector may not forward to (it may to {}): change the Tunnel's spec.endpoint or the connector's --endpoint",
            tunnel.label,
            tunnel.endpoint,
            offer.endpoints.join(", ")
        );
        return Err(refusal(Code::Endpoint, text));
    }
    Ok(told(tunnel))
}

fn told(tunnel: &Tunnel) -> Service {
    let milliseconds = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
    Service {
        namespace: tunnel.namespace.clone(),
        name: tunnel.name.clone(),
        uid: tunnel.uid.to_string(),
        hostnames: tunnel.hostnames.clone(),
        endpoint: tunnel.endpoint.to_string(),
        host_header: tunnel.upstream.host_header.clone().unwrap_or_default(),
        connect_timeout_ms: milliseconds(tunnel.upstream.connect_timeout_ms),
        response_timeout_ms: milliseconds(tunnel.upstream.response_timeout_ms),
        endpoint_tls: tunnel.upstream.tls.as_ref().map(|tls| EndpointTls {
            server_name: tls.server_name.clone().unwrap_or_default(),
            ca_pem: tls.ca_bundle.clone().unwrap_or_default(),
            insecure_skip_verify: tls.insecure_skip_verify,
        }),
    }
}
