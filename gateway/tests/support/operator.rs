//! An operator: the server of the control channel, over mutual TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use portcullis_contract::control::control_server::{Control, ControlServer};
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::control::report::Report as Word;
use portcullis_contract::control::{self, Instruction, Report};
use portcullis_contract::files;
use portcullis_contract::snapshot::{Snapshot, version};
use portcullis_pki::Authority;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use super::{pki, soon};

/// The server, until dropped.
pub(crate) struct Operator {
    pub(crate) address: SocketAddr,
    attached: Mutex<mpsc::Receiver<Attachment>>,
    _task: AbortOnDropHandle<()>,
}

/// One replica that attached.
pub(crate) struct Attachment {
    instructions: mpsc::Sender<Result<Instruction, Status>>,
    reports: Streaming<Report>,
}

struct Service(mpsc::Sender<Attachment>);

#[tonic::async_trait]
impl Control for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<Instruction, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (instructions, stream) = mpsc::channel(8);
        let attachment = Attachment { instructions, reports: request.into_inner() };
        self.0.send(attachment).await.map_err(|_| Status::unavailable("the test has ended"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Gives a replica what it needs to dial the operator.
pub(crate) fn write_credentials(directory: &Path, authority: &Authority) {
    let leaf = pki::replica(authority);
    std::fs::write(directory.join(files::CONTROL_CERTIFICATE), &leaf.certificate_pem).unwrap();
    std::fs::write(directory.join(files::CONTROL_KEY), leaf.key.expose()).unwrap();
    std::fs::write(directory.join(files::CONTROL_CA), &authority.certificate_pem).unwrap();
}

impl Operator {
    pub(crate) async fn new(authority: &Authority) -> Self {
        Self::listening(authority, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn listening(authority: &Authority, address: SocketAddr) -> Self {
        let leaf = pki::server(authority);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(pki::roots(authority)),
            Arc::clone(&provider),
        )
        .build()
        .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(pki::chain(&leaf), pki::key(&leaf))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (attached, attachments) = mpsc::channel(8);
        let incoming = futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async move {
            loop {
                let (stream, _) = listener.accept().await.ok()?;
                if let Ok(stream) = acceptor.accept(stream).await {
                    return Some((Ok::<_, std::io::Error>(stream), (listener, acceptor)));
                }
            }
        });
        let task = tokio::spawn(async move {
            let service = ControlServer::new(Service(attached));
            let _ =
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Self { address, attached: Mutex::new(attachments), _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The next replica that attaches, after its Hello.
    pub(crate) async fn attached(&self) -> (Attachment, control::Hello) {
        let mut attachment = soon("a replica attaches", self.attached.lock().await.recv()).await.unwrap();
        match attachment.report().await {
            Word::Hello(hello) => (attachment, hello),
            other => panic!("the first report is {other:?}"),
        }
    }
}

impl Attachment {
    /// Sends a snapshot and returns its version.
    pub(crate) async fn send(&self, snapshot: &Snapshot) -> String {
        let json = snapshot.to_json().unwrap();
        self.send_json(json.into_bytes()).await
    }

    pub(crate) async fn send_json(&self, json: Vec<u8>) -> String {
        let version = version(&json);
        self.send_as(&version, json).await;
        version
    }

    /// Sends a document under a version that need not be its own.
    pub(crate) async fn send_as(&self, version: &str, json: Vec<u8>) {
        self.tell(Told::Snapshot(control::Snapshot { version: version.to_owned(), json })).await;
    }

    pub(crate) async fn redirect(&self, address: String) {
        self.tell(Told::Redirect(control::Redirect { address })).await;
    }

    /// The next call of the API, whatever else is reported before it.
    pub(crate) async fn call(&mut self) -> control::Call {
        loop {
            if let Word::Call(call) = self.report().await {
                return call;
            }
        }
    }

    /// The next call that nobody waits for any more.
    pub(crate) async fn cancelled(&mut self) -> u64 {
        loop {
            if let Word::Cancel(cancel) = self.report().await {
                return cancel.id;
            }
        }
    }

    pub(crate) async fn answer(&self, id: u64, answer: control::call_answer::Answer) {
        self.tell(Told::Answer(control::CallAnswer { id, answer: Some(answer) })).await;
    }

    async fn tell(&self, told: Told) {
        self.instructions.send(Ok(Instruction { instruction: Some(told) })).await.unwrap();
    }

    /// The next report. Of clients that are seen, only [`Attachment::seen`] tells: they come when they come.
    pub(crate) async fn report(&mut self) -> Word {
        loop {
            match self.any_report().await {
                Word::ClientsSeen(_) => {}
                report => return report,
            }
        }
    }

    /// The next client that was let in, whatever else is reported before it.
    pub(crate) async fn seen(&mut self) -> Vec<control::ClientSeen> {
        loop {
            if let Word::ClientsSeen(seen) = self.any_report().await {
                return seen.clients;
            }
        }
    }

    async fn any_report(&mut self) -> Word {
        soon("a report", self.reports.message()).await.unwrap().unwrap().report.unwrap()
    }

    pub(crate) async fn acknowledged(&mut self) -> control::Acknowledged {
        match self.report().await {
            Word::Acknowledged(acknowledged) => acknowledged,
            other => panic!("not acknowledged but {other:?}"),
        }
    }
}
