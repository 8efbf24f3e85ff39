//! Messages in a stream: four bytes of length, most significant first, then the message.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::limits::MESSAGE;

const LENGTH: usize = 4;

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MESSAGE`].
    #[error("a message of {0} bytes: the longest has {MESSAGE}")]
    TooLong(usize),
    /// Not what was expected at this place.
    #[error("failed to decode a message")]
    Undecodable(#[from] prost::DecodeError),
}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Whether the other side would read a message of this length, with something around it.
pub fn fits(message: &impl Message) -> bool {
    message.encoded_len() + LENGTH * 2 <= MESSAGE
}

/// A message with its length before it.
pub fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(LENGTH + length);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows as it must.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// Takes the first whole message out of what has come in so far; None where there is none yet.
///
/// # Errors
/// Where it is none.
pub fn take<M: Message + Default>(buffer: &mut BytesMut) -> Result<Option<M>, Malformed> {
    let Some(length) = buffer.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MESSAGE {
        return Err(Malformed::TooLong(length));
    }
    if buffer.len() < LENGTH + length {
        return Ok(None);
    }
    buffer.advance(LENGTH);
    Ok(Some(M::decode(buffer.split_to(length))?))
}

/// Writes one.
///
/// # Errors
/// Those of the stream.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    stream.write_all(&encode(message)).await?;
    stream.flush().await
}

/// Reads one, and not a byte more.
///
/// # Errors
/// Those of the stream; its end; bytes that are no message.
pub async fn read<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MESSAGE {
        return Err(Malformed::TooLong(length).into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    M::decode(bytes.as_slice()).map_err(|error| Malformed::from(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_contract::tunnel::{Hello, Offer};
    use proptest::prelude::*;

    fn hello(connector: String, names: Vec<String>) -> Hello {
        let offers = names.into_iter().map(|name| Offer { name, ..Offer::default() }).collect();
        Hello { versions: vec![1], connector, offers, ..Hello::default() }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            connectors in proptest::collection::vec(("[a-z]{0,9}", proptest::collection::vec(".{0,9}", 0..5)), 1..5),
            cut in 1_usize..40,
        ) {
            let sent: Vec<Hello> = connectors.into_iter().map(|(name, names)| hello(name, names)).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|message| encode(message).to_vec()).collect();
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(message) = take::<Hello>(&mut buffer).unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, sent);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn whatever_comes_in_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = take::<Hello>(&mut buffer) {}
        }
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_refused_before_it_is_read() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        let error = read::<Hello>(&mut &bytes[..]).await.unwrap_err();
        assert!(error.to_string().contains("the longest has"), "{error}");
        assert!(take::<Hello>(&mut BytesMut::from(&bytes[..])).is_err());
    }
}
