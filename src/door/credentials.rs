//! Who may come in: devices and operators, their secrets as verifiers in the store, a copy of those in memory.
//!
//! A secret that the gateway makes has 256 random bits and is kept as HMAC-SHA-256 under the gateway's key, so a
//! reconnecting fleet costs microseconds a device. It must not know transports or topics.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rand::{RngCore, TryRngCore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::{Clock, DeviceId, IdError, Wall};
use crate::store::records::{Device, DeviceSettings, devices};
use crate::store::{Batch, Key, Range, Space, Store, StoreError};
use crate::topics::{Role, Who};

mod certificate;

pub use certificate::PeerCertificate;

/// The file with the gateway's key, in the data directory.
pub const KEY_FILE: &str = "credentials.key";
/// How verifiers of generated secrets begin in the store.
const SCHEME: &str = "hmac-sha256$";
/// How many records a scan reads at once.
const PAGE: usize = 1_000;

/// Why credentials could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key file.
    #[error("cannot use the key file {path}: {source}; mend its owner and mode, or restore it from a backup")]
    KeyFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file does not hold 32 bytes, or others may read it.
    #[error("the key file {0} is not 32 bytes that only its owner may read; restore it from a backup, mode 0600")]
    BadKey(PathBuf),
    /// The key file is gone; a new one would shut everybody out who has a password.
    #[error("the key file {0} is missing, and passwords were made with it; restore it from a backup, mode 0600")]
    NoKey(PathBuf),
    /// The name is no id.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A secret that was just made: shown once. Its Debug hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text to give to the device or operator: 43 characters of `[A-Za-z0-9_-]`.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

struct Known {
    who: Who,
    verifier: [u8; 32],
}

/// The credentials. Share them as an `Arc`.
pub struct Credentials {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    known: RwLock<HashMap<String, Known>>,
    changing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the key in `data_dir` and all records. The key is made when there is neither it nor any record.
    pub async fn open(
        store: Arc<dyn Store>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, CredentialsError> {
        let path = data_dir.join(KEY_FILE);
        let fresh = nobody_in(&*store).await?;
        let read = tokio::task::spawn_blocking(move || open_key(&path, fresh)).await;
        let key = read.map_err(|_| CredentialsError::Store(StoreError::Closed))??;
        let (known, changing) = (RwLock::default(), tokio::sync::Mutex::default());
        let credentials = Arc::new(Self { store, clock, key, known, changing });
        credentials.reload().await?;
        Ok(credentials)
    }

    /// Reads all records again: what another part wrote counts from now on.
    pub async fn reload(&self) -> Result<(), CredentialsError> {
        let mut known = HashMap::new();
        for operator in self.records::<Operator>(Space::Operator).await? {
            if let Some(verifier) = parse_verifier(&operator.verifier) {
                known.insert(operator.name, Known { who: Who::Operator(operator.role), verifier });
            }
        }
        for device in self.records::<Device>(Space::Device).await?.into_iter().filter(|d| !d.revoked) {
            if let Some(verifier) = parse_verifier(&device.verifier) {
                known.insert(device.id.to_string(), Known { who: Who::Device(device.id), verifier });
            }
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Makes a secret for a new device.
    pub async fn add_device(&self, device: &DeviceId) -> Result<Secret, CredentialsError> {
        let _changing = self.changing.lock().await;
        let (secret, verifier) = self.new_secret(device.as_str())?;
        let created = self.clock.wall();
        let settings = DeviceSettings::default();
        let (id, text) = (device.clone(), write_verifier(&verifier));
        let mut batch = Batch::new();
        devices::put(&mut batch, &Device { id, verifier: text, settings, created, revoked: false })?;
        self.store.commit(batch).await?;
        self.learn(device.as_str(), Who::Device(device.clone()), verifier);
        Ok(secret)
    }

    /// Makes a secret for a new operator. The name has the alphabet of a device id.
    pub async fn add_operator(&self, name: &str, role: Role) -> Result<Secret, CredentialsError> {
        DeviceId::parse(name)?;
        let _changing = self.changing.lock().await;
        let (secret, verifier) = self.new_secret(name)?;
        let (created, text) = (self.clock.wall(), write_verifier(&verifier));
        let record = json!({ "name": name, "role": role, "verifier": text, "created": created });
        let mut batch = Batch::new();
        batch.put(Key::new(Space::Operator).text(name), record.to_string().into_bytes());
        self.store.commit(batch).await?;
        self.learn(name, Who::Operator(role), verifier);
        Ok(secret)
    }

    /// Removes a device's record; false when there was none. Its open connections are the door's to end.
    pub async fn remove_device(&self, device: &DeviceId) -> Result<bool, CredentialsError> {
        let is_device = |who: &Who| matches!(who, Who::Device(_));
        self.remove(Key::new(Space::Device).device(device), device.as_str(), is_device).await
    }

    /// Removes an operator; false when there was none. Its open connections are the door's to end.
    pub async fn remove_operator(&self, name: &str) -> Result<bool, CredentialsError> {
        let is_operator = |who: &Who| matches!(who, Who::Operator(_));
        self.remove(Key::new(Space::Operator).text(name), name, is_operator).await
    }

    async fn remove(&self, key: Key, name: &str, is: impl Fn(&Who) -> bool) -> Result<bool, CredentialsError> {
        let _changing = self.changing.lock().await;
        let was = self.store.get(key.clone()).await?.is_some();
        let mut batch = Batch::new();
        batch.delete(key);
        self.store.commit(batch).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.get(name).is_some_and(|k| is(&k.who)) {
            known.remove(name);
        }
        Ok(was)
    }

    /// All operators: name, role, when they were made; by name.
    pub async fn list_operators(&self) -> Result<Vec<(String, Role, Wall)>, CredentialsError> {
        let operators = self.records::<Operator>(Space::Operator).await?;
        Ok(operators.into_iter().map(|o| (o.name, o.role, o.created)).collect())
    }

    /// All devices with credentials, sorted.
    pub fn list_devices(&self) -> Vec<DeviceId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut devices: Vec<DeviceId> =
            known.values().filter_map(|k| if let Who::Device(d) = &k.who { Some(d.clone()) } else { None }).collect();
        devices.sort();
        devices
    }

    /// Is there an operator at all: the first start makes one when not.
    pub fn has_operator(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().any(|k| matches!(k.who, Who::Operator(_)))
    }

    /// Makes the first operator, an administrator, when there is none; none when there is one.
    pub async fn first_operator(&self, name: &str) -> Result<Option<Secret>, CredentialsError> {
        if self.has_operator() {
            return Ok(None);
        }
        self.add_operator(name, Role::Admin).await.map(Some)
    }

    /// Who it is, when the password fits. An unknown user costs the same.
    pub fn verify(&self, user: &str, password: &[u8]) -> Option<Who> {
        let mac = self.mac(user, password);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let nobody = [0_u8; 32];
        let entry = known.get(user);
        let fits: bool = entry.map_or(&nobody, |k| &k.verifier).ct_eq(&mac).into();
        entry.filter(|_| fits).map(|k| k.who.clone())
    }

    /// Has somebody of this name a secret.
    pub fn knows(&self, user: &str) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains_key(user)
    }

    fn new_secret(&self, name: &str) -> Result<(Secret, [u8; 32]), CredentialsError> {
        if self.knows(name) {
            return Err(CredentialsError::Exists(name.to_owned()));
        }
        let mut random = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|_| CredentialsError::Random)?;
        let secret = Secret(URL_SAFE_NO_PAD.encode(random));
        let verifier = self.mac(name, secret.reveal().as_bytes());
        Ok((secret, verifier))
    }

    fn learn(&self, name: &str, who: Who, verifier: [u8; 32]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), Known { who, verifier });
    }

    /// Bound to the name: a verifier copied to another record fits nobody.
    fn mac(&self, user: &str, password: &[u8]) -> [u8; 32] {
        // HMAC fills a short key up with zeros to one block: the same key, without a fallible length check
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(&self.key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(user.as_bytes());
        mac.update(&[0]);
        mac.update(password);
        mac.finalize().into_bytes().into()
    }

    /// All records of a space. One that cannot be read admits nobody, and keeps nobody else out.
    async fn records<T: DeserializeOwned>(&self, space: Space) -> Result<Vec<T>, CredentialsError> {
        let mut records = Vec::new();
        let (mut from, to) = (Key::new(space), Key::new(space).after_prefix());
        loop {
            let range = Range { from: from.clone(), to: to.clone(), limit: PAGE, backwards: false };
            let page = self.store.scan(range).await?.records;
            let Some((last, _)) = page.last() else { return Ok(records) };
            from = last.clone().byte(0);
            for (key, payload) in &page {
                match serde_json::from_slice(payload) {
                    Ok(record) => records.push(record),
                    Err(error) => tracing::warn!(?key, %error, "credential record cannot be read, it admits nobody"),
                }
            }
        }
    }
}

/// An operator's record.
#[derive(Deserialize)]
struct Operator {
    name: String,
    role: Role,
    verifier: String,
    #[serde(default)]
    created: Wall,
}

fn write_verifier(verifier: &[u8; 32]) -> String {
    format!("{SCHEME}{}", STANDARD.encode(verifier))
}

fn parse_verifier(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.strip_prefix(SCHEME)?).ok()?.try_into().ok()
}

/// No password was ever made with the key, or none is left.
async fn nobody_in(store: &dyn Store) -> Result<bool, StoreError> {
    for space in [Space::Operator, Space::Device] {
        let (from, to) = (Key::new(space), Key::new(space).after_prefix());
        if !store.scan(Range { from, to, limit: 1, backwards: false }).await?.records.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the key; makes it when `fresh`, so that the file is there after a loss of power too.
fn open_key(path: &Path, fresh: bool) -> Result<[u8; 32], CredentialsError> {
    let failed = |source| CredentialsError::KeyFile { path: path.to_owned(), source };
    match std::fs::read(path) {
        Ok(bytes) => {
            let open_to_others = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0;
            let key = <[u8; 32]>::try_from(bytes).ok().filter(|_| !open_to_others);
            key.ok_or_else(|| CredentialsError::BadKey(path.to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !fresh {
                return Err(CredentialsError::NoKey(path.to_owned()));
            }
            let mut key = [0_u8; 32];
            rand::rngs::OsRng.unwrap_err().fill_bytes(&mut key);
            // half a key must never stand under the real name
            let unfinished = path.with_extension("new");
            let mut options = std::fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(failed)?;
            file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
            std::fs::rename(&unfinished, path).map_err(failed)?;
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use futures::future::BoxFuture;

    use super::*;
    use crate::domain::SystemClock;
    use crate::store::{CommitNo, Page};

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
            let records =
                map.range(range.from..range.to).take(range.limit).map(|(k, v)| (k.clone(), v.clone())).collect();
            Box::pin(async { Ok(Page { records }) })
        }
    }

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    async fn open(store: &Arc<MapStore>, dir: &Path) -> Result<Arc<Credentials>, CredentialsError> {
        Credentials::open(store.clone(), dir, Arc::new(SystemClock)).await
    }

    #[tokio::test]
    async fn nobody_gets_in_without_the_secret_that_was_made_for_him() {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
        let credentials = open(&store, dir.path()).await.unwrap();
        let secret = credentials.add_device(&device("dev1")).await.unwrap();
        let other = credentials.add_device(&device("dev2")).await.unwrap();
        assert_eq!(secret.reveal().len(), 43);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        for (user, password) in [("dev1", other.reveal()), ("dev1", ""), ("dev3", secret.reveal()), ("", "")] {
            assert_eq!(credentials.verify(user, password.as_bytes()), None, "{user}");
        }
        assert_eq!(credentials.verify("dev1", secret.reveal().as_bytes()), Some(Who::Device(device("dev1"))));
        assert!(matches!(credentials.add_device(&device("dev1")).await, Err(CredentialsError::Exists(_))));
        let stored = format!("{:?}", store.0.lock().unwrap());
        assert!(!stored.contains(secret.reveal()), "the store holds verifiers, never secrets");
    }

    #[tokio::test]
    async fn secrets_outlive_a_restart_and_die_with_their_device() {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
        let credentials = open(&store, dir.path()).await.unwrap();
        let token = credentials.first_operator("operator").await.unwrap().unwrap();
        assert_eq!(credentials.first_operator("operator").await.unwrap(), None);
        let secret = credentials.add_device(&device("dev1")).await.unwrap();
        let again = open(&store, dir.path()).await.unwrap();
        assert_eq!(again.list_devices(), [device("dev1")]);
        assert_eq!(again.verify("operator", token.reveal().as_bytes()), Some(Who::Operator(Role::Admin)));
        assert!(again.verify("dev1", secret.reveal().as_bytes()).is_some());
        let operators = again.list_operators().await.unwrap();
        assert_eq!((operators[0].0.as_str(), operators[0].1), ("operator", Role::Admin));
        assert!(!again.remove_operator("dev1").await.unwrap(), "a device is no operator");
        assert!(again.remove_device(&device("dev1")).await.unwrap());
        assert!(!again.remove_device(&device("dev1")).await.unwrap());
        assert_eq!(again.verify("dev1", secret.reveal().as_bytes()), None);
        assert!(again.remove_operator("operator").await.unwrap());
        assert_eq!(again.verify("operator", token.reveal().as_bytes()), None);
    }

    #[tokio::test]
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
        assert_eq!(credentials.verify("dev1", secrets[0].reveal().as_bytes()), None);
        assert_eq!(credentials.verify("dev2", secrets[1].reveal().as_bytes()), Some(Who::Device(two)));
    }

    #[tokio::test]
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
}
