//! One certificate of every kind that the operator issues, and some that nobody may accept.

use std::fs;
use std::path::PathBuf;

use portcullis_pki::{
    Authority, AuthorityProfile, KeyAlgorithm, LeafProfile, NameConstraints, RandomMint, Usage,
    issue_authority, issue_leaf,
};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// Every certificate is issued and verified at this time: no test waits, none ages.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-01 12:00:00 UTC);

pub(crate) const SERVER_NAMES: [&str; 6] =
    ["door.demo.svc", "door.demo.svc.cluster.local", "localhost", "127.0.0.1", "10.2.3.4", "fd00::1"];
pub(crate) const GATEWAY: &str = "spiffe://cluster.local/ns/demo/gateway/door";
pub(crate) const CLIENT: &str = "spiffe://cluster.local/ns/demo/gateway/door/client/alice";
pub(crate) const WILDCARD: &str = "*.example.com";
pub(crate) const CONTROL_NAME: &str = "portcullis-operator.portcullis-system.svc";

/// A leaf in a file, and whom it is shown as.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) root: PathBuf,
    pub(crate) leaf: PathBuf,
    /// On which side it is shown.
    pub(crate) usage: Usage,
    /// For which names it is shown.
    pub(crate) names: Vec<&'static str>,
    /// Whether it is to be accepted.
    pub(crate) good: bool,
}

/// The files, for as long as this lives.
pub(crate) struct Certificates {
    folder: TempDir,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) cases: Vec<Case>,
}

impl Certificates {
    pub(crate) fn issue() -> Self {
        use Usage::{Client, Server};
        const BEYOND: &str = "server beyond the constraints";
        let folder = TempDir::new().unwrap();
        let mut these = Self { folder, roots: Vec::new(), cases: Vec::new() };
        let with_uri: Vec<&str> = SERVER_NAMES.into_iter().chain([GATEWAY]).collect();
        let server = profile(Server, &with_uri);
        let names = server.dns_names.iter().map(String::as_str);

        let mut free = these.authority(NameConstraints::default());
        free.signs("server", Server, &with_uri).accepted_as(&SERVER_NAMES);
        free.signs("wildcard server", Server, &[WILDCARD]).accepted_as(&["tunnel.example.com"]);
        free.signs("client", Client, &[CLIENT]).accepted_as(&[CLIENT]);
        free.signs("server of another name", Server, &["door.demo.svc"]).refused_as(Server, "door.demo");
        free.signs("client as server", Client, &["door.demo.svc", CLIENT])
            .refused_as(Server, "door.demo.svc");
        free.signs("server as client", Server, &["door.demo.svc", CLIENT]).refused_as(Client, CLIENT);

        let mut held = these.authority(NameConstraints::covering(names, server.ip_addresses.iter().copied()));
        held.signs("constrained server", Server, &with_uri).accepted_as(&SERVER_NAMES);
        held.signs("constrained client", Client, &[CLIENT]).accepted_as(&[CLIENT]);
        for name in ["www.example.org", "svc", "10.2.3.5", "fd00::2"] {
            held.signs(BEYOND, Server, &[name]).refused_as(Server, name);
        }

        let mut control = these.authority(NameConstraints::covering([CONTROL_NAME], []));
        control.signs("operator", Server, &[CONTROL_NAME]).accepted_as(&[CONTROL_NAME]);
        control.signs("gateway replica", Client, &[GATEWAY]).accepted_as(&[GATEWAY]);
        for name in ["door.demo.svc", "127.0.0.1", "::1"] {
            control.signs(BEYOND, Server, &[name]).refused_as(Server, name);
        }

        let mut clients = these.authority(NameConstraints::covering([], []));
        clients.signs("client of an authority for clients", Client, &[CLIENT]).accepted_as(&[CLIENT]);
        for name in ["door.demo.svc", "127.0.0.1", "::1"] {
            clients.signs(BEYOND, Server, &[name]).refused_as(Server, name);
        }
        for key in KeyAlgorithm::ALL.into_iter().filter(|key| *key != KeyAlgorithm::P256) {
            let mut of_that_key = these.authority_of(key, NameConstraints::default());
            of_that_key.signs(key.as_str(), Server, &with_uri).accepted_as(&SERVER_NAMES);
            of_that_key.signs(key.as_str(), Client, &[CLIENT]).accepted_as(&[CLIENT]);
            of_that_key.signs(key.as_str(), Client, &[CLIENT]).refused_as(Server, "door.demo.svc");
        }
        these
    }

    fn authority(&mut self, name_constraints: NameConstraints) -> Signer<'_> {
        self.authority_of(KeyAlgorithm::P256, name_constraints)
    }

    fn authority_of(&mut self, key: KeyAlgorithm, name_constraints: NameConstraints) -> Signer<'_> {
        let lifetime = Duration::days(3650);
        let common_name = "portcullis demo/door".to_owned();
        let profile = AuthorityProfile { common_name, lifetime, name_constraints, key };
        let mut authority = issue_authority(&profile, 1, NOW, &RandomMint).unwrap();
        let root = self.write(&authority.certificate_pem);
        self.roots.push(root.clone());
        // Forgets its own constraints: it is the verifiers that are to refuse.
        authority.facts.name_constraints = NameConstraints::default();
        Signer { authority, root, to: self }
    }

    pub(crate) fn write(&self, pem: &str) -> PathBuf {
        let count = fs::read_dir(self.folder.path()).unwrap().count();
        let path = self.folder.path().join(format!("{count}.pem"));
        fs::write(&path, pem).unwrap();
        path
    }
}

struct Signer<'a> {
    authority: Authority,
    root: PathBuf,
    to: &'a mut Certificates,
}

impl Signer<'_> {
    fn signs(&mut self, what: &'static str, usage: Usage, names: &[&str]) -> Signed<'_> {
        let leaf = issue_leaf(&self.authority, &profile(usage, names), NOW, &RandomMint).unwrap();
        let leaf = self.to.write(&leaf.certificate_pem);
        let root = self.root.clone();
        Signed { case: Case { what, root, leaf, usage, names: Vec::new(), good: true }, to: self.to }
    }
}

struct Signed<'a> {
    case: Case,
    to: &'a mut Certificates,
}

impl Signed<'_> {
    fn accepted_as(self, names: &[&'static str]) {
        self.to.cases.push(Case { names: names.to_vec(), ..self.case });
    }

    fn refused_as(self, usage: Usage, name: &'static str) {
        self.to.cases.push(Case { usage, names: vec![name], good: false, ..self.case });
    }
}

fn profile(usage: Usage, names: &[&str]) -> LeafProfile {
    let mut profile = LeafProfile {
        common_name: "leaf".to_owned(),
        usage,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: Vec::new(),
        lifetime: Duration::days(7),
        renew_before: Duration::days(2),
    };
    for name in names {
        match name.parse() {
            Ok(address) => profile.ip_addresses.push(address),
            Err(_) if name.contains("://") => profile.uris.push((*name).to_owned()),
            Err(_) => profile.dns_names.push((*name).to_owned()),
        }
    }
    profile
}
