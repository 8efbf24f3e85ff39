//! The Tunnel that a person wants: made, or found and put right.

use portcullis_contract::endpoint::{Endpoint, Scheme};
use portcullis_contract::gateway::{
    CreateTunnelRequest, Tunnel, TunnelAccess, TunnelHostnames, UpdateTunnelRequest,
};
use tonic::Status;

use super::Api;

/// What a person wants. What is not said stays as it is where the Tunnel is there already.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    /// Empty: the gateway's own.
    pub(crate) project: String,
    pub(crate) name: Option<String>,
    /// In canonical form.
    pub(crate) endpoint: String,
    /// Tells this machine from others of the same user.
    pub(crate) connector: String,
    pub(crate) label: Option<String>,
    pub(crate) hostnames: Vec<String>,
    /// Empty: HTTP.
    pub(crate) protocol: String,
    pub(crate) access: Option<TunnelAccess>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Had {
    pub(super) tunnel: Tunnel,
    /// It was not there before.
    pub(super) created: bool,
    /// It was, and was not as it is wanted.
    pub(super) changed: bool,
}

/// Makes it, or finds it and puts it right.
///
/// # Errors
/// What the gateway says.
pub(super) async fn have(api: &mut Api, wanted: &Wanted) -> Result<Had, Status> {
    let created = api.create_tunnel(wanted.create()).await?.into_inner();
    let tunnel = created.tunnel.ok_or_else(|| Status::internal("the gateway named no Tunnel"))?;
    if created.created {
        return Ok(Had { tunnel, created: true, changed: false });
    }
    match wanted.update(&tunnel) {
        None => Ok(Had { tunnel, created: false, changed: false }),
        Some(update) => {
            let tunnel = api.update_tunnel(update).await?.into_inner();
            Ok(Had { tunnel, created: false, changed: true })
        }
    }
}

impl Wanted {
    fn create(&self) -> CreateTunnelRequest {
        CreateTunnelRequest {
            namespace: self.project.clone(),
            name: self.name.clone().unwrap_or_default(),
            endpoint: self.endpoint.clone(),
            connector: self.connector.clone(),
            hostnames: self.hostnames.clone(),
            label: self.label.clone().unwrap_or_default(),
            protocol: self.protocol.clone(),
            enabled: Some(true),
            access: self.access.clone(),
        }
    }

    /// What has to change of one that is there already.
    fn update(&self, tunnel: &Tunnel) -> Option<UpdateTunnelRequest> {
        let label = self.label.clone().filter(|label| *label != tunnel.label);
        let hostnames = !self.hostnames.is_empty() && self.hostnames != tunnel.hostnames;
        let access = self.access.clone().filter(|access| Some(access) != tunnel.access.as_ref());
        if tunnel.enabled && label.is_none() && !hostnames && access.is_none() {
            return None;
        }
        Some(UpdateTunnelRequest {
            namespace: tunnel.namespace.clone(),
            name: tunnel.name.clone(),
            label,
            hostnames: hostnames.then(|| TunnelHostnames { hostnames: self.hostnames.clone() }),
            enabled: (!tunnel.enabled).then_some(true),
            access,
            ..UpdateTunnelRequest::default()
        })
    }
}

/// An endpoint as people write it: `3000`, `host:3000` or a URL.
///
/// # Errors
/// Where it is none; says what to write.
pub(crate) fn endpoint(text: &str, otherwise: Scheme) -> Result<Endpoint, String> {
    let is_port = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let full = if is_port { format!("localhost:{text}") } else { text.to_owned() };
    Endpoint::read(&full, otherwise).map_err(|_| {
        format!(
            "{text:?} is no endpoint: write a port, HOST:PORT or a URL, such as 3000 or http://localhost:3000"
        )
    })
}

#[cfg(test)]
mod tests {
    use portcullis_contract::gateway::VisitorAuth;

    use super::super::access;
    use super::*;
    use crate::options::Visitors;

    fn there() -> Tunnel {
        Tunnel {
            namespace: "shop".into(),
            name: "merry-otter".into(),
            label: "web".into(),
            enabled: true,
            ..Tunnel::default()
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let wanted = Wanted { endpoint: "http://localhost:3000".into(), ..Wanted::default() };
        assert_eq!(wanted.update(&there()), None);
        let off = Tunnel { enabled: false, ..there() };
        let update = wanted.update(&off).unwrap();
        assert_eq!((update.enabled, update.label, update.hostnames), (Some(true), None, None));
    }

    #[test]
    fn what_is_said_is_put_right_and_what_is_so_already_is_left() {
        let wanted = Wanted { label: Some("web".into()), ..Wanted::default() };
        assert_eq!(wanted.update(&there()), None);
        let everybody = Visitors { public: true, ..Visitors::default() };
        let other = Wanted { label: Some("shop".into()), access: access(everybody), ..Wanted::default() };
        let update = other.update(&there()).unwrap();
        assert_eq!((update.label.as_deref(), update.enabled), (Some("shop"), None));
        assert_eq!(update.access.unwrap().auth(), VisitorAuth::None);
    }

    #[test]
    fn endpoints_are_written_as_people_write_them() {
        for (text, endpoint_) in [
            ("3000", "http://localhost:3000"),
            ("localhost:3000", "http://localhost:3000"),
            ("127.0.0.1:3000", "http://localhost:3000"),
            ("https://10.0.0.7:8443", "https://10.0.0.7:8443"),
        ] {
            assert_eq!(endpoint(text, Scheme::Http).unwrap().to_string(), endpoint_);
        }
        assert_eq!(endpoint("5432", Scheme::Tcp).unwrap().to_string(), "tcp://localhost:5432");
        for bad in ["", "0", "70000", "ftp://localhost:21", "host"] {
            assert!(endpoint(bad, Scheme::Http).unwrap_err().contains("such as 3000"), "{bad}");
        }
    }
}
