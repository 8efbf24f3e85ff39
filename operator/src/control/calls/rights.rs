//! What a caller may do with which of a Gateway's Tunnels: by the Gateway's own roles, or by the API server's word. Every
//! room of this folder that touches a Tunnel comes by here.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ListParams, PostParams};
use portcullis_api::{Authorization, Gateway, NamespacesFrom, Tunnel, Tunnels};
use tonic::Code;

use super::caller::{Caller, Verb};
use super::refused::{Refused, refused};
use super::{Desk, IN_STEP};
use crate::cause::chain;
use crate::tunnel::claims::takes;
use crate::world::Key;
use crate::writer::answered;

/// What one caller may do at one Gateway.
pub(super) struct Rights<'a> {
    pub(super) desk: &'a Desk,
    pub(super) gateway: &'a Key,
    pub(super) caller: &'a Caller,
}

/// Which of a Gateway's Tunnels somebody looks at, with what the API server said of each namespace.
pub(super) struct View {
    pub(super) verb: Verb,
    /// None: every one.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    reviewed: BTreeMap<String, bool>,
}

impl Rights<'_> {
    /// The Gateway and what it says of Tunnels, as they are now.
    pub(super) fn gateway(&self) -> Result<(Arc<Gateway>, Tunnels), Refused> {
        let gateway = self.desk.ctx.world.gateway(self.gateway);
        let gateway =
            gateway.filter(|it| it.metadata.deletion_timestamp.is_none()).ok_or_else(|| Refused {
                code: Code::Unavailable,
                message: format!("there is no Gateway {} any more", self.gateway),
            })?;
        match gateway.spec.tunnels.clone() {
            Some(tunnels) => Ok((gateway, tunnels)),
            None => refused(Code::Unimplemented, "this gateway takes no Tunnels: see spec.tunnels"),
        }
    }

    /// The namespace that a request means, if the Gateway takes Tunnels of it.
    pub(super) fn project(&self, asked: &str) -> Result<String, Refused> {
        let (_, tunnels) = self.gateway()?;
        let namespace = if asked.is_empty() { &self.gateway.namespace } else { asked };
        self.takes(&tunnels, namespace).map(|()| namespace.to_owned())
    }

    fn takes(&self, tunnels: &Tunnels, namespace: &str) -> Result<(), Refused> {
        let watched = &self.desk.namespaces;
        if !watched.is_empty() && !watched.iter().any(|it| it == namespace) {
            return refused(
                Code::PermissionDenied,
                format!("the operator does not look after the namespace {namespace}"),
            );
        }
        takes(self.gateway, tunnels, namespace, &self.desk.ctx.world.namespaces())
            .map_err(|rejected| Refused { code: Code::PermissionDenied, message: rejected.message })
    }

    /// Whether the caller may do this in a namespace at all. By the Gateway's roles, what it may do hangs on the Tunnel.
    pub(super) async fn may(&self, verb: Verb, namespace: &str, name: Option<&str>) -> Result<(), Refused> {
        let (_, tunnels) = self.gateway()?;
        match tunnels.authorization {
            Authorization::Gateway => Ok(()),
            Authorization::Kubernetes if self.reviewed(verb, Some(namespace), name).await? => Ok(()),
            Authorization::Kubernetes => Err(self.caller.denied(verb, namespace)),
        }
    }

    /// The Tunnel that a request means, if the caller may do this to it. One that it does not manage is not there.
    pub(super) async fn tunnel(
        &self,
        verb: Verb,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Tunnel>, Refused> {
        if name.is_empty() {
            return refused(
                Code::InvalidArgument,
                "name is empty: write the name of a Tunnel, as ListTunnels has it",
            );
        }
        let key = Key::new(self.project(namespace)?, name);
        self.may(verb, &key.namespace, Some(name)).await?;
        let (_, tunnels) = self.gateway()?;
        let tunnel = self.desk.ctx.world.tunnel(&key).filter(|it| self.is_here(it));
        match tunnel.filter(|it| self.manages(tunnels.authorization, it)) {
            Some(tunnel) => Ok(tunnel),
            None => refused(Code::NotFound, format!("there is no Tunnel {key} of yours at this gateway")),
        }
    }

    /// Whether the caller may look into the namespace that it names, if it names one.
    pub(super) async fn may_look_into(&self, verb: Verb, namespace: &str, name: &str) -> Result<(), Refused> {
        if namespace.is_empty() {
            return self.gateway().map(drop);
        }
        let namespace = self.project(namespace)?;
        self.may(verb, &namespace, Some(name).filter(|name| !name.is_empty())).await
    }

    /// The Tunnels of a view, as they are now.
    pub(super) async fn look(&self, view: &mut View) -> Result<BTreeMap<Key, Arc<Tunnel>>, Refused> {
        let (_, tunnels) = self.gateway()?;
        if let Some(namespace) = &view.namespace {
            self.takes(&tunnels, namespace)?;
        }
        let mut seen = BTreeMap::new();
        for tunnel in self.desk.ctx.world.tunnels_of(self.gateway) {
            let key = Key::of(&*tunnel);
            let is_meant = view.namespace.as_ref().is_none_or(|it| *it == key.namespace)
                && view.name.as_ref().is_none_or(|it| *it == key.name);
            if is_meant
                && self.is_here(&tunnel)
                && self.takes(&tunnels, &key.namespace).is_ok()
                && self.manages(tunnels.authorization, &tunnel)
                && self.may_look(view, tunnels.authorization, &key.namespace).await?
            {
                seen.insert(key, tunnel);
            }
        }
        Ok(seen)
    }

    async fn may_look(
        &self,
        view: &mut View,
        authorization: Authorization,
        namespace: &str,
    ) -> Result<bool, Refused> {
        if authorization == Authorization::Gateway {
            return Ok(true);
        }
        if let Some(may) = view.reviewed.get(namespace) {
            return Ok(*may);
        }
        let may = self.reviewed(view.verb, Some(namespace), view.name.as_deref()).await?;
        view.reviewed.insert(namespace.to_owned(), may);
        Ok(may)
    }

    /// The namespaces that the caller may use.
    pub(super) async fn projects(&self) -> Result<Vec<String>, Refused> {
        use futures::{StreamExt as _, TryStreamExt as _};
        let (_, tunnels) = self.gateway()?;
        let mut candidates = if tunnels.allowed_namespaces.from == NamespacesFrom::Same {
            vec![self.gateway.namespace.clone()]
        } else if self.desk.namespaces.is_empty() {
            self.every_namespace().await?
        } else {
            self.desk.namespaces.to_vec()
        };
        candidates.retain(|namespace| self.takes(&tunnels, namespace).is_ok());
        candidates.sort();
        if tunnels.authorization == Authorization::Gateway || self.reviewed(Verb::List, None, None).await? {
            return Ok(candidates);
        }
        let reviewed = candidates.into_iter().map(async |namespace| {
            let may = self.reviewed(Verb::List, Some(&namespace), None).await?;
            Ok(may.then_some(namespace))
        });
        let reviewed = futures::stream::iter(reviewed).buffered(IN_STEP);
        reviewed.try_filter_map(async |namespace| Ok(namespace)).try_collect().await
    }

    async fn every_namespace(&self) -> Result<Vec<String>, Refused> {
        let api: Api<Namespace> = Api::all(self.desk.ctx.client.clone());
        let params = ListParams::default();
        let listed = answered("list", "Namespaces", api.list_metadata(&params)).await?;
        let staying = listed.items.iter().filter(|it| it.metadata.deletion_timestamp.is_none());
        Ok(staying.map(kube::ResourceExt::name_any).collect())
    }

    /// What the API server says. Where it says nothing, the answer is no.
    async fn reviewed(
        &self,
        verb: Verb,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<bool, Refused> {
        let review = self.caller.review(verb, namespace, name)?;
        let api: Api<SubjectAccessReview> = Api::all(self.desk.ctx.client.clone());
        let params = PostParams::default();
        let asked = api.create(&params, &review);
        match answered("create", "SubjectAccessReview", asked).await {
            Ok(review) => Ok(review.status.is_some_and(|status| status.allowed)),
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to ask what a caller may do");
                refused(
                    Code::Unavailable,
                    "the API server does not say what you may do: try again in a moment",
                )
            }
        }
    }

    fn is_here(&self, tunnel: &Tunnel) -> bool {
        Key::of_gateway(tunnel) == *self.gateway && tunnel.metadata.deletion_timestamp.is_none()
    }

    /// By the Gateway's roles, where those count.
    fn manages(&self, authorization: Authorization, tunnel: &Tunnel) -> bool {
        authorization == Authorization::Kubernetes || self.caller.manages(tunnel)
    }
}

impl View {
    pub(super) fn new(verb: Verb, namespace: &str, name: &str) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { verb, namespace: given(namespace), name: given(name), reviewed: BTreeMap::new() }
    }

    /// What the API server said may have changed.
    pub(super) fn forget_reviews(&mut self) {
        self.reviewed.clear();
    }
}
