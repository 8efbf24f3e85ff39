//! A company's certificate authority, kept with openssl: nothing of it is ours.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use tempfile::TempDir;

/// The kind of a company's keys, in the form that openssl writes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// P-256, as SEC 1.
    Ec,
    /// RSA of 2048 bits, as PKCS #1.
    Rsa,
}

/// A root, and who signs below it.
pub struct Company {
    folder: TempDir,
    name: String,
    keys: Keys,
}

/// A certificate that a company has signed, and its key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
}

impl Company {
    /// Makes a root.
    pub fn new(name: &str, keys: Keys) -> Self {
        let company = Self { folder: tempfile::tempdir().unwrap(), name: name.to_owned(), keys };
        company.make_key("root");
        let subject = format!("/CN={name} Root");
        company.openssl(
            &["req", "-x509", "-new", "-key", "root.key", "-days", "3650", "-out", "root.crt"],
            &["-subj", &subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        );
        company
    }

    /// The root, PEM.
    pub fn root(&self) -> String {
        self.read("root.crt")
    }

    /// Its key, PEM.
    pub fn root_key(&self) -> String {
        self.read("root.key")
    }

    /// Makes an intermediate that signs leaves.
    pub fn issuing(&self, number: u32) -> Signed {
        let subject = format!("{} Issuing CA {number}", self.name);
        self.sign(
            &format!("issuing-{number}"),
            &subject,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
        )
    }

    /// Makes a client's certificate that names these URIs.
    pub fn client(&self, name: &str, uris: &[&str]) -> Signed {
        let uris: Vec<String> = uris.iter().map(|uri| format!("URI:{uri}")).collect();
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nsubjectAltName={}\n",
            uris.join(",")
        );
        self.sign(name, name, &extensions)
    }

    /// What openssl says of a leaf with its chain, strictly, for a side: `sslserver` or `sslclient`.
    pub fn verify(&self, chain: &str, side: &str) -> Result<(), String> {
        std::fs::write(self.path("chain.crt"), chain).unwrap();
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", side, "-CAfile"])
            .arg(self.path("root.crt"))
            .arg("-untrusted")
            .arg(self.path("chain.crt"))
            .arg(self.path("chain.crt"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(said)
    }

    fn sign(&self, name: &str, subject: &str, extensions: &str) -> Signed {
        let file = |ending: &str| format!("{name}.{ending}");
        let extensions =
            format!("{extensions}subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n");
        std::fs::write(self.path(&file("ext")), extensions).unwrap();
        self.make_key(name);
        let (key, request, certificate) = (file("key"), file("csr"), file("crt"));
        self.openssl(
            &["req", "-new", "-key", &key, "-subj", &format!("/CN={subject}"), "-out", &request],
            &[],
        );
        self.openssl(
            &["x509", "-req", "-in", &request, "-CA", "root.crt", "-CAkey", "root.key", "-days", "365"],
            &["-CAcreateserial", "-extfile", &file("ext"), "-out", &certificate],
        );
        Signed { certificate: self.read(&certificate), key: self.read(&key) }
    }

    fn make_key(&self, name: &str) {
        let file = format!("{name}.key");
        match self.keys {
            Keys::Ec => {
                self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &file], &[]);
            }
            Keys::Rsa => self.openssl(&["genrsa", "-traditional", "-out", &file, "2048"], &[]),
        }
    }

    fn openssl(&self, arguments: &[&str], more: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .args(more)
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?} {more:?}: {said}");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

/// Writes a Secret of type `kubernetes.io/tls`, as an admin would.
pub async fn put_secret(client: &Client, namespace: &str, name: &str, data: &[(&str, &str)]) {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut secret = Secret {
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.iter().map(|(key, text)| ((*key).to_owned(), bytes(text))).collect()),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply("admin").force();
    api.patch(name, &params, &Patch::Apply(&secret)).await.expect("the Secret can be written");
}

/// Deletes a Secret.
pub async fn delete_secret(client: &Client, namespace: &str, name: &str) {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    api.delete(name, &DeleteParams::default()).await.expect("the Secret can be deleted");
}

/// Writes a ConfigMap, as an admin would.
pub async fn put_config_map(client: &Client, namespace: &str, name: &str, data: &[(&str, &str)]) {
    let data: BTreeMap<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let mut object = ConfigMap { data: Some(data), ..ConfigMap::default() };
    object.metadata.name = Some(name.to_owned());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply("admin").force();
    api.patch(name, &params, &Patch::Apply(&object)).await.expect("the ConfigMap can be written");
}
