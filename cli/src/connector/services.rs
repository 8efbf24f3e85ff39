//! What the gateway says that a connector serves, held against what the connector may forward to. What is not allowed here
//! is refused here, whatever the gateway says.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::tunnel::Service;

use super::settings::Settings;
use super::upstream::{Forwarder, Upstream};

/// The services of one connection, by uid.
pub(super) type Served = ArcSwap<HashMap<String, Arc<Upstream>>>;

/// Makes upstreams of what a gateway says.
pub(super) struct Services {
    /// Namespace, name and the endpoints that are allowed.
    allowed: Vec<(String, String, Vec<Endpoint>)>,
    forwarder: Forwarder,
}

impl Services {
    pub(super) fn new(settings: &Settings) -> Self {
        let allowed = settings.offers.iter().map(|offer| {
            let endpoints = offer.endpoints.iter().filter_map(|text| text.parse().ok()).collect();
            (offer.namespace.clone(), offer.name.clone(), endpoints)
        });
        Self { allowed: allowed.collect(), forwarder: Forwarder::new(settings.endpoint_tls.clone()) }
    }

    /// Serves these from now on. What stays as it was keeps its connections.
    pub(super) fn take(&self, served: &Served, services: Vec<Service>) {
        let before = served.load();
        let mut next = HashMap::with_capacity(services.len());
        for service in services {
            if let Some(known) = before.get(&service.uid).filter(|known| *known.service() == service) {
                next.insert(service.uid, Arc::clone(known));
                continue;
            }
            let Some(endpoint) = self.endpoint(&service) else {
                tracing::warn!(
                    tunnel = %format_args!("{}/{}", service.namespace, service.name),
                    endpoint = %service.endpoint,
                    "the gateway names an endpoint that this connector may not forward to: requests for it are refused"
                );
                continue;
            };
            let (tunnel, names) =
                (format!("{}/{}", service.namespace, service.name), service.hostnames.join(", "));
            let uid = service.uid.clone();
            match Upstream::new(service, &endpoint, &self.forwarder) {
                Ok(upstream) => {
                    tracing::info!(%tunnel, %endpoint, %names, "serving");
                    next.insert(uid, Arc::new(upstream));
                }
                Err(error) => {
                    tracing::warn!(%tunnel, error, "upstream.tls cannot be used: requests for it are refused");
                }
            }
        }
        served.store(Arc::new(next));
    }

    fn endpoint(&self, service: &Service) -> Option<Endpoint> {
        let endpoint = service.endpoint.parse::<Endpoint>().ok()?;
        let is_allowed = self.allowed.iter().any(|(namespace, name, endpoints)| {
            *namespace == service.namespace && *name == service.name && endpoints.contains(&endpoint)
        });
        is_allowed.then_some(endpoint)
    }
}
