//! Logging in with the `portcullis` command as people and pipelines do: at two OpenID providers of different make and at an
//! identity-aware edge, with Chromium where a person uses a browser.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis_tests::cli::{Cli, Ran};
use portcullis_tests::door::{Door, text};
use portcullis_tests::real::browser::{Browser, Walk};
use portcullis_tests::real::edge::{Edge, HOST, Registration};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::{BRIDGE, roots};
use portcullis_tests::{is, until};
use serde_json::{Value, json};

const GATEWAY: &str = "shop";
/// Nobody is let in.
const DENIED: i32 = 4;

/// A Gateway, a provider, a browser and a home.
struct Site {
    door: Door,
    provider: Provider,
    browser: Browser,
    cli: Cli,
}

impl Site {
    /// Callers show a certificate, and a token that says who they are.
    async fn with_certificates(provider: Provider) -> Self {
        let access = json!({ "mode": "MutualTLS" });
        let door = Self::door(&provider, &access).await;
        let bundle = door.bundle("laptop").await;
        door.until_code(&bundle, "/get", "200").await;
        Self::around(door, provider, "MutualTLS", &bundle).await
    }

    /// Callers show a token alone.
    async fn with_tokens(provider: Provider) -> Self {
        let access = provider.edge_access("portcullis-edge");
        let door = Self::door(&provider, &access).await;
        let roots = tempfile::tempdir().unwrap();
        let bundle = door.bundle("laptop").await;
        std::fs::copy(bundle.join("ca.crt"), roots.path().join("ca.crt")).unwrap();
        Self::around(door, provider, "Edge", roots.path()).await
    }

    async fn door(provider: &Provider, access: &Value) -> Door {
        let door = Door::site().await;
        Provider::bring_roots(&door).await;
        let spec = json!({
            "replicas": 1,
            "access": access,
            "oidc": provider.oidc(true),
            "clients": [{ "name": "laptop", "user": "laptop@example.com", "scopes": [] }],
            "backends": [{ "name": "httpbin", "match": { "pathPrefix": "/" }, "service": { "name": "httpbin", "port": 80 } }],
        });
        door.apply(&spec.to_string()).await;
        door.until_ready().await;
        until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
        door
    }

    async fn around(door: Door, provider: Provider, mode: &str, bundle: &Path) -> Self {
        let hosts = [(door.host(), door.address().await), provider.resolved()];
        let browser = Browser::new(&[provider.resolved()]).await;
        let cli = Cli::new(&hosts);
        let metadata = json!({ "endpoint": format!("https://{}", door.host()), "mode": mode });
        cli.know(GATEWAY, &metadata, bundle);
        Self { door, provider, browser, cli }
    }

    /// Logs in with a browser that shows what the steps say, and the address that the command opened first.
    async fn log_in(&self, arguments: &[&str], steps: &[Value]) -> (Ran, Walk) {
        let roots = roots();
        let ca = roots.display().to_string();
        let arguments: Vec<_> = arguments.iter().copied().chain(["--issuer-ca", &ca]).collect();
        let mut login = self.cli.start(&arguments);
        let url = login.opened().await;
        let walk = self.walk(&url, steps).await;
        (login.ended().await, walk)
    }

    async fn walk(&self, url: &str, steps: &[Value]) -> Walk {
        let first = json!({ "do": "open", "url": url });
        let steps: Vec<_> = std::iter::once(&first).chain(steps).collect();
        self.browser.walk(true, &json!(steps)).await
    }

    fn is_keycloak(&self) -> bool {
        self.provider.issuer.contains("keycloak")
    }

    /// A person types name and password, and allows the program to act for them where they are asked.
    fn signs_in(&self, who: &str) -> Vec<Value> {
        let mut steps = vec![
            json!({ "do": "see", "as": format!("{who}-asked") }),
            json!({ "do": "sign-in", "name": who, "password": format!("{who}-password") }),
        ];
        steps.extend(self.allows());
        steps
    }

    /// What a person is asked who is signed in already.
    fn allows(&self) -> Vec<Value> {
        let mut steps = Vec::new();
        if !self.is_keycloak() {
            steps.push(json!({ "do": "press", "button": "Allow" }));
        }
        steps.push(json!({ "do": "see", "as": "back" }));
        steps
    }

    /// Whom the gateway takes the command for.
    async fn taken_for(&self) -> Value {
        self.cli.json(&["auth", "status"]).await["taken_for"].clone()
    }

    async fn user(&self) -> String {
        self.taken_for().await["user"].as_str().unwrap().to_owned()
    }
}

/// The page that says that somebody is logged in.
fn is_logged_in(walk: &Walk, who: &str) {
    let page = walk.page("back");
    assert_eq!((page.status, page.title.as_str()), (Some(200), "Logged in"), "{page:?}");
    assert!(page.text.contains(who) && page.url.starts_with("http://127.0.0.1:"), "{page:?}");
}

fn is_refused(ran: &Ran) {
    assert_eq!(ran.code, DENIED, "{ran:?}");
    assert!(ran.err.contains("run `portcullis gateway login`"), "{ran:?}");
}

/// No file of a home has this in it, and nothing that was printed.
fn is_nowhere(cli: &Cli, secret: &str, printed: &[&Ran]) {
    assert!(!secret.is_empty());
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
    let found: Vec<PathBuf> = cli.files().into_iter().filter(|it| holds(&it.1)).map(|it| it.0).collect();
    assert_eq!(found, Vec::<PathBuf>::new());
    assert!(!printed.iter().any(|ran| ran.out.contains(secret) || ran.err.contains(secret)), "{printed:?}");
}

async fn a_person_logs_in_and_out(site: Site) {
    let nobody = site.cli.run(&["auth", "status"]).await;
    if !site.cli.config().join("gateways/shop/mtls/tls.crt").exists() {
        is_refused(&nobody);
    }

    let scopes = ["gateway", "login", "--scopes", "sandbox:read"];
    let (ran, walk) = site.log_in(&scopes, &site.signs_in("alice")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("logged in at shop as alice"), "{ran:?}");
    is_logged_in(&walk, "alice");
    let tokens = site.cli.tokens(GATEWAY);
    let file = site.cli.config().join("gateways/shop/oidc_token.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for secret in ["access_token", "refresh_token", "id_token"] {
        let secret = tokens[secret].as_str().unwrap();
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
    }

    // The gateway knows her by it.
    let who = site.taken_for().await;
    assert_eq!((&who["user"], &who["scopes"]), (&json!("alice"), &json!(["sandbox:read"])), "{who}");
    assert!(who["roles"].as_array().unwrap().contains(&json!("admin")), "{who}");
    let may = site.cli.json(&["auth", "explain", "Sandboxes/ListSandboxes"]).await;
    assert_eq!(may["allowed"], json!(true), "{may}");
    let may_not = site.cli.json(&["auth", "explain", "ResolveCredential"]).await;
    assert_eq!(may_not["allowed"], json!(false), "{may_not}");
    assert!(may_not["missing"].as_str().unwrap().contains("credential:read"), "{may_not}");
    let all = site.cli.well(&["auth", "explain"]).await;
    assert!(all.out.lines().count() > 5 && all.out.contains("WhoAmI"), "{all:?}");

    // It is late: commands that run at once find one token that one of them has renewed.
    site.cli.let_time_pass(GATEWAY);
    let status = ["auth", "status"];
    let (a, b, c) = tokio::join!(site.cli.run(&status), site.cli.run(&status), site.cli.run(&status));
    for ran in [a, b, c] {
        assert!(ran.code == 0 && ran.out.contains("alice"), "{ran:?}");
    }
    let renewed = site.cli.tokens(GATEWAY);
    assert_ne!(renewed["access_token"], tokens["access_token"]);
    assert_eq!(renewed["scopes"], tokens["scopes"]);
    // Where each refresh token is good once, the one that is kept is the last.
    site.cli.let_time_pass(GATEWAY);
    assert_eq!(site.user().await, "alice");

    // Without being told, the next login asks for the same scopes; and the browser knows her, where what it keeps of the
    // provider outlives it.
    let steps = if site.is_keycloak() { site.signs_in("alice") } else { site.allows() };
    let (ran, walk) = site.log_in(&["auth", "login"], &steps).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    is_logged_in(&walk, "alice");
    assert_eq!(site.taken_for().await["scopes"], json!(["sandbox:read"]));

    // Logged out, even a copy of what was kept is worth nothing; and the password is asked for, whatever the browser has.
    let kept = site.cli.tokens(GATEWAY);
    let out = site.cli.well(&["gateway", "logout", "--no-browser"]).await;
    assert!(out.err.contains("logged out at shop: alice"), "{out:?}");
    assert!(!file.exists());
    site.cli.set_tokens(GATEWAY, &kept);
    site.cli.let_time_pass(GATEWAY);
    is_refused(&site.cli.run(&["auth", "status"]).await);
    let (ran, walk) = site.log_in(&["gateway", "login"], &site.signs_in("alice")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    is_logged_in(&walk, "alice");

    // Logged out with a browser, its own session ends too: somebody else can log in there.
    let mut logout = site.cli.start(&["gateway", "logout"]);
    let link = logout.opened().await;
    assert!(
        link.starts_with("http://127.0.0.1:"),
        "no token stands in what a browser is told to open: {link}"
    );
    let ends = if site.is_keycloak() {
        vec![json!({ "do": "see", "as": "ended" })]
    } else {
        vec![json!({ "do": "press", "button": "Yes, sign me out" }), json!({ "do": "see", "as": "ended" })]
    };
    let walk = site.walk(&link, &ends).await;
    let page = &walk.page("ended").text;
    assert!(page.contains("logged out") || page.contains("was successful"), "{page}");
    let ran = logout.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (ran, walk) = site.log_in(&["gateway", "login"], &site.signs_in("bob")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    is_logged_in(&walk, "bob");
    assert_eq!(site.user().await, "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_keycloak_in_a_browser_is_renewed_and_logs_out() {
    let site = Site::with_certificates(Provider::keycloak().await).await;
    Box::pin(a_person_logs_in_and_out(site)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_oidc_provider_in_a_browser_is_renewed_and_logs_out() {
    let site = Site::with_tokens(Provider::oidc_provider().await).await;
    Box::pin(a_person_logs_in_and_out(site)).await;
}

/// Over SSH: the code is typed in a browser elsewhere.
async fn a_person_types_a_code(mut site: Site) {
    site.cli = site.cli.with("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    let ca = roots().display().to_string();
    let arguments = ["gateway", "login", "--issuer-ca", &ca, "--scopes", "sandbox:read"];
    let mut login = site.cli.start(&arguments);
    let line = login.says("enter the code").await;
    let code = line.split("the code ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let url = login.says("https://").await.trim().to_owned();
    let steps = if site.is_keycloak() {
        json!([
            { "do": "type", "into": "device_user_code", "text": code },
            { "do": "press", "button": "" },
            { "do": "sign-in", "name": "bob", "password": "bob-password" },
            { "do": "press", "button": "Yes" },
            { "do": "see", "as": "end" },
        ])
    } else {
        json!([
            { "do": "type", "into": "user_code", "text": code },
            { "do": "press", "button": "Continue" },
            { "do": "see", "as": "code" },
            { "do": "press", "button": "Continue" },
            { "do": "sign-in", "name": "bob", "password": "bob-password" },
            { "do": "press", "button": "Allow" },
            { "do": "see", "as": "end" },
        ])
    };
    let walk = site.walk(&url, steps.as_array().unwrap()).await;
    assert!(walk.page("end").text.to_lowercase().contains("success"), "{:?}", walk.page("end"));
    let ran = login.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("as bob"), "{ran:?}");
    let who = site.taken_for().await;
    assert_eq!((&who["user"], &who["scopes"]), (&json!("bob"), &json!(["sandbox:read"])), "{who}");
    site.cli.let_time_pass(GATEWAY);
    assert_eq!(site.user().await, "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_a_browser_logs_in_at_keycloak_by_a_code() {
    a_person_types_a_code(Site::with_certificates(Provider::keycloak().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_a_browser_logs_in_at_oidc_provider_by_a_code() {
    a_person_types_a_code(Site::with_tokens(Provider::oidc_provider().await).await).await;
}

/// A pipeline: nobody logs in first, and nothing is left of its secret.
async fn a_machine_is_known(mut site: Site) {
    const SECRET: &str = "ci-secret-of-the-tests";
    let ca = roots().display().to_string();
    site.cli = site.cli.with("PORTCULLIS_CLIENT_ID", "portcullis-ci");
    let half = site.cli.run(&["gateway", "login", "--issuer-ca", &ca]).await;
    assert!(half.code == 2 && half.err.contains("PORTCULLIS_CLIENT_SECRET"), "{half:?}");
    site.cli = site.cli.with("PORTCULLIS_CLIENT_SECRET", SECRET);
    let login = site.cli.well(&["gateway", "login", "--issuer-ca", &ca, "--scopes", "sandbox:read"]).await;
    let who = site.taken_for().await;
    assert_eq!((&who["roles"][0], &who["scopes"]), (&json!("user"), &json!(["sandbox:read"])), "{who}");
    // When its token ends there is nothing to renew it by but the secret.
    let mut kept = site.cli.tokens(GATEWAY);
    let before = kept["machines"][0]["access_token"].clone();
    kept["machines"][0]["expires_at"] = json!(1);
    site.cli.set_tokens(GATEWAY, &kept);
    let status = site.cli.well(&["auth", "status"]).await;
    assert_ne!(site.cli.tokens(GATEWAY)["machines"][0]["access_token"], before);
    is_nowhere(&site.cli, SECRET, &[&half, &login, &status]);
    // And without a login too.
    std::fs::remove_file(site.cli.config().join("gateways/shop/oidc_token.json")).unwrap();
    assert_eq!(site.taken_for().await["scopes"], json!(["sandbox:read"]));
    let out = site.cli.well(&["gateway", "logout"]).await;
    assert!(out.err.contains("logged out"), "{out:?}");
    site.cli = site.cli.with("PORTCULLIS_CLIENT_SECRET", "another");
    let refused = site.cli.run(&["auth", "status"]).await;
    assert_eq!(refused.code, DENIED, "{refused:?}");
    assert!(!refused.err.contains("another"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_known_to_keycloak_by_its_secret() {
    a_machine_is_known(Site::with_certificates(Provider::keycloak().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_known_to_oidc_provider_by_its_secret() {
    a_machine_is_known(Site::with_tokens(Provider::oidc_provider().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_added_becomes_the_active_one_when_a_person_logs_in() {
    let site = Site::with_tokens(Provider::oidc_provider().await).await;
    let url = format!("https://{}", site.door.host());
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(site.cli.config().join("gateways/shop/mtls/ca.crt"), ca.path()).unwrap();
    let path = ca.path().display().to_string();
    site.cli.well(&["gateway", "remove", GATEWAY]).await;
    let add = ["gateway", "add", &url, "--name", "door", "--ca", &path];
    // Nobody sits there: what comes next is said.
    let later = site.cli.well(&add).await;
    assert!(later.err.contains("gateway login -g door"), "{later:?}");
    let status = site.cli.run(&["auth", "status"]).await;
    assert!(status.code == 3 && status.err.contains("no gateway is chosen"), "{status:?}");

    let (ran, walk) = site.log_in(&["gateway", "login", "-g", "door"], &site.signs_in("alice")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    is_logged_in(&walk, "alice");
    assert!(ran.err.contains("takes you for alice, and is the active one"), "{ran:?}");
    assert_eq!(site.user().await, "alice");
    // Added again, it is known by what was got before.
    let again = site.cli.well(&add).await;
    assert!(again.err.contains("takes you for alice"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_in_the_browser_is_not_logged_in_and_both_sides_say_so() {
    let site = Site::with_tokens(Provider::oidc_provider().await).await;
    let steps = [
        json!({ "do": "sign-in", "name": "alice", "password": "alice-password" }),
        json!({ "do": "press", "button": "Deny" }),
        json!({ "do": "see", "as": "back" }),
    ];
    let (ran, walk) = site.log_in(&["gateway", "login"], &steps).await;
    assert_eq!(ran.code, DENIED, "{ran:?}");
    assert!(ran.err.contains("not allowed in the browser") && ran.err.contains("access_denied"), "{ran:?}");
    let page = walk.page("back");
    assert_eq!((page.status, page.title.as_str()), (Some(400), "Not logged in"), "{page:?}");
    assert!(!site.cli.config().join("gateways/shop/oidc_token.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_becomes_somebody_else_and_comes_back_without_logging_in_again() {
    let site = Site::with_tokens(Provider::oidc_provider().await).await;
    let (ran, _) = site.log_in(&["auth", "login"], &site.signs_in("alice")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // The browser knows alice; whoever is to be somebody else is asked for a name.
    let (ran, walk) = site.log_in(&["auth", "switch"], &site.signs_in("bob")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    is_logged_in(&walk, "bob");
    assert_eq!(site.user().await, "bob");
    let listed = site.cli.json(&["auth", "list"]).await;
    let seen: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|it| (&it["account"], &it["active"])).collect();
    assert_eq!(seen, [(&json!("bob"), &json!(true)), (&json!("alice"), &json!(false))], "{listed}");
    site.cli.well(&["auth", "switch", "alice"]).await;
    assert_eq!(site.user().await, "alice");
    let unknown = site.cli.run(&["auth", "switch", "carol"]).await;
    assert!(unknown.code == 3 && unknown.err.contains("there are: bob"), "{unknown:?}");
    site.cli.well(&["auth", "logout", "--all", "--no-browser"]).await;
    assert_eq!(site.cli.json(&["auth", "list"]).await["items"], json!([]));
    is_refused(&site.cli.run(&["auth", "status"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_an_edge_on_its_own_page_and_the_command_goes_through_it() {
    Box::pin(through_an_edge(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_an_edge_though_the_gateway_believes_a_provider_too() {
    Box::pin(through_an_edge(true)).await;
}

async fn through_an_edge(believes_a_provider_too: bool) {
    let provider = Provider::oidc_provider().await;
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    let registration = Registration::with(&provider, 3600).await;
    let mut access = provider.edge_access(&registration.client);
    access["trustedProxies"] = json!([format!("{BRIDGE}/32")]);
    let mut spec = json!({
        "replicas": 1,
        "access": access,
        "pki": { "server": { "dnsNames": [HOST] } },
        "backends": [{ "name": "httpbin", "match": { "pathPrefix": "/" }, "service": { "name": "httpbin", "port": 80 } }],
    });
    if believes_a_provider_too {
        spec["oidc"] = provider.oidc(true);
    }
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
    let edge = Edge::start(&door, &provider, &registration).await;
    let resolved = [provider.resolved(), (HOST.to_owned(), edge.address.clone())];
    let browser = Browser::new(&resolved).await;
    let cli = Cli::new(&resolved);
    let bundle = roots().parent().unwrap().to_owned();
    cli.know(GATEWAY, &json!({ "endpoint": format!("https://{HOST}"), "mode": "Edge" }), &bundle);

    let arguments = ["gateway", "login", "--edge"];
    let mut login = cli.start(&arguments[..if believes_a_provider_too { 3 } else { 2 }]);
    let url = login.opened().await;
    assert!(url.starts_with(&format!("https://{HOST}/auth/connect?")), "{url}");
    let compared = login.says("must show this code too").await;
    let code = compared.rsplit(' ').next().unwrap().to_owned();
    let steps = json!([
        { "do": "open", "url": url },
        { "do": "sign-in", "name": "alice", "password": "alice-password" },
        { "do": "see", "as": "connect" },
        { "do": "press", "button": "Continue" },
        { "do": "see", "as": "back" },
    ]);
    let walk = browser.walk(true, &steps).await;
    assert!(walk.page("connect").text.contains(&code), "{code}: {}", walk.page("connect").text);
    is_logged_in(&walk, "alice");
    let ran = login.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("as alice"), "{ran:?}");
    let token = std::fs::read_to_string(cli.config().join("gateways/shop/edge_token")).unwrap();
    assert!(
        !ran.out.contains(&token) && !ran.err.contains(&token) && !walk.page("back").url.contains(&token)
    );

    let status = cli.json(&["auth", "status"]).await;
    assert_eq!(status["login"], json!("edge"), "{status}");
    let who = &status["taken_for"];
    assert_eq!((&who["user"], &who["proof"]), (&json!("alice"), &json!("edge-token")), "{who}");
    let out = cli.well(&["gateway", "logout"]).await;
    assert!(out.err.contains("logged out at shop: alice") && out.err.contains("edge"), "{out:?}");
    is_refused(&cli.run(&["auth", "status"]).await);
    assert!(text(&edge.curl("/auth/oidc-config", &[]).await.stdout).contains("Edge"));
}
