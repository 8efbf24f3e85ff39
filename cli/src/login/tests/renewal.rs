//! Tokens that are renewed and given back, by several commands at once, and where nothing can be kept.

use std::any::Any;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio_util::task::TaskTracker;

use super::fake::{Fake, NOW};
use super::granted;
use crate::login::session::{Keeper, Session};
use crate::login::{Error, Left, Machine, Tokens, logout};

/// Keeps tokens in a file, beside a lock, as a store does.
struct Files(PathBuf);

impl Files {
    fn put(folder: &tempfile::TempDir, tokens: &Tokens) {
        let files = Self(folder.path().to_owned());
        files.write(&*files.lock().unwrap(), tokens).unwrap();
    }
}

impl Keeper for Files {
    fn lock(&self) -> Result<Box<dyn Any + Send>, Box<dyn std::error::Error + Send + Sync>> {
        let file = File::create(self.0.join("lock"))?;
        file.lock()?;
        Ok(Box::new(file))
    }

    fn read(&self) -> Result<Option<Tokens>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(serde_json::from_slice(&fs::read(self.0.join("tokens"))?)?)
    }

    fn write(&self, held: &dyn Any, tokens: &Tokens) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert!(held.is::<File>(), "the lock is held");
        fs::write(self.0.join("new"), serde_json::to_vec(&Some(tokens))?)?;
        Ok(fs::rename(self.0.join("new"), self.0.join("tokens"))?)
    }
}

/// A provider that takes each refresh token once, and tokens of it that end in ten seconds, in a folder.
async fn rotating() -> (Fake, tempfile::TempDir, Tokens) {
    let next = AtomicUsize::new(1);
    let fake = Fake::start(move |path, form| {
        (path == "/token").then(|| {
            let now = next.load(Ordering::SeqCst);
            if form["refresh_token"] != format!("refresh-{now}") {
                return (400, json!({ "error": "invalid_grant", "error_description": "reuse detected" }));
            }
            next.store(now + 1, Ordering::SeqCst);
            granted(&json!({
                "access_token": format!("access-{}", now + 1), "refresh_token": format!("refresh-{}", now + 1),
            }))
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens {
        access_token: "access-1".to_owned().into(),
        refresh_token: Some("refresh-1".to_owned().into()),
        id_token: None,
        expires_at: Some(NOW + 10),
        issuer: fake.issuer.clone(),
        client_id: "cli".to_owned(),
        scopes: vec!["tunnel:write".to_owned()],
        subject: "4711".to_owned(),
        account: "alice".to_owned(),
    };
    Files::put(&folder, &tokens);
    (fake, folder, tokens)
}

fn session(fake: &Fake, folder: &tempfile::TempDir) -> Session {
    Session::new(Arc::new(Files(folder.path().to_owned())), fake.web(), fake.ask(), None, TaskTracker::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_in_several_processes_one_renews_the_token() {
    let (fake, folder, _) = rotating().await;
    // A session is what a process has; they know of each other by the files alone.
    let sessions: Vec<_> = (0..4).map(|_| Arc::new(session(&fake, &folder))).collect();
    let mut calls = tokio::task::JoinSet::new();
    for session in &sessions {
        for _ in 0..25 {
            let session = Arc::clone(session);
            calls.spawn(async move { session.token().await.unwrap().expose().to_owned() });
        }
    }
    let tokens = calls.join_all().await;
    assert_eq!(tokens, vec!["access-2"; 100]);
    assert_eq!(fake.forms("/token").len(), 1);
    let kept = Files(folder.path().to_owned()).read().unwrap().unwrap();
    assert_eq!(kept.refresh_token.unwrap().expose(), "refresh-2", "the next renewal needs the new one");
    assert_eq!((kept.account.as_str(), kept.expires_at), ("alice", Some(NOW + 300)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_gateway_refuses_is_renewed_once_for_all_who_were_refused() {
    let (fake, folder, tokens) = rotating().await;
    Files::put(&folder, &Tokens { expires_at: Some(NOW + 1000), ..tokens });
    let session = Arc::new(session(&fake, &folder));
    let refused = session.token().await.unwrap();
    assert_eq!(refused.expose(), "access-1");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (session, refused) = (Arc::clone(&session), refused.clone());
        calls.spawn(async move { session.instead_of(&refused).await.unwrap().expose().to_owned() });
    }
    assert_eq!(calls.join_all().await, vec!["access-2"; 20]);
    assert_eq!(fake.forms("/token").len(), 1);
}

#[tokio::test]
async fn a_renewal_that_nobody_waits_for_any_more_is_kept_all_the_same() {
    let (fake, folder, _) = rotating().await;
    let renewals = TaskTracker::new();
    let keeper = Arc::new(Files(folder.path().to_owned()));
    let session = Session::new(keeper, fake.web(), fake.ask(), None, renewals.clone());
    let late = tokio::time::timeout(Duration::ZERO, session.token()).await;
    assert!(late.is_err(), "the command would have waited longer: {late:?}");
    drop(session);
    renewals.close();
    renewals.wait().await;
    let kept = Files(folder.path().to_owned()).read().unwrap().unwrap();
    assert_eq!(kept.refresh_token.unwrap().expose(), "refresh-2");
}

#[tokio::test]
async fn a_refresh_token_that_is_good_no_more_says_to_log_in_again() {
    let (fake, folder, tokens) = rotating().await;
    let old = Tokens { refresh_token: Some("refresh-0".to_owned().into()), ..tokens };
    Files::put(&folder, &old);
    let error = session(&fake, &folder).token().await.unwrap_err();
    assert!(error.hint().unwrap().contains("portcullis gateway login"), "{error}");
    let error = format!("{error} {error:?}");
    assert!(error.contains("alice") && !error.contains("refresh-0"), "{error}");
    let kept = Files(folder.path().to_owned()).read().unwrap();
    assert_eq!(kept, Some(old), "nothing is lost");
}

/// Keeps nothing more: the disk is full.
struct Full(Files);

impl Keeper for Full {
    fn lock(&self) -> Result<Box<dyn Any + Send>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock()
    }

    fn read(&self) -> Result<Option<Tokens>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.read()
    }

    fn write(&self, _: &dyn Any, _: &Tokens) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("the disk is full".into())
    }
}

#[tokio::test]
async fn where_nothing_can_be_kept_a_refresh_token_is_not_used_up() {
    let (fake, folder, _) = rotating().await;
    let keeper = Full(Files(folder.path().to_owned()));
    let session = Session::new(Arc::new(keeper), fake.web(), fake.ask(), None, TaskTracker::new());
    let error = session.token().await.unwrap_err();
    assert!(matches!(error, Error::Kept { .. }), "{error}");
    assert!(fake.forms("/token").is_empty());
    assert_eq!(self::session(&fake, &folder).token().await.unwrap().expose(), "access-2", "later it is");
}

#[tokio::test]
async fn a_machine_needs_no_disk() {
    let fake =
        Fake::start(|path, _| (path == "/token").then(|| granted(&json!({ "refresh_token": null })))).await;
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { client_id: "ci".to_owned(), secret: "word".to_owned().into() };
    let keeper = Full(Files(folder.path().to_owned()));
    let expired = Tokens { expires_at: Some(NOW - 1), refresh_token: None, ..rotating().await.2 };
    Files::put(&folder, &expired);
    let session = Session::new(Arc::new(keeper), fake.web(), fake.ask(), Some(machine), TaskTracker::new());
    assert_eq!(session.token().await.unwrap().expose(), "access-1");
    session.token().await.unwrap();
    assert_eq!(fake.forms("/token").len(), 1, "it is held in memory");
}

#[tokio::test]
async fn while_the_provider_is_away_a_token_holds_to_its_last_second() {
    let fake = Fake::start(|_, _| Some((503, json!({ "error": "away" })))).await;
    let (_, folder, tokens) = rotating().await;
    let tokens = Tokens { issuer: fake.issuer.clone(), ..tokens };
    Files::put(&folder, &tokens);
    let session = session(&fake, &folder);
    assert_eq!(session.token().await.unwrap().expose(), "access-1");
    fake.clock.set(NOW + 10);
    let error = session.token().await.unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
}

#[tokio::test]
async fn a_renewed_login_of_somebody_else_is_refused() {
    let own: Arc<OnceLock<Arc<Fake>>> = Arc::default();
    let giver = Arc::clone(&own);
    let fake = Fake::start(move |path, _| {
        let token =
            || giver.get().unwrap().id_token(&json!({ "sub": "666", "preferred_username": "mallory" }));
        (path == "/token").then(|| granted(&json!({ "id_token": token() })))
    })
    .await;
    let fake = Arc::new(fake);
    assert!(own.set(Arc::clone(&fake)).is_ok());
    let (_, folder, tokens) = rotating().await;
    Files::put(&folder, &Tokens { issuer: fake.issuer.clone(), ..tokens });
    let error = session(&fake, &folder).token().await.unwrap_err().to_string();
    assert!(error.contains("mallory") && error.contains("alice"), "{error}");
}

#[tokio::test]
async fn a_logout_gives_both_tokens_back_and_takes_that_signatures_cannot_be() {
    let fake = Fake::start(|path, form| {
        (path == "/revoke").then(|| match form["token_type_hint"].as_str() {
            "refresh_token" => (200, json!({})),
            _ => (400, json!({ "error": "unsupported_token_type" })),
        })
    })
    .await;
    let (_, _, tokens) = rotating().await;
    let tokens = Tokens { issuer: fake.issuer.clone(), ..tokens };
    let left = logout(&fake.web(), &tokens, None, false, &|word| panic!("{word:?}")).await.unwrap();
    assert_eq!(left, Left { refresh_revoked: true, access_revoked: false, session_ended: false });
    let given: Vec<_> = fake.forms("/revoke").into_iter().map(|form| form["token"].clone()).collect();
    assert_eq!(given, ["refresh-1", "access-1"]);
}
