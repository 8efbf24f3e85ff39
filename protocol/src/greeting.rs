//! The greeting: one Hello of the connector, one answer of the gateway, each within its time. HTTP/2 begins after it.

use std::io;

use portcullis_contract::tunnel::answer::Answer as Reply;
use portcullis_contract::tunnel::refusal::Code;
use portcullis_contract::tunnel::{Answer, Hello, Refusal, Welcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::limits::{GREETING_TIME, OFFERS, PATIENCE};
use crate::{VERSION, message};

/// Why there is no welcome.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The connection broke, or what came was no answer.
    #[error("failed to greet the gateway")]
    Stream(#[from] io::Error),
    /// The gateway took too long.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// It says no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It speaks a version that was not offered.
    #[error(
        "the gateway answers in version {0} of the protocol, which this connector does not speak: update the connector"
    )]
    Version(u32),
}

/// The connector's part: says Hello, and reads the answer.
///
/// # Errors
/// Where there is no welcome.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &Hello,
) -> Result<Welcome, Failed> {
    let exchange = async {
        message::write(stream, hello).await?;
        message::read::<Answer>(stream).await
    };
    match timeout(GREETING_TIME + PATIENCE, exchange).await {
        Err(_) => Err(Failed::TimedOut),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(Answer { answer: Some(Reply::Refusal(refusal)) })) => Err(Failed::Refused(refusal)),
        Ok(Ok(Answer { answer: Some(Reply::Welcome(welcome)) })) if welcome.version == VERSION => Ok(welcome),
        Ok(Ok(Answer { answer: Some(Reply::Welcome(welcome)) })) => Err(Failed::Version(welcome.version)),
        Ok(Ok(Answer { answer: None })) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that says nothing").into())
        }
    }
}

/// The gateway's first part: reads Hello, and checks what can be checked of it alone.
///
/// # Errors
/// Where it is none; says what to tell the connector.
pub async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Hello, Refusal> {
    let hello = match timeout(GREETING_TIME, message::read::<Hello>(stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return Err(refusal(Code::Protocol, format!("no Hello could be read: {error}"))),
        Err(_) => return Err(refusal(Code::Protocol, "no Hello came in time")),
    };
    check(&hello)?;
    Ok(hello)
}

fn check(hello: &Hello) -> Result<(), Refusal> {
    if !hello.versions.contains(&VERSION) {
        let text =
            format!("this gateway speaks version {VERSION} of the protocol; update the older of the two");
        return Err(refusal(Code::Protocol, text));
    }
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !(1..=64).contains(&hello.connector.len()) || !hello.connector.bytes().all(is_plain) {
        return Err(refusal(Code::Protocol, "a connector's id has 1 to 64 of a-z, 0-9 and '-'"));
    }
    if !(1..=OFFERS).contains(&hello.offers.len()) {
        let text =
            format!("a connection serves between 1 and {OFFERS} tunnels; open more connections for more");
        return Err(refusal(Code::Protocol, text));
    }
    Ok(())
}

/// The gateway's last part.
///
/// # Errors
/// Those of the stream.
pub async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: Result<Welcome, Refusal>,
) -> io::Result<()> {
    let reply = match answer {
        Ok(welcome) => Reply::Welcome(welcome),
        Err(refusal) => Reply::Refusal(refusal),
    };
    let answer = Answer { answer: Some(reply) };
    match timeout(GREETING_TIME, message::write(stream, &answer)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A no.
pub fn refusal(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code: code.into(), message: message.into(), replicas: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_contract::tunnel::Offer;

    fn hello() -> Hello {
        Hello {
            versions: vec![VERSION],
            connector: "c-1".to_owned(),
            offers: vec![Offer::default()],
            ..Hello::default()
        }
    }

    #[tokio::test]
    async fn hello_and_welcome_cross_the_stream() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let gateway = async {
            let heard = hear(&mut far).await.unwrap();
            answer(
                &mut far,
                Ok(Welcome { version: VERSION, replica: "door-1".into(), ..Welcome::default() }),
            )
            .await
            .unwrap();
            heard
        };
        let (welcome, said) = (hello(), ());
        let (greeted, heard) = tokio::join!(greet(&mut near, &welcome), gateway);
        assert_eq!((greeted.unwrap().replica.as_str(), heard, said), ("door-1", hello(), ()));
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        answer(&mut far, Err(refusal(Code::Forbidden, "ask for the scope tunnel:write"))).await.unwrap();
        let error = greet(&mut near, &hello()).await.unwrap_err();
        assert_eq!(error.to_string(), "ask for the scope tunnel:write");
    }

    #[test]
    fn a_hello_that_cannot_be_served_is_refused() {
        assert!(check(&hello()).is_ok());
        assert!(check(&Hello { versions: vec![2], ..hello() }).is_err());
        assert!(check(&Hello { connector: String::new(), ..hello() }).is_err());
        assert!(check(&Hello { connector: "A B".into(), ..hello() }).is_err());
        assert!(check(&Hello { offers: Vec::new(), ..hello() }).is_err());
        assert!(check(&Hello { offers: vec![Offer::default(); OFFERS + 1], ..hello() }).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_refused_in_time() {
        let (_near, mut far) = tokio::io::duplex(64);
        assert!(hear(&mut far).await.unwrap_err().message.contains("in time"));
    }

    #[tokio::test]
    async fn bytes_that_are_no_hello_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0, 0, 0, 2, 0xff, 0xff],
            &[0, 0],
        ] {
            assert_eq!(hear(&mut &bytes[..]).await.unwrap_err().code(), Code::Protocol, "{bytes:?}");
        }
    }
}
