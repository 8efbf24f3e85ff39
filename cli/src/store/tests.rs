//! What the store promises, on a real disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(&folder.path().join("own"), &folder.path().join("system"));
    (folder, store)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn add(store: &Store, called: &str, endpoint: &str) {
    let held = store.lock().unwrap();
    store.update(&held, &name(called), |it| it.endpoint = endpoint.to_owned()).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn bundle() -> Bundle {
    Bundle { ca: Some(b"ca".to_vec()), identity: Some((b"certificate".to_vec(), b"key".to_vec())) }
}

#[test]
fn folders_are_for_the_user_alone_and_so_are_files() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let held = store.lock().unwrap();
    store.set_bundle(&held, &name("shop"), &bundle()).unwrap();
    store.set_item(&name("shop"), Item::EdgeToken, Some(b"token")).unwrap();
    store.set_active(&held, Some(&name("shop"))).unwrap();
    let own = folder.path().join("own");
    for inside in ["", "gateways", "gateways/shop", "gateways/shop/mtls"] {
        assert_eq!(mode(&own.join(inside)), 0o700, "{inside}");
    }
    for inside in ["active_gateway", "lock", "gateways/shop/metadata.json", "gateways/shop/edge_token"] {
        assert_eq!(mode(&own.join(inside)), 0o600, "{inside}");
    }
    for inside in ["ca.crt", "tls.crt", "tls.key"] {
        assert_eq!(mode(&own.join("gateways/shop/mtls").join(inside)), 0o600, "{inside}");
    }
    assert_eq!(store.bundle(Place::Own, &name("shop")).unwrap(), Some(bundle()));
}

#[test]
fn what_a_later_command_does_not_mention_stays_fields_of_a_later_version_too() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let file = folder.path().join("own/gateways/shop/metadata.json");
    let written = r#"{"endpoint":"https://shop","mode":"Edge","project":"p","later":{"a":[1]},"oidc":{"issuer":"https://i","later":true}}"#;
    fs::write(&file, written).unwrap();
    let held = store.lock().unwrap();
    let changed = store.update(&held, &name("shop"), |it| it.endpoint = "https://else".to_owned()).unwrap();
    assert_eq!((changed.mode, changed.project.as_deref()), (Mode::Edge, Some("p")));
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["later"], serde_json::json!({ "a": [1] }));
    assert_eq!(kept["oidc"]["later"], serde_json::json!(true));
    assert_eq!(kept["endpoint"], "https://else");
}

#[test]
fn a_file_that_was_cut_short_is_said_and_is_in_no_other_gateway_s_way() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    add(&store, "lab", "https://lab");
    let file = folder.path().join("own/gateways/shop/metadata.json");
    for cut in ["", "{\"endpoint\":\"https"] {
        fs::write(&file, cut).unwrap();
        let error = store.find(&name("shop")).unwrap_err().to_string();
        assert!(error.contains("cut short") && error.contains("metadata.json"), "{error}");
        let entries = store.entries().unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].metadata.is_ok() && entries[1].metadata.is_err());
    }
}

#[test]
fn no_symbolic_link_is_followed_wherever_it_is() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let own = folder.path().join("own");
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("metadata.json"), r#"{"endpoint":"https://evil"}"#).unwrap();
    fs::write(elsewhere.join("token"), "theirs").unwrap();

    symlink(elsewhere.join("token"), own.join("gateways/shop/edge_token")).unwrap();
    let read = store.item(Place::Own, &name("shop"), Item::EdgeToken).unwrap_err();
    assert!(matches!(read, Error::Link(_)), "{read}");
    let written = store.set_item(&name("shop"), Item::EdgeToken, Some(b"mine")).unwrap_err();
    assert!(matches!(written, Error::Link(_)), "{written}");
    assert_eq!(fs::read_to_string(elsewhere.join("token")).unwrap(), "theirs");

    symlink(&elsewhere, own.join("gateways/evil")).unwrap();
    let found = store.find(&name("evil")).unwrap_err();
    assert!(matches!(found, Error::Link(_)), "{found}");
    let held = store.lock().unwrap();
    let removed = store.remove(&held, &name("evil")).unwrap_err();
    assert!(matches!(removed, Error::Link(_)), "{removed}");
    assert!(elsewhere.join("token").exists());
    assert!(store.entries().unwrap().iter().all(|entry| entry.name.as_str() != "evil"));
    drop(held);

    let linked = Store::at(&folder.path().join("linked"), Path::new("/nowhere"));
    symlink(&own, folder.path().join("linked")).unwrap();
    assert!(matches!(linked.entries().unwrap_err(), Error::Link(_)));
    assert!(matches!(linked.lock().unwrap_err(), Error::Link(_)));
}

#[test]
fn removing_takes_the_links_in_a_folder_and_not_what_they_point_to() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, folder.path().join("own/gateways/shop/mtls")).unwrap();
    let held = store.lock().unwrap();
    store.set_active(&held, Some(&name("shop"))).unwrap();
    store.remove(&held, &name("shop")).unwrap();
    assert_eq!(store.find(&name("shop")).unwrap(), None);
    assert_eq!(store.active(Place::Own).unwrap(), None);
    assert!(outside.join("kept").exists());
}

#[test]
fn whoever_reads_while_somebody_writes_sees_all_of_one_and_nothing_of_the_other() {
    let (_folder, store) = store();
    add(&store, "shop", "https://shop");
    let texts = ["a".repeat(100_000), "b".repeat(100_000)];
    let writers: Vec<_> = texts
        .iter()
        .map(|text| {
            let (store, text) = (store.clone(), text.clone());
            std::thread::spawn(move || {
                for _ in 0..30 {
                    store.set_item(&name("shop"), Item::OidcToken, Some(text.as_bytes())).unwrap();
                }
            })
        })
        .collect();
    while !writers.iter().all(std::thread::JoinHandle::is_finished) {
        if let Some(read) = store.item(Place::Own, &name("shop"), Item::OidcToken).unwrap() {
            assert!(texts.iter().any(|text| text.as_bytes() == read), "a mixture of both");
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
}

#[test]
fn what_a_command_that_was_killed_has_left_goes_with_the_next_write() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let inside = folder.path().join("own/gateways/shop");
    let left = inside.join(format!(".edge_token.{}.0", gone.id()));
    let busy = inside.join(format!(".edge_token.{}.99", std::process::id()));
    fs::write(&left, "half a token").unwrap();
    fs::write(&busy, "").unwrap();
    store.set_item(&name("shop"), Item::EdgeToken, Some(b"token")).unwrap();
    assert!(!left.exists() && busy.exists());
}

#[test]
fn a_certificate_is_never_read_with_another_one_s_key() {
    let (_folder, store) = store();
    add(&store, "shop", "https://shop");
    let writer = {
        let store = store.clone();
        std::thread::spawn(move || {
            for at in 0..40 {
                let text = format!("{at}").into_bytes();
                let bundle = Bundle { ca: Some(text.clone()), identity: Some((text.clone(), text)) };
                store.set_bundle(&store.lock().unwrap(), &name("shop"), &bundle).unwrap();
            }
        })
    };
    let mut seen = 0;
    while !writer.is_finished() {
        if let Some(read) = store.bundle(Place::Own, &name("shop")).unwrap() {
            let (certificate, key) = read.identity.unwrap();
            assert!(certificate == key && read.ca.as_ref() == Some(&key));
            seen += 1;
        }
    }
    writer.join().unwrap();
    assert!(seen > 0);
}

#[test]
fn two_that_change_the_same_gateway_at_once_lose_nothing() {
    let (_folder, store) = store();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            std::thread::spawn(move || {
                for at in 0..20 {
                    let held = store.lock().unwrap();
                    let key = format!("{writer}-{at}");
                    store.update(&held, &name("shop"), |it| drop(it.more.insert(key, true.into()))).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(store.find(&name("shop")).unwrap().unwrap().1.more.len(), 80);
}

#[test]
fn a_disk_without_room_and_one_that_may_not_be_written_are_said_in_words() {
    use rustix::io::Errno;
    let said = |errno| Error::system("write", "/x/y".into(), errno).to_string();
    assert!(said(Errno::NOSPC).contains("the disk is full"));
    assert!(said(Errno::ROFS).contains("nothing may be written there"));
    let kind = store();
    fs::write(kind.0.path().join("own"), "a file").unwrap();
    let error = kind.1.lock().unwrap_err();
    assert!(matches!(error, Error::Kind { wanted: "folder", .. }), "{error}");
}

#[test]
fn the_system_s_gateways_come_last_and_are_hidden_by_the_user_s_own() {
    let (folder, store) = store();
    let system = Store::at(&folder.path().join("system"), Path::new("/nowhere"));
    add(&system, "shop", "https://system");
    add(&system, "company", "https://company");
    add(&store, "shop", "https://own");
    let listed: Vec<_> =
        store.entries().unwrap().into_iter().map(|it| (it.name.to_string(), it.place)).collect();
    assert_eq!(listed, [("shop".to_owned(), Place::Own), ("company".to_owned(), Place::System)]);
    assert_eq!(store.find(&name("shop")).unwrap().unwrap().1.endpoint, "https://own");
    assert_eq!(store.find(&name("company")).unwrap().unwrap().0, Place::System);
}

#[test]
fn half_a_bundle_is_none() {
    let (folder, store) = store();
    add(&store, "shop", "https://shop");
    let held = store.lock().unwrap();
    store.set_bundle(&held, &name("shop"), &bundle()).unwrap();
    drop(held);
    fs::remove_file(folder.path().join("own/gateways/shop/mtls/tls.key")).unwrap();
    let error = store.bundle(Place::Own, &name("shop")).unwrap_err().to_string();
    assert!(error.contains("tls.key") && error.contains("missing"), "{error}");
}
