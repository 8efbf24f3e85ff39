//! The guide, done to the letter: what a reader types, in the order of the page, with the files that the page shows.

use portcullis_tests::door::{Door, run, tool};
use portcullis_tests::page::{Page, Reader, holds, is_as_shown, root};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::{BRIDGE, certificate};
use portcullis_tests::tunnel;
use tokio::sync::Mutex;

/// The pages all use the same port of this machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What the pages call what is somewhere else here.
const ISSUER: &str = "https://login.example.com/realms/shop";

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_first_five_minutes_do_what_the_page_says() {
    let _alone = ALONE.lock().await;
    // The operator runs already.
    let page = Page::read("docs/getting-started.md", &["2.", "3.", "4."]);
    assert!(page.commands.contains("not refused"), "{}", page.commands);
    // What the reader has: the checkout's examples, a service at the port of the example, and the programs.
    let reader = Reader::new();
    reader.has("manifests");
    let _served = reader.serves(18080).await;
    let printed = reader.types(&page).await;
    holds(&printed, &["\"X-Portcullis-User\"", "alice@example.com", "from the reader's machine"]);
    run(tool("kubectl").args(["delete", "namespace", "demo", "--wait=false"]), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_goes_through_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/mtls-client.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    let found = ["\"X-Portcullis-User\"", "alice@example.com", "portcullis.gateway.v1.Gateway", "pod/caller"];
    holds(&printed, &found);
    // Both ways to another certificate: the command's own words, and the status.
    holds(&printed, &["Serial", "\"fingerprint\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_lead_to_a_root_of_openssl_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // What is asked of cert-manager is typed in api_issuer.rs.
    let page = Page::read("docs/how-to/bring-your-own-ca.md", &["Make", "Have", "Another", "What"]);
    let page = page.at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    holds(&printed, &["CN=Example Issuing CA 1", "tls.crt: OK", "\"X-Portcullis-User\"", "condition met"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_companys_authority_comes_in_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/client-authorities.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    holds(&printed, &["\"X-Portcullis-User\"", "spiffe://corp.example/team/shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_keycloak_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::keycloak().await);
    let page = Page::read("docs/how-to/oidc.md", &[]);
    let page = page.at(&[("demo", &door.namespace), (ISSUER, &provider.issuer)]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    holds(&reader.types(&page).await, &["service-account-portcullis-ci"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_an_edge_is_set_up_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::oidc_provider().await);
    let page = Page::read("docs/how-to/edge.md", &[]);
    let page = page.at(&[("demo", &door.namespace), ("https://edge.example.com", &provider.issuer)]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    holds(&reader.types(&page).await, &["\"Edge\"", "x-edge-token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_nginx_is_set_up_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::keycloak().await);
    let page = Page::read("docs/how-to/trusted-proxy.md", &[]).at(&[
        ("demo", &door.namespace),
        (ISSUER, &provider.issuer),
        ("10.30.0.0/16", &format!("{BRIDGE}/32")),
        ("listen 443", "listen 127.0.0.1:18443"),
        ("https://door.example.com/", "https://door.example.com:18443/"),
    ]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    // The Service is there before the page makes it, so that its name can be known outside of the cluster.
    door.apply(&format!("{{access: {{mode: Plaintext, trustedProxies: ['{BRIDGE}/32']}}}}")).await;
    door.until_ready().await;
    reader.hosts.push((door.host(), door.address().await));
    reader.hosts.push(("door.example.com".to_owned(), "127.0.0.1".to_owned()));
    certificate(reader.folder.path(), "proxy", &["door.example.com"]).await;
    let roots = reader.folder.path().join("company-ca.crt").display().to_string();
    reader.variables.push(("CURL_CA_BUNDLE", roots));
    holds(&reader.types(&page).await, &["\"X-Forwarded-Proto\"", "service-account-portcullis-ci"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_hands_out_a_credential_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let image = "localhost/portcullis-example-credentials-driver:dev";
    let page = Page::read("docs/how-to/drivers.md", &[]);
    let page = page.at(&[("demo", &door.namespace), ("registry.example.com/credentials-driver:1.0", image)]);
    holds(&Reader::new().types(&page).await, &["\"name\": \"registry\"", "\"token\": \"of-the-registry\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_outside_and_inside_answer_on_public_names_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/tunnels.md", &[]).at(&[("demo", &door.namespace)]);
    let reader = Reader::new();
    let _served = reader.serves(18080).await;
    let host = format!("inside.{}.example.com", door.namespace);
    holds(&reader.types(&page).await, &["from the reader's machine", "name resolution", &host]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_kept_answering_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/high-availability.md", &[]).at(&[("demo", &door.namespace)]);
    holds(&Reader::new().types(&page).await, &["successfully rolled out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_as_the_page_shows_it() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // There is something to look at from the beginning.
    door.apply(&format!("{{tunnels: {{domain: {}.example.com}}}}", door.namespace)).await;
    door.until_ready().await;
    let web =
        "{gatewayRef: {name: door}, label: web, endpoint: 'http://localhost:8080', access: {auth: None}}";
    tunnel::apply(&door.client, &door.namespace, "web", web).await;
    let page = Page::read("docs/how-to/troubleshoot.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    is_as_shown(&printed, &page);
    holds(&printed, &["no-such-tag", "portcullis-diagnose-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_and_rolled_back_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::ready("{clients: [{name: alice}]}").await;
    let page = Page::read("docs/how-to/upgrade.md", &[]).at(&[("demo", &door.namespace)]);
    let reader = Reader::new();
    reader.has("charts");
    let printed = reader.types(&page).await;
    holds(&printed, &["Rollback was a success", "Every ready replica serves the current configuration"]);
    let kept = |name: &str| std::fs::read_to_string(reader.folder.path().join(name)).unwrap();
    assert!(kept("values.yaml").contains("portcullis") && kept("rendered.yaml").contains("kind: Deployment"));
    assert!(kept("resources.yaml").contains("name: door") && kept("door-ca.yaml").contains("ca-1.key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_is_told_of_our_kinds_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // Argo CD's own ConfigMap is there before, in a namespace of the test.
    door.kubectl(
        &["create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.com"],
        None,
    )
    .await;
    let page = Page::read("docs/how-to/gitops.md", &["Argo CD"]);
    let page = page.at(&[("-n argocd", &format!("-n {}", door.namespace))]);
    let reader = Reader::new();
    let examples = reader.folder.path().join("manifests/examples/gitops");
    std::fs::create_dir_all(&examples).unwrap();
    let told = std::fs::read_to_string(root().join("manifests/examples/gitops/argocd-cm.yaml")).unwrap();
    let told = told.replace("namespace: argocd", &format!("namespace: {}", door.namespace));
    std::fs::write(examples.join("argocd-cm.yaml"), told).unwrap();
    holds(&reader.types(&page).await, &["configmap/argocd-cm patched"]);
    let there = door.kubectl(&["get", "configmap", "argocd-cm", "-o", "yaml"], None).await;
    holds(
        &there,
        &["https://argocd.example.com", "health.portcullis.dev_Gateway", "health.portcullis.dev_Tunnel"],
    );
}
