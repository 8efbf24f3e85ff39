//! How a request of ours becomes one to the operator: in whose name, and with which rights.

use std::time::Duration;

use portcullis_contract::control::Caller;
use portcullis_contract::control::call::Request as Call;
use portcullis_contract::control::call_answer::Answer;
use tonic::{Request, Status};

use super::{Asked, asked};
use crate::control::Pending;

/// Asks, and waits for the answer. What the request says is the operator's to judge.
pub(super) async fn ask<T>(request: Request<T>, call: impl FnOnce(T) -> Call) -> Result<Answer, Status> {
    taking_tunnels(&request)?;
    ask_of_itself(request, call).await
}

/// Asks about the gateway, whether or not it takes Tunnels.
pub(super) async fn ask_of_itself<T>(
    request: Request<T>,
    call: impl FnOnce(T) -> Call,
) -> Result<Answer, Status> {
    let asked = asked(&request)?.clone();
    asked.calls.ask(caller(&asked), call(request.into_inner())).await
}

/// Asks about the client certificate that the caller came with, and says where from.
pub(super) async fn ask_of_certificate<T>(
    request: Request<T>,
    call: impl FnOnce(T) -> Call,
) -> Result<Answer, Status> {
    let asked = asked(&request)?.clone();
    // The decision has let nobody through without one.
    let certificate = asked.connection.certificate();
    let certificate = certificate.ok_or_else(|| Status::unauthenticated("no client certificate"))?;
    let caller = Caller {
        certificate: certificate.der.to_vec(),
        address: asked.connection.peer().ip().to_canonical().to_string(),
        ..caller(&asked)
    };
    asked.calls.ask(caller, call(request.into_inner())).await
}

/// Asks for what is answered again and again; says too for how long the caller's evidence holds.
pub(super) async fn watch<T>(
    request: Request<T>,
    call: impl FnOnce(T) -> Call,
) -> Result<(Pending, Duration), Status> {
    let asked = taking_tunnels(&request)?.clone();
    let pending = asked.calls.watch(caller(&asked), call(request.into_inner())).await?;
    let left = asked.principal.expires_at.saturating_sub(asked.now);
    Ok((pending, Duration::from_secs(u64::try_from(left).unwrap_or_default())))
}

/// An answer to something else than was asked: a defect of the operator, or another version of it.
pub(super) fn unexpected() -> Status {
    Status::internal("the operator answered something else than it was asked")
}

fn taking_tunnels<T>(request: &Request<T>) -> Result<&Asked, Status> {
    let asked = asked(request)?;
    if asked.config.tunnels.is_none() {
        return Err(Status::unimplemented("this gateway takes no Tunnels: see spec.tunnels"));
    }
    Ok(asked)
}

/// The roles are those of the evidence that permits this very method: an admin who is not let in by that role asks as
/// what lets them in.
fn caller(asked: &Asked) -> Caller {
    let token = asked.principal.token.as_ref();
    Caller {
        user: asked.principal.user.clone(),
        roles: asked.principal.roles_for(&asked.rule),
        subject: token.map(|it| it.subject.clone()).unwrap_or_default(),
        issuer: token.map(|it| it.issuer.clone()).unwrap_or_default(),
        ..Caller::default()
    }
}
