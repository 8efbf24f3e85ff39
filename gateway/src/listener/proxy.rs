//! The PROXY protocol, v1 and v2: a trusted proxy says, before anything else, whose connection it passes on.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is read: addresses, and some of what may follow them.
const LONGEST_BODY: usize = 2048;

/// Reads the header and nothing beyond it. None: the proxy speaks for itself, or does not know for whom.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        header.extend_from_slice(&rest);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > LONGEST_BODY {
            return Err(wrong());
        }
        header.resize(header.len() + length, 0);
        stream.read_exact(&mut header[SIGNATURE.len() + rest.len()..]).await?;
        return version_2(&header);
    }
    while !header.ends_with(b"\r\n") {
        if header.len() == LONGEST_LINE || !header.starts_with(b"PROXY ") {
            return Err(wrong());
        }
        header.push(stream.read_u8().await?);
    }
    version_1(&header)
}

fn version_1(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = ppp::v1::Header::try_from(header).map_err(|_| wrong())?;
    Ok(match header.addresses {
        ppp::v1::Addresses::Unknown => None,
        ppp::v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
        ppp::v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
    })
}

fn version_2(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = ppp::v2::Header::try_from(header).map_err(|_| wrong())?;
    Ok(match (header.command, header.addresses) {
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv4(it)) => {
            Some((it.source_address, it.source_port).into())
        }
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv6(it)) => {
            Some((it.source_address, it.source_port).into())
        }
        _ => None,
    })
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let address = read(&mut bytes).await?;
        Ok((address, bytes.to_vec()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, addresses].concat()
    }

    #[tokio::test]
    async fn both_versions_say_who_connects_and_leave_what_follows() {
        let four = v2(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1F, 0x90, 0, 80]);
        let six = v2(
            1,
            0x21,
            &[&[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0x1F, 0x90, 0, 80]]
                .concat(),
        );
        for (header, address) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), "192.0.2.7:8080"),
            (b"PROXY TCP6 2001:db8::7 ::1 8080 80\r\n".to_vec(), "[2001:db8::7]:8080"),
            (four, "192.0.2.7:8080"),
            (six, "[2001:db8::7]:8080"),
        ] {
            let (told, rest) = read_all(&[&header[..], b"GET /"].concat()).await.unwrap();
            assert_eq!((told, rest.as_slice()), (Some(address.parse().unwrap()), &b"GET /"[..]));
        }
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0, 0, &[])] {
            assert_eq!(read_all(&header).await.unwrap().0, None);
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200], b"\r\n".to_vec()].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
            b"PROXY TCP4 x y 1 2\r\n".to_vec(),
            b"PROXY".to_vec(),
            long,
            v2(1, 0x11, &[1, 2, 3]),
            [&SIGNATURE[..], &[0x21, 0x11, 0xFF, 0xFF]].concat(),
        ] {
            assert!(read_all(&bytes).await.is_err(), "{bytes:?}");
        }
    }
}
