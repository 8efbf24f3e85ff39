use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;
use crate::channel::Anonymous;
use crate::gateways::Rule;
use crate::store::Metadata;

fn bundle(word: &str) -> Bundle {
    let bytes = |what: &str| format!("{what} {word}\n").into_bytes();
    Bundle { ca: Some(bytes("roots")), identity: Some((bytes("certificate"), bytes("key"))) }
}

fn folder(holds: &Bundle) -> (TempDir, Folder) {
    let at = tempfile::tempdir().unwrap();
    let folder = Folder::open(at.path()).unwrap().unwrap();
    holds.write(&folder).unwrap();
    (at, folder)
}

/// What is in it, without the lock, which stays.
fn listed(at: &TempDir) -> Vec<String> {
    let names = fs::read_dir(at.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != LOCK).collect();
    names.sort();
    names
}

#[test]
fn a_bundle_is_replaced_whole_readable_by_nobody_else_and_nothing_is_left_beside_it() {
    let (at, folder) = folder(&bundle("old"));
    replace(&folder, &bundle("old"), &bundle("new")).unwrap();
    assert_eq!(Bundle::read(&folder).unwrap(), Some(bundle("new")));
    assert_eq!(listed(&at), ["ca.crt", "tls.crt", "tls.key"]);
    for name in listed(&at) {
        let mode = fs::metadata(at.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let failure = replace(&folder, &bundle("old"), &bundle("third")).unwrap_err();
    assert!(failure.to_string().contains("was changed meanwhile"), "{failure}");
    assert_eq!(Bundle::read(&folder).unwrap(), Some(bundle("new")));
}

#[test]
fn wherever_it_is_killed_the_next_one_finds_a_pair_that_fits() {
    let new = bundle("new");
    let (certificate, key) = new.identity.clone().unwrap();
    let parts: [(&str, Vec<u8>); 3] =
        [("ca.crt", new.ca.clone().unwrap()), ("tls.key", key), ("tls.crt", certificate)];
    for moved in 0..=parts.len() {
        let (at, folder) = folder(&bundle("old"));
        folder
            .replace_folder(NEW, |it| {
                new.write(it)?;
                it.write(INSTEAD_OF, b"certificate old\n")
            })
            .unwrap();
        for (name, bytes) in &parts[..moved] {
            folder.write(name, bytes).unwrap();
        }
        finish(at.path()).unwrap();
        assert_eq!(Bundle::read(&folder).unwrap(), Some(new.clone()), "after {moved} files");
        assert_eq!(listed(&at), ["ca.crt", "tls.crt", "tls.key"], "after {moved} files");
    }
    // Before it was whole, it counts for nothing.
    let (at, folder) = folder(&bundle("old"));
    folder.make("..renewed.new").unwrap().write("tls.key", b"key new\n").unwrap();
    finish(at.path()).unwrap();
    assert_eq!(Bundle::read(&folder).unwrap(), Some(bundle("old")));
    replace(&folder, &bundle("old"), &new).unwrap();
    assert_eq!(listed(&at), ["ca.crt", "tls.crt", "tls.key"]);
}

#[test]
fn what_somebody_has_put_there_since_is_not_replaced_by_what_was_left() {
    let (at, folder) = folder(&bundle("brought"));
    folder
        .replace_folder(NEW, |it| {
            bundle("new").write(it)?;
            it.write(INSTEAD_OF, b"certificate old\n")
        })
        .unwrap();
    finish(at.path()).unwrap();
    assert_eq!(Bundle::read(&folder).unwrap(), Some(bundle("brought")));
    assert_eq!(listed(&at), ["ca.crt", "tls.crt", "tls.key"]);
}

#[tokio::test]
async fn of_a_mounted_secret_it_is_said_once_that_it_comes_to_its_end_and_nobody_is_asked() {
    let mounted = tempfile::tempdir().unwrap();
    let data = mounted.path().join("..data");
    fs::create_dir(&data).unwrap();
    let now = OffsetDateTime::from_unix_timestamp(clock::now()).unwrap();
    let put = |begins: OffsetDateTime, ends: OffsetDateTime| {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (begins, ends);
        let key = KeyPair::generate().unwrap();
        fs::write(data.join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(data.join("tls.key"), key.serialize_pem()).unwrap();
    };
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), mounted.path().join(name)).unwrap();
    }
    let gateway = Resolved {
        stored: None,
        endpoint: "https://nobody.invalid:1".parse().unwrap(),
        metadata: Metadata::default(),
        rule: Rule::Endpoint,
    };
    let mut files = Files::default();
    let mut look = async || {
        let access = |bundle| Access::new(bundle, Arc::new(Anonymous), false, Duration::from_secs(5));
        files.keep(mounted.path(), &gateway, access).await.map_err(|failure| failure.to_string())
    };
    put(now - time::Duration::hours(1), now + time::Duration::hours(9));
    assert_eq!(look().await, Ok(Did::Nothing), "it is not due");
    put(now - time::Duration::hours(9), now + time::Duration::hours(1));
    let said = look().await.unwrap_err();
    assert!(said.contains("tls.crt") && said.contains("link"), "{said}");
    assert_eq!(look().await, Ok(Did::Nothing), "it is said once");
    put(now - time::Duration::hours(9), now + time::Duration::minutes(50));
    assert!(look().await.is_err(), "of another one again");
}

#[tokio::test]
async fn where_the_gateway_does_not_answer_it_is_said_and_tried_again_after_a_while() {
    let (at, folder) = folder(&bundle("old"));
    let now = OffsetDateTime::from_unix_timestamp(clock::now()).unwrap();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (now - time::Duration::hours(9), now + time::Duration::hours(1));
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let shown = Bundle {
        ca: Some(pem.clone().into_bytes()),
        identity: Some((pem.into_bytes(), key.serialize_pem().into_bytes())),
    };
    shown.write(&folder).unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Resolved {
        stored: None,
        endpoint: format!("https://{closed}").parse().unwrap(),
        metadata: Metadata::default(),
        rule: Rule::Endpoint,
    };
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut files = Files::default();
    let mut look = async || {
        let access = |bundle| Access::new(bundle, Arc::new(Anonymous), false, Duration::from_secs(5));
        files.keep(at.path(), &gateway, access).await
    };
    let failure = look().await.unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable, "{failure}");
    assert_eq!(look().await.unwrap(), Did::Nothing, "it was tried just now");
    assert_eq!(Bundle::read(&folder).unwrap(), Some(shown), "and what there is stays");
}
