//! A gateway's replica as the operator meets it, without the gateway: a pod that is written straight to the API server,
//! and a client of the control channel with whatever certificate the test likes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use portcullis_contract::control::call::Request;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::control::control_client::ControlClient;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::control::report::Report as Said;
use portcullis_contract::control::{
    Acknowledged, Call, CallAnswer, Caller, Cancel, ClientSeen, ClientsSeen, Hello, Instruction, Rejected,
    Report, Snapshot, Surroundings, TunnelReport,
};
use portcullis_contract::files;
use portcullis_contract::snapshot;
use portcullis_operator::names;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status, Streaming};

use crate::operator::Operator;

/// What a replica shows and trusts on the control channel.
#[derive(Clone)]
pub struct Credentials {
    /// Certificate and key; None: it shows none.
    pub own: Option<(String, String)>,
    /// The roots that it trusts.
    pub trusted: String,
    /// The name that it expects.
    pub host: String,
}

impl Credentials {
    /// From the server Secret that the operator wrote for a Gateway; its control channel goes by its usual name.
    pub async fn of(client: &Client, namespace: &str, gateway: &str) -> Self {
        let data = secret(client, namespace, &names::server_secret(gateway)).await;
        Self {
            own: Some((data[files::CONTROL_CERTIFICATE].clone(), data[files::CONTROL_KEY].clone())),
            trusted: data[files::CONTROL_CA].clone(),
            host: format!("portcullis-operator.{namespace}.svc"),
        }
    }

    /// The same, showing the bundle of a client of the Gateway.
    pub async fn with_bundle(self, client: &Client, namespace: &str, name: &str) -> Self {
        let data = secret(client, namespace, name).await;
        Self { own: Some((data[files::SERVER_CERTIFICATE].clone(), data[files::SERVER_KEY].clone())), ..self }
    }
}

/// What is in a Secret, as text.
pub async fn secret(client: &Client, namespace: &str, name: &str) -> BTreeMap<String, String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let data = secrets.get(name).await.expect("the Secret is there").data.unwrap_or_default();
    data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).expect("it is PEM"))).collect()
}

/// A replica `door-1` of the Gateway `door` that serves whatever it is told, until its operator is gone.
pub fn obedient(client: Client, namespace: String, operator: &Operator) -> JoinHandle<()> {
    let address = operator.control;
    tokio::spawn(async move {
        let shows = Credentials::of(&client, &namespace, "door").await;
        let mut replica = Replica::attach_soon(address, &shows, "door-1").await;
        while let Some(Told::Snapshot(told)) = replica.told().await {
            let read = snapshot::Snapshot::from_json(&told.json).unwrap();
            replica.acknowledge(&told.version, &read.server_fingerprint).await;
        }
    })
}

/// An attached replica.
pub struct Replica {
    say: mpsc::Sender<Report>,
    told: Streaming<Instruction>,
    asked: u64,
    /// Answers to other calls than the one that was waited for, in order.
    answers: Vec<CallAnswer>,
}

impl Replica {
    /// Dials the operator and says Hello for a pod.
    pub async fn attach(address: SocketAddr, shows: &Credentials, pod: &str) -> Result<Self, Status> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&shows.trusted))
            .domain_name(&shows.host);
        if let Some((certificate, key)) = &shows.own {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Channel::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
        let refused = |error: tonic::transport::Error| Status::unknown(format!("{error:?}"));
        let mut client = ControlClient::new(endpoint.connect().await.map_err(refused)?);
        let (say, reports) = mpsc::channel(8);
        let hello = Hello { pod: pod.to_owned(), binary_version: "test".to_owned() };
        say.send(Report { report: Some(Said::Hello(hello)) }).await.expect("the receiver is here");
        let told = client.attach(ReceiverStream::new(reports)).await?.into_inner();
        Ok(Self { say, told, asked: 0, answers: Vec::new() })
    }

    /// The same, with an operator that is about to lead.
    pub async fn attach_soon(address: SocketAddr, shows: &Credentials, pod: &str) -> Self {
        let began = tokio::time::Instant::now();
        loop {
            match Self::attach(address, shows, pod).await {
                Ok(replica) => return replica,
                Err(status) => {
                    // It does not listen yet, or does not lead yet.
                    let patient = [tonic::Code::Unknown, tonic::Code::Unavailable];
                    assert!(patient.contains(&status.code()), "{status:?}");
                    assert!(began.elapsed() < crate::PATIENCE, "{status:?}");
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The next instruction; None where the operator let go.
    pub async fn told(&mut self) -> Option<Told> {
        let told = tokio::time::timeout(crate::PATIENCE, self.told.message()).await.expect("in time");
        told.ok().flatten().and_then(|it| it.instruction)
    }

    /// The next snapshot, with its version checked against its bytes.
    pub async fn snapshot(&mut self) -> (Snapshot, snapshot::Snapshot) {
        let Some(Told::Snapshot(told)) = self.told().await else { panic!("expected a snapshot") };
        assert_eq!(told.version, snapshot::version(&told.json));
        let read = snapshot::Snapshot::from_json(&told.json).expect("it is a snapshot");
        (told, read)
    }

    /// Says that it serves a version, with a certificate.
    pub async fn acknowledge(&self, version: &str, fingerprint: &str) {
        let (version, served_fingerprint) = (version.to_owned(), fingerprint.to_owned());
        self.say(Said::Acknowledged(Acknowledged { version, served_fingerprint })).await;
    }

    /// Takes the next snapshot and serves it.
    pub async fn serve_next(&mut self) {
        let (told, read) = self.snapshot().await;
        self.acknowledge(&told.version, &read.server_fingerprint).await;
    }

    /// Refuses a version.
    pub async fn reject(&self, version: &str, reason: &str) {
        let (version, reason) = (version.to_owned(), reason.to_owned());
        self.say(Said::Rejected(Rejected { version, reason })).await;
    }

    /// Says how it gets on with issuers and drivers.
    pub async fn surroundings(&self, surroundings: Surroundings) {
        self.say(Said::Surroundings(surroundings)).await;
    }

    /// Says what it knows of a tunnel.
    pub async fn tunnel(&self, report: TunnelReport) {
        self.say(Said::Tunnel(report)).await;
    }

    /// Says that a client was let in, as replicas did that knew nothing of authorities.
    pub async fn saw(&self, client: &str, at_ms: i64, address: &str) {
        let seen = ClientSeen {
            client: client.to_owned(),
            at_ms,
            address: address.to_owned(),
            ..ClientSeen::default()
        };
        self.saw_all(vec![seen]).await;
    }

    /// Says whom it has let in.
    pub async fn saw_all(&self, clients: Vec<ClientSeen>) {
        self.say(Said::ClientsSeen(ClientsSeen { clients })).await;
    }

    /// Asks as the gateway does for somebody who calls its API; returns the call's number.
    pub async fn ask(&mut self, user: &str, roles: &[&str], request: Request) -> u64 {
        self.asked += 1;
        let roles = roles.iter().map(ToString::to_string).collect();
        let caller = Caller { user: user.to_owned(), roles, ..Caller::default() };
        self.say(Said::Call(Call { id: self.asked, caller: Some(caller), request: Some(request) })).await;
        self.asked
    }

    /// Asks for somebody who has shown this certificate (PEM), and waits for the answer. None where the operator is gone.
    pub async fn call_shown(
        &mut self,
        user: &str,
        certificate: &str,
        request: Request,
    ) -> Option<Result<Answer, (Code, String)>> {
        self.asked += 1;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).expect("it is PEM");
        let caller = Caller {
            user: user.to_owned(),
            certificate: pem.contents,
            address: "192.0.2.7".to_owned(),
            ..Caller::default()
        };
        let call = Call { id: self.asked, caller: Some(caller), request: Some(request) };
        self.say.send(Report { report: Some(Said::Call(call)) }).await.ok()?;
        self.answer_or_end(self.asked).await
    }

    /// Nobody waits for a call any more.
    pub async fn cancel(&self, id: u64) {
        self.say(Said::Cancel(Cancel { id })).await;
    }

    /// The next answer to a call, or why it was refused; snapshots that come meanwhile are served.
    pub async fn answer(&mut self, id: u64) -> Result<Answer, (Code, String)> {
        self.answer_or_end(id).await.expect("the operator is there")
    }

    async fn answer_or_end(&mut self, id: u64) -> Option<Result<Answer, (Code, String)>> {
        loop {
            if let Some(at) = self.answers.iter().position(|answer| answer.id == id) {
                return Some(match self.answers.remove(at).answer.expect("it says something") {
                    Answer::Refusal(refusal) => Err((Code::from_i32(refusal.code), refusal.message)),
                    answer => Ok(answer),
                });
            }
            match self.told().await? {
                Told::Snapshot(told) => {
                    let read = snapshot::Snapshot::from_json(&told.json).expect("it is a snapshot");
                    let (version, served_fingerprint) = (told.version, read.server_fingerprint);
                    let served = Said::Acknowledged(Acknowledged { version, served_fingerprint });
                    self.say.send(Report { report: Some(served) }).await.ok()?;
                }
                Told::Answer(answer) => self.answers.push(answer),
                other @ Told::Redirect(_) => panic!("no answer but {other:?}"),
            }
        }
    }

    /// Whether a call was answered beyond what was read of it.
    pub fn has_unread(&self, id: u64) -> bool {
        self.answers.iter().any(|answer| answer.id == id)
    }

    /// Asks, and waits for the answer.
    pub async fn call(
        &mut self,
        user: &str,
        roles: &[&str],
        request: Request,
    ) -> Result<Answer, (Code, String)> {
        let id = self.ask(user, roles, request).await;
        self.answer(id).await
    }

    async fn say(&self, report: Said) {
        self.say.send(Report { report: Some(report) }).await.expect("the call is open");
    }
}

/// A Gateway named door, with an operator and one ready pod that is attached and serves what it is told.
pub async fn attached_door(client: &Client, namespace: &str, spec: &str) -> (Operator, Replica) {
    let operator = Operator::start(namespace).await;
    let replica = attach_door(client, namespace, spec, &operator).await;
    (operator, replica)
}

/// The same, with an operator that runs.
pub async fn attach_door(client: &Client, namespace: &str, spec: &str, operator: &Operator) -> Replica {
    crate::apply(client, namespace, "door", spec).await.unwrap();
    ready_pod(client, namespace, "door", "door-1").await;
    crate::until(client, namespace, "door", crate::is("CertificatesReady", "True", "Issued")).await;
    let shows = Credentials::of(client, namespace, "door").await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    replica
}

/// Writes a pod of a Gateway, as the controllers would, and says for the kubelet that it is ready.
pub async fn ready_pod(client: &Client, namespace: &str, gateway: &str, name: &str) {
    let account: ServiceAccount =
        serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    match accounts.create(&PostParams::default(), &account).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{error}"),
    }
    let pod = json!({
        "metadata": { "name": name, "labels": names::labels(gateway) },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "gateway", "image": "localhost/portcullis-gateway:dev" }],
        },
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .expect("a pod can be made");
    set_ready(client, namespace, name, true).await;
}

/// Says for the kubelet whether a pod is ready.
pub async fn set_ready(client: &Client, namespace: &str, pod: &str, ready: bool) {
    let status = if ready { "True" } else { "False" };
    let patch: Value = json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } });
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("a status can be set");
}
