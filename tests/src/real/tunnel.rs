//! A port on loopback behind which a Gateway is, through a WebSocket: what the CLI will do, so that any client can be sent
//! through.

use std::io;
use std::net::SocketAddr;

use futures::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A WebSocket to a gateway.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens `/_ws_tunnel` at a name that is found at an address, with more header fields.
pub async fn open(host: &str, address: &str, fields: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let stream = super::tls(&super::roots(), host, (address, 443), &[]).await?;
    let mut request = format!("wss://{host}/_ws_tunnel").into_client_request()?;
    for (field, value) in fields {
        request.headers_mut().append(*field, HeaderValue::from_str(value).unwrap());
    }
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// A port on loopback, each connection to which goes through a WebSocket of its own.
#[derive(Debug)]
pub struct Tunnel {
    /// Where it listens.
    pub address: SocketAddr,
    run: JoinHandle<()>,
}

impl Tunnel {
    /// Listens.
    pub async fn start(host: &str, address: &str, fields: &[(&'static str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (host, address) = (host.to_owned(), address.to_owned());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let at = listener.local_addr().unwrap();
        let run = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (host, address, fields) = (host.clone(), address.clone(), fields.clone());
                tokio::spawn(async move {
                    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    match open(&host, &address, &fields).await {
                        Ok(socket) => println!("a tunnel ended: {:?}", carry(stream, socket).await),
                        Err(error) => println!("no tunnel: {error}"),
                    }
                });
            }
        });
        Self { address: at, run }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Carries bytes both ways until one side ends; what the other said last.
async fn carry(stream: TcpStream, socket: Socket) -> Result<Option<CloseFrame>, Error> {
    let (mut from, mut to) = stream.into_split();
    let (mut send, mut receive) = socket.split();
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from.read(&mut buffer).await? {
                0 => {
                    send.send(Message::Close(None)).await?;
                    return Ok::<_, Error>(());
                }
                read => send.send(Message::binary(buffer[..read].to_vec())).await?,
            }
        }
    };
    let down = async {
        while let Some(message) = receive.next().await {
            match message? {
                Message::Binary(bytes) => to.write_all(&bytes).await?,
                Message::Close(why) => return Ok(why),
                _ => {}
            }
        }
        Err(Error::Io(io::ErrorKind::UnexpectedEof.into()))
    };
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => ended.map(|()| None),
        why = &mut down => why,
    }
}
