//! Devices that an operator names before their boards come: the first board that says the name, in its time, is it.
//!
//! A MAC is public, so this is trust for a while in the network that boards come from, a MAC at a time, and for one contact.

use std::time::Duration;

use super::{Credentials, CredentialsError};
use crate::domain::{DeviceId, Wall};
use crate::store::records::{Device, DeviceSettings, devices};

/// What became, or would become, of naming a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Its board is expected from now on; it was unknown, or its time was over.
    Made,
    /// Its board is expected already; nothing was changed.
    Running,
    /// Its board came; nothing was changed.
    Came,
    /// Somebody made this device, or chose its password; nothing was changed.
    ByHand,
    /// It is shut out, or an operator has the name; nothing was changed.
    Barred,
}

impl Credentials {
    /// Makes a device that nobody can be yet, whose board is expected for so long. `dry`: only says what it would do.
    pub async fn expect(
        &self,
        device: &DeviceId,
        settings: DeviceSettings,
        within: Duration,
        dry: bool,
    ) -> Result<Expectation, CredentialsError> {
        let _changing = self.changing.lock().await;
        let old = devices::get(&*self.store, device).await?;
        match &old {
            None if self.knows(device.as_str()) => return Ok(Expectation::Barred),
            Some(old) if old.revoked => return Ok(Expectation::Barred),
            Some(old) if old.board.is_some() => return Ok(Expectation::Came),
            Some(old) if self.awaits(old) => return Ok(Expectation::Running),
            Some(old) if old.expected.is_none() => return Ok(Expectation::ByHand),
            _ if dry => return Ok(Expectation::Made),
            _ => {}
        }
        let now = self.clock.wall();
        let until = now.0.saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let record = Device {
            id: device.clone(),
            // fits no password
            verifier: String::new(),
            settings,
            created: old.map_or(now, |old| old.created),
            revoked: false,
            board: None,
            expected: Some(Wall(until)),
            binding: None,
        };
        self.write_device(&record).await?;
        Ok(Expectation::Made)
    }

    /// Its board may come now.
    pub(super) fn awaits(&self, record: &Device) -> bool {
        record.expected.is_some_and(|until| self.clock.wall() < until)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;
    use crate::domain::ManualClock;
    use crate::door::credentials::tests::MapStore;
    use crate::door::credentials::{Attempt, Fingerprint, Password, Standing, Taken};
    use crate::topics::Role;

    const MAC: &str = "f4:12:fa:00:00:01";
    const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
    const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";
    const WEEK: Duration = Duration::from_hours(7 * 24);

    struct Bench {
        credentials: Arc<Credentials>,
        clock: Arc<ManualClock>,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(Wall(1_700_000_000_000))));
            let store = Arc::new(MapStore::default());
            let credentials = Credentials::open(store, dir.path(), clock.clone()).await.unwrap();
            Self { credentials, clock, _dir: dir }
        }

        fn print(&self, number: &str) -> Fingerprint {
            self.credentials.fingerprint(&mac(), number).unwrap()
        }

        async fn standing(&self, number: &str) -> Standing {
            self.credentials.standing(&mac(), &self.print(number)).await.unwrap()
        }

        async fn expect(&self, name: &str) -> Expectation {
            let settings = DeviceSettings { name: Some(name.to_owned()), ..DeviceSettings::default() };
            self.credentials.expect(&mac(), settings, WEEK, false).await.unwrap()
        }
    }

    fn mac() -> DeviceId {
        DeviceId::parse(MAC).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_number_is_the_board_and_the_second_is_another_for_ever() {
        let bench = Bench::new().await;
        assert_eq!(bench.expect("kitchen").await, Expectation::Made);
        assert_eq!(bench.standing(OTHER).await, Standing::Expected);
        let enrolled = bench.credentials.enrol_expected(&mac(), &bench.print(NUMBER)).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Enrolled(enrolled));
        assert_eq!(bench.standing(OTHER).await, Standing::Taken(Taken::OtherBoard));
        assert!(bench.credentials.enrol_expected(&mac(), &bench.print(OTHER)).await.is_err());
        let record = devices::get(&*bench.credentials.store, &mac()).await.unwrap().unwrap();
        assert_eq!((record.settings.name.as_deref(), record.expected), (Some("kitchen"), None));
        assert_eq!(bench.expect("other").await, Expectation::Came, "importing again opens nothing");
        assert_eq!(bench.standing(OTHER).await, Standing::Taken(Taken::OtherBoard));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_too_late_waits_until_it_is_expected_anew() {
        let bench = Bench::new().await;
        bench.expect("kitchen").await;
        bench.clock.advance(WEEK.saturating_sub(Duration::from_millis(1)));
        assert_eq!(bench.expect("again").await, Expectation::Running, "asking again makes the time no longer");
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::ByHand));
        assert!(bench.credentials.enrol_expected(&mac(), &bench.print(NUMBER)).await.is_err());
        assert_eq!(bench.expect("kitchen").await, Expectation::Made);
        bench.credentials.enrol_expected(&mac(), &bench.print(NUMBER)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_in_as_a_device_whose_board_is_expected() {
        let bench = Bench::new().await;
        bench.expect("kitchen").await;
        for password in [&b""[..], b"kitchen"] {
            let address = [10, 0, 0, 1].into();
            let attempt = Attempt { user: Some(MAC), password: Some(password), address, certificate: None };
            assert!(bench.credentials.login(attempt).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_is_made_meanwhile_or_was_there_before_ends_waiting_for_a_board() {
        let bench = Bench::new().await;
        bench.expect("kitchen").await;
        bench.credentials.change_device(&mac(), Password::Made).await.unwrap();
        assert_eq!(bench.standing(NUMBER).await, Standing::Taken(Taken::ByHand));
        assert_eq!(bench.expect("kitchen").await, Expectation::ByHand);
        assert!(bench.credentials.enrol_expected(&mac(), &bench.print(NUMBER)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn trying_writes_nothing_and_an_operators_name_is_not_taken() {
        let bench = Bench::new().await;
        let tried = bench.credentials.expect(&mac(), DeviceSettings::default(), WEEK, true).await.unwrap();
        assert_eq!((tried, bench.standing(NUMBER).await), (Expectation::Made, Standing::Unknown));
        bench.credentials.add_operator(MAC, Role::Viewer).await.unwrap();
        assert_eq!(bench.expect("kitchen").await, Expectation::Barred);
    }
}
