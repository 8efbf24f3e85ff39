//! How long it takes until a door answers at all.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::caller::Caller;

/// Between one attempt and the next.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long the only one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until the answer is 200.
///
/// # Errors
/// Where that takes longer than `limit`; the last failure is told.
pub async fn await_first(caller: &Caller, limit: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let failure = match tokio::time::timeout(ATTEMPT, attempt(caller)).await {
            Ok(Ok(200)) => return Ok(()),
            Ok(Ok(status)) => format!("status {status}"),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer in time".to_owned(),
        };
        if began.elapsed() > limit {
            bail!("not answered within {} s: {failure}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the door says now in place of 200; none where it says that. Slow is no other answer.
pub async fn failure(caller: &Caller) -> Option<String> {
    match tokio::time::timeout(PATIENCE, attempt(caller)).await {
        Ok(Ok(200)) => None,
        Ok(Ok(status)) => Some(format!("status {status}")),
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some("no answer".to_owned()),
    }
}

async fn attempt(caller: &Caller) -> Result<u16> {
    let mut session = caller.connect().await?;
    let status = session.ask().await?;
    session.close().await?;
    Ok(status)
}
