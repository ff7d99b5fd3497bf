//! Who may come in: devices and operators, their passwords as verifiers in the store, a copy of those in memory.
//!
//! A secret that the gateway makes has 256 random bits and is kept as HMAC-SHA-256 under the gateway's key, so a
//! reconnecting fleet costs microseconds a device. A password that a person chose is kept as argon2id and checked on
//! threads of its own ([`Credentials::login`]). It must not know transports or topics.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::domain::{Clock, DeviceId, IdError, Wall};
use crate::store::records::{Device, DeviceSettings, Status, devices};
use crate::store::{Batch, Key, Space, Store, StoreError};
use crate::topics::{self, Role, Who};

mod backoff;
mod binding;
mod board;
mod certificate;
mod expected;
mod hashing;
mod key;
mod login;
mod metrics;
mod pass;
mod password;
mod records;
mod reset;
mod secret;
mod settings;
mod signing;
#[cfg(test)]
pub(crate) mod tests;
mod verifier;

pub use binding::Step;
pub use board::{Enrolled, Fingerprint, Standing, Taken};
pub use certificate::PeerCertificate;
pub use expected::Expectation;
pub use key::KEY_FILE;
pub use login::{Attempt, Denied, Identity};
pub use metrics::Metrics;
pub use password::{MIN_PASSWORD, Password};
pub use reset::{Dropped, reset_key};
pub use secret::Secret;
pub use settings::{CertificateName, CertificateSettings, Settings};

use backoff::Backoff;
use hashing::Hashing;
use key::GatewayKey;
use records::Operator;
use verifier::Verifier;

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
    #[error(
        "the key file {0} is not 32 bytes that only its owner may read; mend its mode (0600) or restore it from a \
         backup; without one, `voxgate operator reset-key` makes a new key"
    )]
    BadKey(PathBuf),
    /// The key file is gone; a new one shuts everybody out who has a secret that was made with it.
    #[error(
        "the key file {0} is missing, and passwords were made with it; restore it from a backup, mode 0600; without \
         one, `voxgate operator reset-key` makes a new key and tells whose passwords are lost"
    )]
    NoKey(PathBuf),
    /// The key works: a new one would shut people out for nothing.
    #[error("the key file {0} is in order; --force makes a new one all the same")]
    GoodKey(PathBuf),
    /// The name is no id.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no {0}")]
    Unknown(String),
    /// A chosen password is too short.
    #[error(
        "the password has {0} characters, and at least {MIN_PASSWORD} are needed; or leave it out, and one is made"
    )]
    Short(usize),
    /// A foreign hash of a kind that cannot be checked here.
    #[error("the hash is none of mosquitto's ($7$ or $6$) and no argon2id of at most 64 MiB; set a new password")]
    Foreign,
    /// A text that is too long, or empty.
    #[error("{0}")]
    Text(&'static str),
    /// A step that is not allowed from where the device is.
    #[error("{0}")]
    Step(&'static str),
    /// Nobody registered the device.
    #[error("device is not registered")]
    NotRegistered,
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked just now; try again")]
    Busy,
    /// A hash could not be made.
    #[error("cannot hash a password: {0}")]
    Hash(String),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// What is said of a device that was revoked.
const REVOKED: &str = "the device is revoked: registering it again with force_rotate brings it back";

/// How to open the credentials.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What wrong passwords cost.
    pub settings: Settings,
    /// Whose certificate is whose.
    pub certificates: CertificateSettings,
    /// Counters.
    pub metrics: Metrics,
    /// Open also without a key that works: then no secret is made and none fits.
    pub without_key: bool,
}

#[derive(Clone)]
struct Known {
    who: Who,
    verifier: Arc<Verifier>,
    /// It is known, so nobody else may be it, and it may not come in.
    revoked: bool,
    /// It may not come in: it is revoked, or was registered and is not activated yet.
    shut: bool,
    /// What the device speaks, when its record says so.
    dialect: Option<&'static str>,
}

impl Known {
    fn device(device: &Device) -> Self {
        Self {
            who: Who::Device(device.id.clone()),
            verifier: read_verifier(device.id.as_str(), &device.verifier),
            revoked: device.revoked,
            shut: device.revoked || device.standing().status != Status::Activated,
            dialect: device.settings.dialect.as_deref().and_then(topics::dialect),
        }
    }

    fn operator(operator: &Operator) -> Self {
        let verifier = read_verifier(&operator.name, &operator.verifier);
        Self { who: Who::Operator(operator.role), verifier, revoked: false, shut: false, dialect: None }
    }

    /// Nobody changed the record since the other was read.
    fn is(&self, other: &Self) -> bool {
        self.who == other.who && Arc::ptr_eq(&self.verifier, &other.verifier)
    }
}

/// The credentials. Share them as an `Arc`.
pub struct Credentials {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    key: Option<GatewayKey>,
    key_path: PathBuf,
    known: RwLock<HashMap<String, Known>>,
    changing: tokio::sync::Mutex<()>,
    generation: watch::Sender<u64>,
    certificates: CertificateSettings,
    patience: std::time::Duration,
    backoff: Backoff,
    hashing: Hashing,
    metrics: Metrics,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the key in `data_dir` and all records. The key is made when there is neither it nor any secret of it.
    pub async fn open(
        store: Arc<dyn Store>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, CredentialsError> {
        Self::open_with(store, data_dir, clock, Options::default()).await
    }

    /// The same, as `options` say.
    pub async fn open_with(
        store: Arc<dyn Store>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Arc<Self>, CredentialsError> {
        let Options { settings, certificates, metrics, without_key } = options;
        let key_path = data_dir.join(KEY_FILE);
        let fresh = !records::any_secret(&*store).await?;
        let path = key_path.clone();
        let read = tokio::task::spawn_blocking(move || GatewayKey::open(&path, fresh)).await;
        let key = match read.map_err(|_| CredentialsError::Store(StoreError::Closed))? {
            Ok(key) => Some(key),
            Err(_) if without_key => None,
            Err(error) => return Err(error),
        };
        let hashing = Hashing::start(settings.hash_threads, settings.hash_queue, metrics.clone())?;
        let patience = settings.delay_max.0 * 2;
        let credentials = Arc::new(Self {
            store,
            clock,
            key,
            key_path,
            known: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            generation: watch::Sender::new(0),
            certificates,
            patience,
            backoff: Backoff::new(settings, metrics.clone()),
            hashing,
            metrics,
        });
        credentials.reload().await?;
        Ok(credentials)
    }

    /// Reads all records again: what another part wrote counts from now on.
    pub async fn reload(&self) -> Result<(), CredentialsError> {
        let mut known = HashMap::new();
        for operator in records::operators(&*self.store).await? {
            known.insert(operator.name.clone(), Known::operator(&operator));
        }
        for device in records::devices(&*self.store).await? {
            known.insert(device.id.to_string(), Known::device(&device));
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        self.changed_now();
        Ok(())
    }

    /// A number that grows with every change: whoever holds an admitted identity asks [`Credentials::who`] again.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The number itself: who came in while it stood is still who he was then.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    fn changed_now(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Makes a secret for a new device.
    pub async fn add_device(&self, device: &DeviceId) -> Result<Secret, CredentialsError> {
        let secret = self.put_device(device, Password::Made, false).await?;
        secret.ok_or(CredentialsError::Random)
    }

    /// Makes a device, or with `replace` makes it anew. Gives the secret when the gateway made it.
    pub async fn put_device(
        &self,
        device: &DeviceId,
        password: Password,
        replace: bool,
    ) -> Result<Option<Secret>, CredentialsError> {
        let (secret, text) = self.make(device.as_str(), password).await?;
        let _changing = self.changing.lock().await;
        match self.get(device.as_str()) {
            Some(Known { who: Who::Device(_), revoked: false, .. }) if replace => {}
            Some(Known { who: Who::Device(_), revoked: true, .. }) => return Err(CredentialsError::Step(REVOKED)),
            Some(_) => return Err(CredentialsError::Exists(device.to_string())),
            None => {}
        }
        let (created, settings) = (self.clock.wall(), DeviceSettings::default());
        let id = device.clone();
        let (board, expected, binding) = (None, None, None);
        let record = Device { id, verifier: text, settings, created, revoked: false, board, expected, binding };
        self.write_device(&record).await?;
        Ok(secret)
    }

    /// Makes a secret for a new operator. The name has the alphabet of a device id.
    pub async fn add_operator(&self, name: &str, role: Role) -> Result<Secret, CredentialsError> {
        let secret = self.put_operator(name, role, Password::Made).await?;
        secret.ok_or(CredentialsError::Random)
    }

    /// Makes an operator. Gives the secret when the gateway made it.
    pub async fn put_operator(
        &self,
        name: &str,
        role: Role,
        password: Password,
    ) -> Result<Option<Secret>, CredentialsError> {
        DeviceId::parse(name)?;
        let (secret, verifier) = self.make(name, password).await?;
        let _changing = self.changing.lock().await;
        if self.knows(name) {
            return Err(CredentialsError::Exists(name.to_owned()));
        }
        let created = self.clock.wall();
        self.write_operator(&Operator { name: name.to_owned(), role, verifier, created }).await?;
        Ok(secret)
    }

    /// Gives a device another password. Its open connections are the door's to end.
    pub async fn change_device(
        &self,
        device: &DeviceId,
        password: Password,
    ) -> Result<Option<Secret>, CredentialsError> {
        let made = matches!(password, Password::Made);
        let (secret, verifier) = self.make(device.as_str(), password).await?;
        let _changing = self.changing.lock().await;
        let record = devices::get(&*self.store, device).await?;
        let record = record.ok_or_else(|| CredentialsError::Unknown(format!("device {device}")))?;
        if made && let Some(board) = &record.board {
            // a board is told its new secret when it asks again, so it must be one that can be told again
            let (secret, verifier, board) = self.derive(device, &Fingerprint::of_record(board))?;
            self.write_device(&Device { verifier, board: Some(board), ..record }).await?;
            return Ok(Some(secret));
        }
        // what somebody chose cannot be told to a board: it asks to be claimed again, also when it was expected
        self.write_device(&Device { verifier, board: None, expected: None, ..record }).await?;
        Ok(secret)
    }

    /// Changes what a device's record says besides its secret; `false` when there is none.
    pub async fn change_settings(
        &self,
        device: &DeviceId,
        change: impl FnOnce(&mut DeviceSettings),
    ) -> Result<bool, CredentialsError> {
        let _changing = self.changing.lock().await;
        let Some(mut record) = devices::get(&*self.store, device).await? else { return Ok(false) };
        change(&mut record.settings);
        self.write_device(&record).await?;
        Ok(true)
    }

    /// Gives an operator another password. Its open connections are the door's to end.
    pub async fn change_operator(&self, name: &str, password: Password) -> Result<Option<Secret>, CredentialsError> {
        let (secret, verifier) = self.make(name, password).await?;
        let _changing = self.changing.lock().await;
        let record = records::operator(&*self.store, name).await?;
        let record = record.ok_or_else(|| CredentialsError::Unknown(format!("operator {name}")))?;
        self.write_operator(&Operator { verifier, ..record }).await?;
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
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.get(name).is_some_and(|k| is(&k.who)) {
                known.remove(name);
            }
        }
        self.changed_now();
        Ok(was)
    }

    /// All operators: name, role, when they were made; by name.
    pub async fn list_operators(&self) -> Result<Vec<(String, Role, Wall)>, CredentialsError> {
        let operators = records::operators(&*self.store).await?;
        Ok(operators.into_iter().map(|o| (o.name, o.role, o.created)).collect())
    }

    /// All devices that may come in, sorted.
    pub fn list_devices(&self) -> Vec<DeviceId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let device = |k: &Known| if let Who::Device(d) = &k.who { Some(d.clone()) } else { None };
        let mut devices: Vec<DeviceId> = known.values().filter(|k| !k.shut).filter_map(device).collect();
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

    /// Is there a record of this name, also one that may not come in.
    pub fn knows(&self, user: &str) -> bool {
        self.get(user).is_some()
    }

    /// Who the user of this name is now; none when there is none any more, or it is revoked.
    pub fn who(&self, user: &str) -> Option<Who> {
        self.get(user).filter(|k| !k.shut).map(|k| k.who)
    }

    /// What a device speaks, when its record says so.
    pub fn dialect(&self, user: &str) -> Option<&'static str> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(user)?.dialect
    }

    fn get(&self, user: &str) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }

    async fn write_device(&self, device: &Device) -> Result<(), CredentialsError> {
        let mut batch = Batch::new();
        devices::put(&mut batch, device)?;
        self.store.commit(batch).await?;
        self.learn(device.id.as_str(), Known::device(device));
        Ok(())
    }

    async fn write_operator(&self, operator: &Operator) -> Result<(), CredentialsError> {
        let mut batch = Batch::new();
        records::put_operator(&mut batch, operator)?;
        self.store.commit(batch).await?;
        self.learn(&operator.name, Known::operator(operator));
        Ok(())
    }

    fn learn(&self, name: &str, known: Known) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), known);
        self.changed_now();
    }
}

/// The verifier of a record. One that cannot be read fits nothing.
fn read_verifier(name: &str, text: &str) -> Arc<Verifier> {
    Arc::new(Verifier::parse(text).unwrap_or_else(|| {
        tracing::warn!(name, "verifier cannot be read, no password fits it");
        Verifier::Nothing
    }))
}
