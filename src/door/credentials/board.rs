//! Boards that enrol themselves: known by the number that each made up, with a secret that can be told again.
//!
//! A stock board asks for its credentials at every boot, and nothing but its MAC, which everybody on its network
//! sees, and that number tells it from another. The number is kept as a keyed hash. The secret is
//! HMAC-SHA-256(gateway key, device, generation): each boot gets the same although the store has a verifier only, and
//! the generation is 128 random bits of each enrolment, so a secret that was replaced never fits again, also when the
//! device was removed in between.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use subtle::ConstantTimeEq;

use super::key::GatewayKey;
use super::secret::Secret;
use super::verifier::Verifier;
use super::{Credentials, CredentialsError, Known};
use crate::domain::DeviceId;
use crate::store::records::{Binding, Board, Device, DeviceSettings, Status, Transport, devices};
use crate::topics::{self, Who};

/// The dialect that a board with stock firmware speaks.
const DIALECT: &str = "xiaozhi";

/// A keyed hash of the number that a board made up for itself, bound to its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of_record(board: &Board) -> Self {
        Self(board.client.clone())
    }

    fn fits(&self, board: &Board) -> bool {
        bool::from(self.0.as_bytes().ct_eq(board.client.as_bytes()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// Why a name is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A board of this name enrolled with another number: it was flashed anew, or somebody else says to be it.
    OtherBoard,
    /// An operator made this device, or chose its password.
    ByHand,
    /// It may not come in, or it is no device at all.
    Barred,
}

/// What is known of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has its name.
    Unknown,
    /// An operator named it beforehand, and whoever says its name first is it.
    Expected,
    /// It is the one that enrolled.
    Enrolled(Enrolled),
    /// Its name is another's.
    Taken(Taken),
}

/// A board that may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// What it connects with, its id being the user name.
    pub secret: Secret,
    /// How it shall speak, when its record says so.
    pub transport: Option<Transport>,
}

impl Credentials {
    pub(super) fn gateway_key(&self) -> Result<&GatewayKey, CredentialsError> {
        self.key.as_ref().ok_or_else(|| CredentialsError::NoKey(self.key_path.clone()))
    }

    /// The hash by which a board is known again. `number` is as it says it, in one form.
    pub fn fingerprint(&self, device: &DeviceId, number: &str) -> Result<Fingerprint, CredentialsError> {
        let hash = self.gateway_key()?.derive("board number", &[device.as_str(), number]);
        Ok(Fingerprint(URL_SAFE_NO_PAD.encode(hash)))
    }

    /// A text of 22 characters that only this gateway can make from `parts`, for addresses that nobody shall guess.
    pub fn ticket(&self, what: &str, parts: &[&str]) -> Result<String, CredentialsError> {
        let derived = self.gateway_key()?.derive(what, parts);
        Ok(URL_SAFE_NO_PAD.encode(&derived[..16]))
    }

    /// What is known of a board that says this name and number.
    pub async fn standing(&self, device: &DeviceId, client: &Fingerprint) -> Result<Standing, CredentialsError> {
        let Some(record) = devices::get(&*self.store, device).await? else {
            let free = !self.knows(device.as_str());
            return Ok(if free { Standing::Unknown } else { Standing::Taken(Taken::Barred) });
        };
        let secret = match &record.board {
            _ if record.revoked => return Ok(Standing::Taken(Taken::Barred)),
            None if self.awaits(&record) => return Ok(Standing::Expected),
            None => return Ok(Standing::Taken(Taken::ByHand)),
            Some(board) if !client.fits(board) => return Ok(Standing::Taken(Taken::OtherBoard)),
            Some(board) => self.secret(device, &board.generation)?,
        };
        // a key that was replaced, or a record that somebody wrote: what would not let it in is not told
        if Verifier::write_hmac(&self.gateway_key()?.verifier(device.as_str(), secret.reveal().as_bytes()))
            != record.verifier
        {
            return Ok(Standing::Taken(Taken::ByHand));
        }
        Ok(Standing::Enrolled(Enrolled { secret, transport: record.settings.transport }))
    }

    /// Enrols a board under a name that is free.
    pub async fn enrol_first(&self, device: &DeviceId, client: &Fingerprint) -> Result<Enrolled, CredentialsError> {
        let _changing = self.changing.lock().await;
        if self.knows(device.as_str()) {
            return Err(CredentialsError::Exists(device.to_string()));
        }
        self.enrol(device, client, None, None, None).await
    }

    /// Enrols the board that an operator named beforehand: the first that comes in its time, and nobody after it.
    pub async fn enrol_expected(&self, device: &DeviceId, client: &Fingerprint) -> Result<Enrolled, CredentialsError> {
        let _changing = self.changing.lock().await;
        let record = devices::get(&*self.store, device).await?;
        match record.filter(|record| !record.revoked && record.board.is_none() && self.awaits(record)) {
            Some(record) => self.enrol(device, client, Some(record), None, None).await,
            None => Err(CredentialsError::Exists(device.to_string())),
        }
    }

    /// Enrols a board that an operator claimed, in the place of whoever has its name; the old secret is dead at once.
    /// Its open connections are the door's to end.
    pub async fn enrol_claimed(
        &self,
        device: &DeviceId,
        client: &Fingerprint,
        name: Option<String>,
        transport: Option<Transport>,
    ) -> Result<Enrolled, CredentialsError> {
        let _changing = self.changing.lock().await;
        match self.get(device.as_str()) {
            None | Some(Known { who: Who::Device(_), revoked: false, .. }) => {}
            Some(_) => return Err(CredentialsError::Exists(format!("{device} as an operator, or shut out,"))),
        }
        let old = devices::get(&*self.store, device).await?;
        self.enrol(device, client, old, name, transport).await
    }

    async fn enrol(
        &self,
        device: &DeviceId,
        client: &Fingerprint,
        old: Option<Device>,
        name: Option<String>,
        transport: Option<Transport>,
    ) -> Result<Enrolled, CredentialsError> {
        let (secret, verifier, board) = self.derive(device, client)?;
        let created = old.as_ref().map_or_else(|| self.clock.wall(), |old| old.created);
        // whose it was it stays; who claims it says that it may come in
        let now = self.clock.wall();
        let binding = old.as_ref().and_then(|old| old.binding.clone()).map(|was| {
            let activated = was.activated.or(Some(now));
            Binding { status: Status::Activated, activated, updated: now, ..was }
        });
        let mut settings = old.map_or_else(DeviceSettings::default, |old| old.settings);
        settings.dialect = topics::dialect(DIALECT).map(str::to_owned);
        settings.name = name.or(settings.name);
        settings.transport = transport.or(settings.transport);
        let transport = settings.transport;
        let (id, board) = (device.clone(), Some(board));
        let (revoked, expected) = (false, None);
        self.write_device(&Device { id, verifier, settings, created, revoked, board, expected, binding }).await?;
        Ok(Enrolled { secret, transport })
    }

    /// A secret of a new generation, its verifier, and what to keep of the board.
    pub(super) fn derive(
        &self,
        device: &DeviceId,
        client: &Fingerprint,
    ) -> Result<(Secret, String, Board), CredentialsError> {
        let mut random = [0_u8; 16];
        rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|_| CredentialsError::Random)?;
        let generation = URL_SAFE_NO_PAD.encode(random);
        let secret = self.secret(device, &generation)?;
        let verifier = self.gateway_key()?.verifier(device.as_str(), secret.reveal().as_bytes());
        Ok((secret, Verifier::write_hmac(&verifier), Board { client: client.0.clone(), generation }))
    }

    fn secret(&self, device: &DeviceId, generation: &str) -> Result<Secret, CredentialsError> {
        Ok(Secret::of(self.gateway_key()?.derive("board secret", &[device.as_str(), generation])))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;
    use crate::domain::SystemClock;
    use crate::door::credentials::tests::MapStore;
    use crate::door::credentials::{Attempt, Password, reset_key};

    const MAC: &str = "f4:12:fa:00:00:01";
    const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
    const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";

    struct Bench {
        credentials: Arc<Credentials>,
        store: Arc<MapStore>,
        dir: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
            let credentials = Credentials::open(store.clone(), dir.path(), Arc::new(SystemClock)).await.unwrap();
            Self { credentials, store, dir }
        }

        fn print(&self, number: &str) -> Fingerprint {
            self.credentials.fingerprint(&mac(), number).unwrap()
        }

        async fn standing(&self, number: &str) -> Standing {
            self.credentials.standing(&mac(), &self.print(number)).await.unwrap()
        }

        /// The secret that a board is told.
        async fn told(&self, number: &str) -> Secret {
            match self.standing(number).await {
                Standing::Enrolled(enrolled) => enrolled.secret,
                other => panic!("{other:?}"),
            }
        }

        async fn comes_in(&self, secret: &Secret) -> bool {
            let (address, password) = ([10, 0, 0, 1].into(), Some(secret.reveal().as_bytes()));
            let attempt = Attempt { user: Some(MAC), password, address, certificate: None };
            self.credentials.login(attempt).await.is_ok()
        }
    }

    fn mac() -> DeviceId {
        DeviceId::parse(MAC).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_boot_is_told_the_same_secret_which_lets_in_and_is_nowhere_in_the_store() {
        let bench = Bench::new().await;
        assert_eq!(bench.standing(NUMBER).await, Standing::Unknown);
        let first = bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap().secret;
        let again = Credentials::open(bench.store.clone(), bench.dir.path(), Arc::new(SystemClock)).await.unwrap();
        let bench = Bench { credentials: again, ..bench };
        assert_eq!(bench.told(NUMBER).await, first);
        assert!(bench.comes_in(&first).await);
        assert_eq!(bench.credentials.dialect(MAC), Some("xiaozhi"));
        let record = devices::get(&*bench.store, &mac()).await.unwrap().unwrap();
        let stored = serde_json::to_string(&record).unwrap();
        assert!(!stored.contains(first.reveal()) && !stored.contains(NUMBER), "{stored}");
        assert!(!format!("{record:?} {:?}", bench.print(NUMBER)).contains(&record.board.unwrap().client));
    }

    #[tokio::test(start_paused = true)]
    async fn another_number_is_told_nothing_and_a_claim_kills_the_old_secret_at_once() {
        let bench = Bench::new().await;
        let old = bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap().secret;
        assert_eq!(bench.standing(OTHER).await, Standing::Taken(Taken::OtherBoard));
        let first = bench.credentials.enrol_first(&mac(), &bench.print(OTHER)).await;
        assert!(matches!(first, Err(CredentialsError::Exists(_))));
        assert!(bench.comes_in(&old).await, "a stranger who asks ends nothing");
        let name = Some("kitchen".to_owned());
        let new = bench.credentials.enrol_claimed(&mac(), &bench.print(OTHER), name, None).await.unwrap().secret;
        assert!(!bench.comes_in(&old).await && bench.comes_in(&new).await);
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::OtherBoard));
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_does_not_come_back_when_its_device_was_removed_and_enrols_again() {
        let bench = Bench::new().await;
        let old = bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap().secret;
        bench.credentials.remove_device(&mac()).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Unknown);
        let new = bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap().secret;
        assert!(new != old && !bench.comes_in(&old).await && bench.comes_in(&new).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_an_operator_made_is_not_taken_over_by_who_knows_its_name() {
        let bench = Bench::new().await;
        let printed = bench.credentials.add_device(&mac()).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::ByHand));
        assert!(bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.is_err());
        assert!(bench.comes_in(&printed).await);
        bench.credentials.enrol_claimed(&mac(), &bench.print(NUMBER), None, None).await.unwrap();
        assert!(!bench.comes_in(&printed).await && bench.comes_in(&bench.told(NUMBER).await).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_password_is_told_when_it_was_made_and_asks_for_a_claim_when_it_was_chosen() {
        let bench = Bench::new().await;
        let old = bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap().secret;
        let made = bench.credentials.change_device(&mac(), Password::Made).await.unwrap().unwrap();
        assert!(made != old && made == bench.told(NUMBER).await && bench.comes_in(&made).await);
        let chosen = Password::Chosen("correct horse battery".to_owned());
        bench.credentials.change_device(&mac(), chosen).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::ByHand));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_shut_out_and_whose_key_was_replaced_is_told_nothing() {
        let bench = Bench::new().await;
        bench.credentials.enrol_first(&mac(), &bench.print(NUMBER)).await.unwrap();
        let mut record = devices::get(&*bench.store, &mac()).await.unwrap().unwrap();
        record.revoked = true;
        bench.credentials.write_device(&record).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::Barred));
        assert!(bench.credentials.enrol_claimed(&mac(), &bench.print(NUMBER), None, None).await.is_err());
        record.revoked = false;
        bench.credentials.write_device(&record).await.unwrap();
        reset_key(&*bench.store, bench.dir.path(), true).await.unwrap();
        let again = Credentials::open(bench.store.clone(), bench.dir.path(), Arc::new(SystemClock)).await.unwrap();
        let bench = Bench { credentials: again, ..bench };
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::ByHand));
    }

    #[test]
    fn no_two_lists_of_parts_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let key = GatewayKey::make(&dir.path().join("k")).unwrap();
        assert_ne!(key.derive("a", &["bc", "d"]), key.derive("a", &["b", "cd"]));
        assert_ne!(key.derive("a", &["b"]), key.derive("ab", &[]));
    }
}
