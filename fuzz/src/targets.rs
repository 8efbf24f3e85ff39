//! What each fuzz target does with its input. A test of the gateway replays the corpus through the same functions, so
//! that CI sees it.

use std::cell::RefCell;

use bytes::BytesMut;
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::hostname::{Hostname, of_authority};
use portcullis_contract::peer::Held;
use portcullis_contract::tunnel::{Answer, Hello, Instruction};
use portcullis_protocol::limits::{MESSAGE, OFFERS};
use portcullis_protocol::{VERSION, greeting, message};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// Both ends of the greeting read this instead of what the other one says.
pub fn greeting(data: &[u8]) {
    run(async {
        if let Ok(hello) = greeting::hear(&mut &data[..]).await {
            assert!(hello.versions.contains(&VERSION) && (1..=OFFERS).contains(&hello.offers.len()));
            let again = message::encode(&hello);
            assert_eq!(greeting::hear(&mut &again[..]).await.as_ref(), Ok(&hello));
        }
        let mut gateway = tokio::io::join(data, tokio::io::sink());
        if let Ok(welcome) = greeting::greet(&mut gateway, &Hello::default()).await {
            assert_eq!(welcome.version, VERSION);
        }
    });
}

/// Messages come out the same however the bytes are cut; the first byte says how.
pub fn message(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    assert_eq!(taken::<Hello>(bytes, bytes.len()), taken::<Hello>(bytes, cut));
    assert_eq!(taken::<Answer>(bytes, bytes.len()), taken::<Answer>(bytes, cut));
    assert_eq!(taken::<Instruction>(bytes, bytes.len()), taken::<Instruction>(bytes, cut));
    assert_eq!(taken::<Held>(bytes, bytes.len()), taken::<Held>(bytes, cut));
}

/// All messages up to the first bytes that are none; whether there were such.
fn taken<M: prost::Message + Default>(bytes: &[u8], cut: usize) -> (Vec<M>, bool) {
    let (mut buffer, mut all) = (BytesMut::new(), Vec::new());
    for part in bytes.chunks(cut.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match message::take::<M>(&mut buffer) {
                Ok(Some(message)) => all.push(message),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
        assert!(buffer.len() <= 4 + MESSAGE + cut, "more is kept than one message");
    }
    (all, false)
}

/// Either end of a WebSocket reads these bytes as frames; and what one end writes, the other one reads.
pub fn websocket(data: &[u8]) {
    run(async {
        let gateway = portcullis_gateway::fuzzing::websocket(tokio::io::join(data, tokio::io::sink())).await;
        let connector =
            portcullis_cli::connector::fuzzing::websocket(tokio::io::join(data, tokio::io::sink())).await;
        assert!(read(gateway).await.len() <= data.len());
        assert!(read(connector).await.len() <= data.len());
        let Some((shape, rest)) = data.split_first_chunk::<3>() else { return };
        let width = usize::from(u16::from_be_bytes([shape[0], shape[1]])).max(1);
        let piece = usize::from(shape[2]).max(1) * 64;
        let (near, far) = tokio::io::duplex(width);
        let gateway = portcullis_gateway::fuzzing::websocket(near).await;
        let connector = portcullis_cli::connector::fuzzing::websocket(far).await;
        let (from_gateway, mut to_connector) = tokio::io::split(gateway);
        let (from_connector, mut to_gateway) = tokio::io::split(connector);
        let down = write(&mut to_connector, rest, piece);
        let up = write(&mut to_gateway, rest, piece);
        let (heard_up, heard_down) = (exactly(from_gateway, rest.len()), exactly(from_connector, rest.len()));
        let ((), (), heard_up, heard_down) = tokio::join!(down, up, heard_up, heard_down);
        assert!(heard_up == rest && heard_down == rest);
    });
}

async fn read(stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut stream, mut read) = (stream, Vec::new());
    // An error is as good an end as any.
    let _ = stream.read_to_end(&mut read).await;
    read
}

async fn write(to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        to.write_all(piece).await.unwrap();
        to.flush().await.unwrap();
    }
}

async fn exactly(stream: impl AsyncRead + Unpin, length: usize) -> Vec<u8> {
    let (mut stream, mut read) = (stream, vec![0; length]);
    stream.read_exact(&mut read).await.unwrap();
    read
}

/// Names, authorities and endpoints: what is read stays as it is, and means what it says.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<Hostname>() {
        let canonical = name.as_str();
        assert_eq!(canonical.parse::<Hostname>().as_ref(), Ok(&name));
        assert!(canonical.len() <= 253 && canonical.is_ascii());
        assert!(name.wildcard_parent().is_some() || name.is_within(&name));
        assert!(!canonical.bytes().any(|byte| byte.is_ascii_uppercase() || b"/:@ \r\n\0".contains(&byte)));
        let named = of_authority(canonical);
        assert_eq!(named.as_ref(), Some(&name).filter(|name| name.wildcard_parent().is_none()));
        assert_eq!(of_authority(&format!("{canonical}:443")), named);
    }
    if let Some(name) = of_authority(text) {
        assert!(name.wildcard_parent().is_none());
        assert_eq!(of_authority(name.as_str()), Some(name));
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        let canonical = endpoint.to_string();
        assert_eq!(canonical.parse::<Endpoint>(), Ok(endpoint.clone()), "{canonical}");
        let authority: http::uri::Authority = endpoint.authority().parse().unwrap();
        assert_eq!(authority.port_u16(), Some(endpoint.port));
    }
}

/// On a runtime that this thread keeps.
fn run(work: impl Future<Output = ()>) {
    thread_local! {
        static RUNTIME: RefCell<tokio::runtime::Runtime> =
            RefCell::new(tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(work));
}
