//! A probe that comes in as a visitor would, where there is no HTTP to say so: it says so in the protocols that its
//! handshake names, or in its first bytes. It is told, under a seal, whether the endpoint would have accepted.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::accepts;
use crate::metrics::Passed;
use crate::shared::Shared;
use crate::tunnel::fault::TunnelFault;
use crate::tunnel::names::Tunnel;
use crate::tunnel::pass::Passes;

/// What a probe begins with, and its answer. The pass follows, up to the line's end or the protocol's.
pub(super) const MARKER: &str = "portcullis-probe ";
/// The longest beginning of a probe.
pub(super) const LONGEST: usize = 128;
/// How long whoever is turned away may take to say that it is a probe.
const PATIENCE: Duration = Duration::from_millis(500);

/// A probe that has come.
#[derive(Debug)]
pub(super) struct Asked {
    pass: String,
}

impl Asked {
    /// Whether these bytes are a probe's of this tunnel.
    pub(super) fn read(bytes: &[u8], shared: &Shared, tunnel: &Tunnel) -> Option<Self> {
        let pass = bytes.strip_prefix(MARKER.as_bytes())?;
        let pass = std::str::from_utf8(pass.split(|byte| *byte == b'\n').next()?).ok()?;
        let holds = shared.passes.holds(pass, &tunnel.uid, shared.clock.now());
        holds.then(|| Self { pass: pass.to_owned() })
    }

    /// Looks for a moment whether one has come that nobody has read anything of.
    pub(super) async fn wait(stream: &TcpStream, shared: &Shared, tunnel: &Tunnel) -> Option<Self> {
        let mut first = [0; LONGEST];
        let length = tokio::time::timeout(PATIENCE, stream.peek(&mut first)).await.ok()?.ok()?;
        let asked = Self::read(&first[..length], shared, tunnel)?;
        // What is left unread would turn the answer into a reset.
        stream.try_read(&mut first).ok()?;
        Some(asked)
    }

    /// Finds out, and says so.
    pub(super) async fn answer(self, shared: &Shared, tunnel: &Tunnel, write: &mut OwnedWriteHalf) {
        shared.metrics.passed(Passed::Probe);
        let found = accepts(shared, tunnel).await;
        let result = found.map_or_else(words, |()| "passed".to_owned());
        let Some(seal) = shared.passes.seal(&answered(&self.pass, &result)) else { return };
        // What the endpoint has said by itself may stand before it.
        let answer = format!("\n{MARKER}{seal} {result}\n");
        let said = async {
            write.write_all(answer.as_bytes()).await?;
            write.shutdown().await
        };
        // A probe that is gone asks again.
        let _ = tokio::time::timeout(PATIENCE, said).await;
    }
}

fn words(fault: TunnelFault) -> String {
    format!("{} {}", fault.hop(), fault.detail())
}

fn answered(pass: &str, result: &str) -> String {
    format!("answered {pass} {result}")
}

/// What a replica of this gateway has answered to this pass: `passed`, or the hop that broke and what to do. None: nothing
/// that one would say.
pub(super) fn read_answer<'a>(bytes: &'a [u8], pass: &str, passes: &Passes) -> Option<&'a str> {
    let at = bytes.windows(MARKER.len()).rposition(|window| window == MARKER.as_bytes())?;
    let line = std::str::from_utf8(&bytes[at + MARKER.len()..]).ok()?.trim_end_matches('\n');
    let (seal, result) = line.split_once(' ')?;
    passes.is_seal(seal, &answered(pass, result)).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_under_the_seal_for_this_pass_alone() {
        let (passes, others) = (Passes::default(), Passes::default());
        passes.set_key(b"the server's");
        others.set_key(b"another's");
        let seal = passes.seal(&answered("1.a", "passed")).unwrap();
        let line = format!("220 hello\r\n\n{MARKER}{seal} passed\n");
        assert_eq!(read_answer(line.as_bytes(), "1.a", &passes), Some("passed"));
        assert_eq!(read_answer(line.as_bytes(), "1.b", &passes), None);
        assert_eq!(read_answer(line.as_bytes(), "1.a", &others), None);
        let changed = line.replace("passed", "failed");
        assert_eq!(read_answer(changed.as_bytes(), "1.a", &passes), None);
        assert_eq!(read_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", "1.a", &passes), None);
    }
}
