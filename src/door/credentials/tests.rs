//! Who gets in, what it costs, and what is never said.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::*;
use crate::domain::SystemClock;
use crate::store::{CommitNo, Page, Range};

/// A store in memory.
#[derive(Default)]
pub(crate) struct MapStore(Mutex<BTreeMap<Key, Vec<u8>>>);

impl Store for MapStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
        let mut map = self.0.lock().unwrap();
        for (key, value) in batch.changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Box::pin(async { Ok(CommitNo(1)) })
    }

    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        let found = self.0.lock().unwrap().get(&key).cloned();
        Box::pin(async { Ok(found) })
    }

    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
        let map = self.0.lock().unwrap();
        let found = map.range(range.from..range.to).map(|(k, v)| (k.clone(), v.clone()));
        let records =
            if range.backwards { found.rev().take(range.limit).collect() } else { found.take(range.limit).collect() };
        Box::pin(async { Ok(Page { records }) })
    }
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn from(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn attempt<'a>(user: &'a str, password: &'a str, address: IpAddr) -> Attempt<'a> {
    Attempt { user: Some(user), password: Some(password.as_bytes()), address, certificate: None }
}

async fn who(credentials: &Credentials, user: &str, password: &str) -> Option<Who> {
    credentials.login(attempt(user, password, from(1))).await.ok().map(|identity| identity.who)
}

async fn open(store: &Arc<MapStore>, dir: &Path) -> Result<Arc<Credentials>, CredentialsError> {
    Credentials::open(store.clone(), dir, Arc::new(SystemClock)).await
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_in_without_the_secret_that_was_made_for_him() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let secret = credentials.add_device(&device("dev1")).await.unwrap();
    let other = credentials.add_device(&device("dev2")).await.unwrap();
    assert_eq!(secret.reveal().len(), 43);
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    for (user, password) in [("dev1", other.reveal()), ("dev1", ""), ("dev3", secret.reveal()), ("", "")] {
        assert_eq!(who(&credentials, user, password).await, None, "{user}");
    }
    assert_eq!(who(&credentials, "dev1", secret.reveal()).await, Some(Who::Device(device("dev1"))));
    assert!(matches!(credentials.add_device(&device("dev1")).await, Err(CredentialsError::Exists(_))));
    let stored = format!("{:?}", store.0.lock().unwrap());
    assert!(!stored.contains(secret.reveal()), "the store holds verifiers, never secrets");
}

#[tokio::test(start_paused = true)]
async fn secrets_outlive_a_restart_and_die_with_their_device() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let token = credentials.first_operator("operator").await.unwrap().unwrap();
    assert_eq!(credentials.first_operator("operator").await.unwrap(), None);
    let secret = credentials.add_device(&device("dev1")).await.unwrap();
    let again = open(&store, dir.path()).await.unwrap();
    assert_eq!(again.list_devices(), [device("dev1")]);
    assert_eq!(who(&again, "operator", token.reveal()).await, Some(Who::Operator(Role::Admin)));
    assert!(who(&again, "dev1", secret.reveal()).await.is_some());
    let operators = again.list_operators().await.unwrap();
    assert_eq!((operators[0].0.as_str(), operators[0].1), ("operator", Role::Admin));
    assert!(!again.remove_operator("dev1").await.unwrap(), "a device is no operator");
    assert!(again.remove_device(&device("dev1")).await.unwrap());
    assert!(!again.remove_device(&device("dev1")).await.unwrap());
    assert_eq!(who(&again, "dev1", secret.reveal()).await, None);
    assert!(again.remove_operator("operator").await.unwrap());
    assert_eq!(who(&again, "operator", token.reveal()).await, None);
}

#[tokio::test(start_paused = true)]
async fn revoked_and_unreadable_records_admit_nobody_and_keep_nobody_out() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let (one, two) = (device("dev1"), device("dev2"));
    let secrets = [credentials.add_device(&one).await.unwrap(), credentials.add_device(&two).await.unwrap()];
    let mut record = devices::get(&*store, &one).await.unwrap().unwrap();
    record.revoked = true;
    let mut batch = Batch::new();
    devices::put(&mut batch, &record).unwrap();
    batch.put(Key::new(Space::Device).text("dev0"), b"{".to_vec());
    store.commit(batch).await.unwrap();
    credentials.reload().await.unwrap();
    assert_eq!(who(&credentials, "dev1", secrets[0].reveal()).await, None);
    assert_eq!(who(&credentials, "dev2", secrets[1].reveal()).await, Some(Who::Device(two)));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_open_key_file_is_said_and_never_replaced() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let path = dir.path().join(KEY_FILE);
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(open(&store, dir.path()).await, Err(CredentialsError::BadKey(_))));
    std::fs::write(&path, [7; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(&store, dir.path()).await, Err(CredentialsError::BadKey(_))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let credentials = open(&store, dir.path()).await.unwrap();
    credentials.add_device(&device("dev1")).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = open(&store, dir.path()).await.unwrap_err();
    assert!(matches!(error, CredentialsError::NoKey(_)) && error.to_string().contains("backup"), "{error}");
    assert!(!path.exists(), "no new one is made");
}

fn chosen(password: &str) -> Password {
    Password::Chosen(password.to_owned())
}

const CORRECT: &str = "correct horse battery";

#[tokio::test(start_paused = true)]
async fn a_password_that_a_person_chose_gets_in_and_a_short_one_is_refused() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let short = credentials.put_device(&device("dev1"), chosen("elevenchars"), false).await.unwrap_err();
    assert!(matches!(short, CredentialsError::Short(11)) && short.to_string().contains("12"), "{short}");
    assert!(!credentials.knows("dev1"));
    assert_eq!(credentials.put_device(&device("dev1"), chosen(CORRECT), false).await.unwrap(), None);
    assert_eq!(credentials.put_operator("anna", Role::Viewer, chosen(CORRECT)).await.unwrap(), None);
    assert_eq!(who(&credentials, "dev1", "correct horse Battery").await, None);
    let again = open(&store, dir.path()).await.unwrap();
    assert_eq!(who(&again, "dev1", CORRECT).await, Some(Who::Device(device("dev1"))));
    assert_eq!(who(&again, "anna", CORRECT).await, Some(Who::Operator(Role::Viewer)));
    let stored: String = store.0.lock().unwrap().values().map(|v| String::from_utf8_lossy(v).into_owned()).collect();
    assert!(stored.contains("$argon2id$") && !stored.contains(CORRECT));
    assert_eq!(format!("{:?} {:?}", chosen(CORRECT), attempt("u", CORRECT, from(1))).find("horse"), None);
}

/// Made by `mosquitto_passwd` 2.0.11.
const ANNA: &str =
    "$7$101$GgpN2FxsTQ6GQO9h$UCpAbfarcDXYDhK7ksXFuNOSzFj79BvzVA0caRhRs5moiCSLjzDb5aTgtwHoG4IuR4JIV5q1TOJ7aEMP1FDrPw==";

#[tokio::test(start_paused = true)]
async fn a_hash_of_mosquitto_is_renewed_at_its_first_right_use_and_not_before() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let plain = credentials.put_operator("anna", Role::Operator, Password::Hashed("plain".into())).await;
    assert!(matches!(plain, Err(CredentialsError::Foreign)));
    credentials.put_operator("anna", Role::Operator, Password::Hashed(ANNA.into())).await.unwrap();
    credentials.put_device(&device("dev1"), Password::Hashed(ANNA.into()), false).await.unwrap();
    assert_eq!(who(&credentials, "anna", "secret-of-bert").await, None);
    assert_eq!(credentials.metrics.renewed.get(), 0);
    for name in ["anna", "dev1"] {
        assert!(who(&credentials, name, "secret-of-anna").await.is_some());
        assert!(who(&credentials, name, "secret-of-anna").await.is_some());
    }
    assert_eq!(credentials.metrics.renewed.get(), 2, "once each");
    let stored = devices::get(&*store, &device("dev1")).await.unwrap().unwrap();
    assert!(stored.verifier.starts_with("$argon2id$"));
    let again = open(&store, dir.path()).await.unwrap();
    assert_eq!(who(&again, "anna", "secret-of-anna").await, Some(Who::Operator(Role::Operator)));
    assert_eq!(again.metrics.renewed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attack_on_a_name_costs_the_attacker_and_locks_no_owner_out() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let secret = credentials.add_device(&device("dev1")).await.unwrap();
    credentials.put_device(&device("dev2"), chosen(CORRECT), false).await.unwrap();
    let begun = Instant::now();
    for n in 0..8 {
        for name in ["dev1", "dev2"] {
            let wrong = credentials.login(attempt(name, &format!("guess-{n}"), from(66))).await;
            assert_eq!(wrong, Err(Denied::Wrong));
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(40), "16 guesses took {:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(credentials.login(attempt("dev1", secret.reveal(), from(66))).await.is_ok(), "the same address");
    assert!(credentials.login(attempt("dev1", secret.reveal(), from(2))).await.is_ok());
    assert!(credentials.login(attempt("dev2", CORRECT, from(2))).await.is_ok(), "another address");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(credentials.metrics.logins("wrong"), 16);
    assert_eq!((credentials.metrics.logins("secret"), credentials.metrics.logins("password")), (2, 1));
}

#[tokio::test]
async fn a_flood_of_checks_is_refused_and_secrets_come_in_past_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    credentials.put_device(&device("dev2"), chosen(CORRECT), false).await.unwrap();
    let secret = credentials.add_device(&device("dev1")).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..64 {
        let credentials = Arc::clone(&credentials);
        flood.spawn(async move { credentials.login(attempt("dev2", &format!("guess-{n}"), from(66))).await });
    }
    tokio::task::yield_now().await;
    assert!(credentials.login(attempt("dev1", secret.reveal(), from(66))).await.is_ok());
    assert!(credentials.login(attempt("dev2", CORRECT, from(2))).await.is_ok(), "the owner finds room");
    flood.abort_all();
    let mut busy = 0;
    while let Some(end) = flood.join_next().await {
        busy += usize::from(matches!(end, Ok(Err(Denied::Busy))));
    }
    assert!(busy >= 50, "{busy} of 64 were refused");
    assert_eq!(credentials.metrics.logins("busy"), busy as u64);
}

#[tokio::test(start_paused = true)]
async fn a_changed_password_counts_at_once_and_is_told() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let old = credentials.add_device(&device("dev1")).await.unwrap();
    credentials.add_operator("anna", Role::Viewer).await.unwrap();
    let mut changed = credentials.changed();
    changed.mark_unchanged();
    let new = credentials.change_device(&device("dev1"), Password::Made).await.unwrap().unwrap();
    assert!(changed.has_changed().unwrap());
    assert_eq!(who(&credentials, "dev1", old.reveal()).await, None);
    assert!(who(&credentials, "dev1", new.reveal()).await.is_some());
    credentials.change_operator("anna", chosen(CORRECT)).await.unwrap();
    assert_eq!(who(&credentials, "anna", CORRECT).await, Some(Who::Operator(Role::Viewer)), "the role stays");
    for unknown in [
        credentials.change_device(&device("anna"), Password::Made).await,
        credentials.change_operator("dev1", Password::Made).await,
    ] {
        assert!(matches!(unknown, Err(CredentialsError::Unknown(_))));
    }
    assert_eq!(credentials.who("dev1"), Some(Who::Device(device("dev1"))));
    credentials.remove_device(&device("dev1")).await.unwrap();
    assert_eq!(credentials.who("dev1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_changed_during_a_login_does_not_get_in() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let anew = "a new horse battery";
    credentials.put_device(&device("dev1"), chosen(CORRECT), false).await.unwrap();
    // who was wrong lately waits for its turn
    assert_eq!(who(&credentials, "dev1", "a guess").await, None);
    assert!(who(&credentials, "dev1", CORRECT).await.is_some());
    let mut login = Box::pin(who(&credentials, "dev1", CORRECT));
    assert!(futures::poll!(login.as_mut()).is_pending());
    credentials.reload().await.unwrap();
    assert_eq!(login.await, Some(Who::Device(device("dev1"))), "read anew, and the same");
    let mut login = Box::pin(who(&credentials, "dev1", CORRECT));
    assert!(futures::poll!(login.as_mut()).is_pending());
    credentials.change_device(&device("dev1"), chosen(anew)).await.unwrap();
    assert_eq!(login.await, None, "changed");
    let mut login = Box::pin(who(&credentials, "dev1", anew));
    assert!(futures::poll!(login.as_mut()).is_pending());
    credentials.remove_device(&device("dev1")).await.unwrap();
    assert_eq!(login.await, None, "removed");
}

fn certificate(cn: Option<&str>, san: &[&str]) -> PeerCertificate {
    let alt_names = san.iter().map(|name| (*name).to_owned()).collect();
    PeerCertificate { common_name: cn.map(str::to_owned), alt_names, fingerprint: "00".into() }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_whoever_of_its_name_is_known_here() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    let secret = credentials.add_device(&device("dev1")).await.unwrap();
    credentials.add_operator("anna", Role::Viewer).await.unwrap();
    credentials.add_device(&device("gone")).await.unwrap();
    let mut record = devices::get(&*store, &device("gone")).await.unwrap().unwrap();
    record.revoked = true;
    let mut batch = Batch::new();
    devices::put(&mut batch, &record).unwrap();
    store.commit(batch).await.unwrap();
    let open = |identity, require_password| {
        let certificates = CertificateSettings { identity, require_password };
        let options = Options { certificates, ..Options::default() };
        Credentials::open_with(store.clone(), dir.path(), Arc::new(SystemClock), options)
    };
    let by = |credentials: Arc<Credentials>,
              cn: Option<&'static str>,
              san: &'static [&'static str],
              user,
              password: Option<String>| async move {
        let certificate = certificate(cn, san);
        let password = password.as_deref().map(str::as_bytes);
        let identity = credentials.login(Attempt { user, password, address: from(1), certificate: Some(&certificate) });
        identity.await.map(|identity| identity.user.to_string())
    };
    let cn = open(CertificateName::Cn, false).await.unwrap();
    assert_eq!(by(cn.clone(), Some("dev1"), &[], None, None).await, Ok("dev1".into()));
    assert_eq!(by(cn.clone(), Some("anna"), &["dev1"], Some("anna"), None).await, Ok("anna".into()));
    assert_eq!(by(cn.clone(), Some("anna"), &[], Some("dev1"), None).await, Err(Denied::Certificate));
    assert_eq!(by(cn.clone(), Some("gone"), &[], None, None).await, Err(Denied::Certificate), "revoked");
    assert_eq!(by(cn.clone(), Some("nobody"), &["dev1"], None, None).await, Err(Denied::Nothing));
    assert_eq!(by(cn.clone(), None, &["dev1"], None, None).await, Err(Denied::Nothing));
    assert_eq!(by(cn.clone(), Some("dev1"), &[], Some("dev1"), Some("wrong".into())).await, Err(Denied::Wrong));
    let right = Some(secret.reveal().to_owned());
    assert_eq!(by(cn.clone(), Some("nobody"), &[], Some("dev1"), right.clone()).await, Ok("dev1".into()));
    let san = open(CertificateName::San, false).await.unwrap();
    assert_eq!(by(san.clone(), Some("anna"), &["x.example", "dev1"], None, None).await, Ok("dev1".into()));
    assert_eq!(by(san.clone(), None, &["anna", "dev1"], None, None).await, Err(Denied::Certificate), "two at once");
    assert_eq!(by(san.clone(), None, &["dev1", "gone"], None, None).await, Err(Denied::Certificate));
    let both = open(CertificateName::Cn, true).await.unwrap();
    assert_eq!(by(both.clone(), Some("dev1"), &[], None, None).await, Err(Denied::Nothing));
    assert_eq!(by(both.clone(), Some("dev1"), &[], Some("dev1"), None).await, Err(Denied::Wrong));
    assert_eq!(by(both.clone(), Some("dev1"), &[], Some("dev1"), right).await, Ok("dev1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_key_costs_its_secrets_and_nothing_else() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let path = dir.path().join(KEY_FILE);
    let credentials = open(&store, dir.path()).await.unwrap();
    credentials.add_device(&device("dev1")).await.unwrap();
    credentials.put_device(&device("dev2"), chosen(CORRECT), false).await.unwrap();
    credentials.add_operator("anna", Role::Admin).await.unwrap();
    assert!(matches!(reset_key(&*store, dir.path(), false).await, Err(CredentialsError::GoodKey(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(&store, dir.path()).await, Err(CredentialsError::NoKey(_))));
    let options = Options { without_key: true, ..Options::default() };
    let keyless = Credentials::open_with(store.clone(), dir.path(), Arc::new(SystemClock), options).await.unwrap();
    assert_eq!(keyless.list_devices().len(), 2, "what is there can be read");
    assert!(matches!(keyless.add_device(&device("dev3")).await, Err(CredentialsError::NoKey(_))));
    assert!(!path.exists());
    let dropped = reset_key(&*store, dir.path(), false).await.unwrap();
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let expected = Dropped { devices: names(&["dev1"]), operators: names(&["anna"]), kept: names(&["dev2"]) };
    assert_eq!(dropped, expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let credentials = open(&store, dir.path()).await.unwrap();
    assert_eq!(who(&credentials, "dev1", "").await, None, "nobody gets in where a secret was");
    assert!(credentials.knows("dev1"), "nor is the name free for a stranger");
    assert!(who(&credentials, "dev2", CORRECT).await.is_some());
    let new = credentials.change_device(&device("dev1"), Password::Made).await.unwrap().unwrap();
    assert!(who(&credentials, "dev1", new.reveal()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_secret_was_made_with_is_made_anew() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
    let credentials = open(&store, dir.path()).await.unwrap();
    credentials.put_device(&device("dev2"), chosen(CORRECT), false).await.unwrap();
    std::fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    let credentials = open(&store, dir.path()).await.unwrap();
    assert!(who(&credentials, "dev2", CORRECT).await.is_some());
}
