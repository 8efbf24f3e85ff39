//! Whether a gateway is there, and takes us for somebody: by real calls, with what will be stored.

use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{GetInfoRequest, GetInfoResponse, WhoAmIRequest, WhoAmIResponse};

use super::Resolved;
use crate::channel::{Access, Channel};
use crate::failure::Failure;

/// What a gateway said of itself and of us.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Which gateway this is.
    pub info: GetInfoResponse,
    /// Whom it takes us for.
    pub me: WhoAmIResponse,
}

/// Asks it both.
///
/// # Errors
/// Where it is not there, or does not know us.
pub async fn verify(gateway: &Resolved, access: &Access) -> Result<Verified, Failure> {
    let channel = Channel::open(gateway, access).await?;
    let mut client = GatewayClient::new(channel.service());
    let mut again = client.clone();
    let (info, me) = tokio::join!(
        channel.call("ask which gateway this is", client.get_info(GetInfoRequest {})),
        channel.call("ask who is calling", again.who_am_i(WhoAmIRequest {})),
    );
    Ok(Verified { info: info?, me: me? })
}
