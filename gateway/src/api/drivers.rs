//! How a request of ours becomes one to a driver: on whose behalf, by when, and what becomes of its failures.

use std::sync::LazyLock;
use std::time::Duration;

use http::Uri;
use portcullis_contract::snapshot::DriverKind;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Response, Status};

use super::asked;
use crate::driver::Line;

/// What a driver is called in requests to it; nobody resolves it.
pub(super) static ORIGIN: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://driver"));
/// On whose behalf a driver is asked.
const USER: &str = "x-portcullis-user";
/// How long a driver may take to answer, or to begin a stream.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The connection to the driver of this kind.
pub(super) fn line<T>(request: &Request<T>, kind: DriverKind) -> Result<Line, Status> {
    let asked = asked(request)?;
    let driver = asked.config.driver(kind).ok_or_else(|| {
        Status::unimplemented(format!("this gateway has no {} driver: see spec.drivers", kind.as_str()))
    })?;
    driver.line().map_err(Status::unavailable)
}

/// Asks, and waits for the answer.
pub(super) async fn unary<T, R>(
    request: Request<T>,
    ask: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
) -> Result<Response<R>, Status> {
    let answer = open(request, ask).await?;
    // Only what the message says is the driver's to say.
    Ok(Response::new(answer.into_inner()))
}

/// Asks, and waits until the answer begins.
pub(super) async fn open<T, R>(
    request: Request<T>,
    ask: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
) -> Result<Response<R>, Status> {
    let user = asked(&request)?.principal.user_header.to_str().ok().and_then(|user| user.parse().ok());
    let mut outgoing = Request::new(request.into_inner());
    outgoing.metadata_mut().insert(USER, user.unwrap_or_else(|| AsciiMetadataValue::from_static("")));
    outgoing.set_timeout(ANSWER_TIME);
    match tokio::time::timeout(ANSWER_TIME, ask(outgoing)).await {
        Ok(answer) => answer.map_err(|status| failure(&status)),
        Err(_) => Err(Status::deadline_exceeded("the driver does not answer")),
    }
}

/// A driver's refusal in its own words; what broke on the way to it, in ours. Details and metadata are not passed on.
fn failure(status: &Status) -> Status {
    let broken = std::error::Error::source(status).is_some();
    match status.code() {
        _ if broken => Status::unavailable("the driver broke off: try again"),
        Code::Ok | Code::Unknown | Code::Internal => Status::internal("the driver failed"),
        code => Status::new(code, status.message()),
    }
}
