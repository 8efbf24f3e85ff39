//! The watch of CertificateRequests: begun once some Gateway's authority is to be asked for, since their kind is
//! cert-manager's, which may not be installed, or is some day.

use std::collections::HashSet;
use std::sync::Arc;

use kube::Api;
use kube::runtime::watcher::{self, Config};
use portcullis_api::Gateway;

use super::{Run, Sight, Watches, code};
use crate::queue::Urgency;
use crate::world::asks;
use crate::world::child::Kind;
use crate::world::request::{CertificateRequest, Requests};

/// What it is called where something stands in its way, and in which namespace.
fn what(scope: Option<&str>) -> String {
    let all = "certificaterequests".to_owned();
    scope.map_or(all, |namespace| format!("certificaterequests in {namespace}"))
}

impl Watches {
    /// Watches them from when they are first needed.
    pub(super) fn requests(self: &Arc<Self>, run: &Run<'_>, config: &Config) {
        let (watches, config, stop) = (Arc::clone(self), config.clone(), run.stop.clone());
        let scope = run.scope.clone();
        let api: Api<CertificateRequest> = match &scope {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        run.tasks.spawn(async move {
            let work = async {
                // The sender lives in `watches`, so that the wait cannot fail.
                drop(watches.asking.subscribe().wait_for(|asking| *asking).await);
                let scope = scope.as_deref();
                watches.follow(&api, config, &what(scope), scope, Self::request).await;
            };
            stop.run_until_cancelled(work).await;
        });
    }

    fn request(&self, scope: Option<&str>, sight: Sight<'_, CertificateRequest>, urgency: Urgency) {
        self.child(Kind::CertificateRequest, scope, sight, urgency);
        if let Sight::Only(_) = sight {
            self.add_all(self.world.put_requests(scope, Requests::There), urgency);
        }
    }

    /// What a Gateway's authority is asked for by must be looked at before it is asked for.
    pub(super) fn want_requests(&self, gateway: &Gateway) {
        if asks(gateway) && !*self.asking.borrow() {
            for scope in &self.scopes {
                self.progress.expect_at_start(&what(scope.as_deref()));
            }
            self.asking.send_replace(true);
        }
    }

    /// Where their kind is not there, or may not be looked at, that is an answer too: Gateways do without. Whether that was
    /// known before: it stays so for as long as cert-manager is not installed.
    pub(super) fn is_known_of_requests(
        &self,
        of: &str,
        scope: Option<&str>,
        error: &watcher::Error,
        why: &str,
    ) -> bool {
        let requests = match code(error) {
            _ if of != what(scope) => return false,
            404 => Requests::Missing,
            403 => Requests::Forbidden(why.to_owned()),
            _ => return false,
        };
        if requests == Requests::Missing {
            let gone = self.world.keep_children(Kind::CertificateRequest, scope, &HashSet::new());
            self.wake_all(gone, Urgency::Changed);
        }
        let is_known = self.world.requests_are(scope, &requests);
        self.add_all(self.world.put_requests(scope, requests), Urgency::Changed);
        self.progress.listed(of);
        is_known
    }
}
