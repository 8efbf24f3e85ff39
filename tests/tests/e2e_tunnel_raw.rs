//! Services that speak for themselves: TLS that is passed on by its name, and a port of the Gateway's Service. On both ends
//! are the gRPC project's own programs, which neither gateway nor connector reads a byte of.

use std::path::Path;
use std::process::{Output, Stdio};

use portcullis_tests::door::{Door, text, tool};
use portcullis_tests::ports;
use portcullis_tests::real::{certificate, roots};
use portcullis_tests::tunnel::{Running, apply, connector, until};

const SPEC: &str = "
tunnels: {domain: t.example.com, ports: [20000-20010]}
clients: [{name: connector, roles: [user], scopes: ['tunnel:write']}]
";
const OWN: &str = "own.t.example.com";

fn server(arguments: &[&str]) -> (Running, u16) {
    let port = ports::free("127.0.0.1");
    let mut server = tool("grpc-interop-server");
    server.args(["-port", &port.to_string()]).args(arguments);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (Running(server.kill_on_drop(true).spawn().unwrap()), port)
}

async fn call(address: &str, port: &str, case: &str, more: &[&str]) -> Output {
    let mut client = tool("grpc-interop-client");
    client.args(["-server_host", address, "-server_port", port, "-test_case", case]).args(more);
    tokio::time::timeout(std::time::Duration::from_mins(3), client.output()).await.unwrap().unwrap()
}

async fn ready(door: &Door, name: &str, spec: &str) -> String {
    let spec = format!("{{gatewayRef: {{name: door}}, access: {{auth: None}}, {spec}}}");
    apply(&door.client, &door.namespace, name, &spec).await;
    let ready = until(&door.client, &door.namespace, name, ["Ready", "True", "Ready"]).await;
    ready.status.unwrap().url.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_passed_on_by_its_name_and_tcp_by_its_port() {
    let door = Door::ready(SPEC).await;
    let (bundle, files) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    certificate(files.path(), "own", &[OWN]).await;
    let at = |file: &str| files.path().join(file).display().to_string();
    let (_tls, tls_port) =
        server(&["-use_tls", "-tls_cert_file", &at("own.crt"), "-tls_key_file", &at("own.key")]);
    let (_plain, plain_port) = server(&[]);
    let (tls, plain) = (format!("tcp://127.0.0.1:{tls_port}"), format!("tcp://127.0.0.1:{plain_port}"));
    let run = async |name: &str, endpoint: &str| {
        connector(&door, name, &bundle, endpoint, Path::new(&at(&format!("{name}.log")))).await
    };
    let (_own, _raw) = (run("own", &tls).await, run("raw", &plain).await);
    let own = ready(&door, "own", &format!("protocol: TLS, label: own, endpoint: '{tls}'")).await;
    assert!(own.starts_with(&format!("tls://{OWN}")), "{own}");
    let raw = ready(&door, "raw", &format!("protocol: TCP, port: 20005, endpoint: '{plain}'")).await;
    assert_eq!(raw, "tcp://t.example.com:20005");

    let address = door.address().await;
    let roots = roots().display().to_string();
    let checked = ["-use_tls", "-use_test_ca", "-ca_file", &roots, "-server_host_override", OWN];
    for case in ["large_unary", "ping_pong", "client_streaming", "cancel_after_first_response"] {
        // The certificate that the client checks is the service's own: the gateway has no part in this handshake.
        let passed = call(&address, "443", case, &checked).await;
        assert!(passed.status.success(), "TLS, {case}: {}", text(&passed.stderr));
        let passed = call(&address, "20005", case, &[]).await;
        assert!(passed.status.success(), "TCP, {case}: {}", text(&passed.stderr));
    }
}
