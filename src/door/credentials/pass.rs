//! Passes: what a browser that came in once shows to come again, until a time that is written in it.
//!
//! Nothing of a pass is kept. It is an HMAC of the gateway key over device, end, and what the device's password is
//! checked with: another password, or the device's removal, ends every pass of it at once, and a restart of the gateway
//! ends none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::{Credentials, CredentialsError};
use crate::domain::{DeviceId, Wall};
use crate::store::records::{Status, devices};

/// Longer than any pass: a device's id has 64 bytes at most.
const LONGEST: usize = 192;

impl Credentials {
    /// A pass for a device until a time, in letters that may stand in a header; none when it may not come in.
    pub async fn pass(&self, device: &DeviceId, until: Wall) -> Result<Option<String>, CredentialsError> {
        let Some(seal) = self.seal(device, until).await? else { return Ok(None) };
        let name = URL_SAFE_NO_PAD.encode(device.as_str());
        Ok(Some(format!("{name}.{}.{}", until.0, URL_SAFE_NO_PAD.encode(seal))))
    }

    /// Whose pass it is, and until when; none when it is nobody's, or no longer.
    pub async fn read_pass(&self, pass: &str) -> Result<Option<(DeviceId, Wall)>, CredentialsError> {
        let Some((device, until, shown)) = take_apart(pass) else { return Ok(None) };
        let seal = self.seal(&device, until).await?;
        let fits = seal.is_some_and(|seal| bool::from(seal[..].ct_eq(&shown)));
        Ok((fits && until > self.clock.wall()).then_some((device, until)))
    }

    async fn seal(&self, device: &DeviceId, until: Wall) -> Result<Option<[u8; 32]>, CredentialsError> {
        let record = devices::get(&*self.store, device)
            .await?
            .filter(|record| !record.revoked && record.standing().status == Status::Activated);
        let Some(record) = record else { return Ok(None) };
        let until = until.0.to_string();
        let parts = [device.as_str(), &until, &record.verifier];
        Ok(Some(self.gateway_key()?.derive("talk pass", &parts)))
    }
}

fn take_apart(pass: &str) -> Option<(DeviceId, Wall, Vec<u8>)> {
    let mut parts = Some(pass).filter(|pass| pass.len() <= LONGEST)?.splitn(3, '.');
    let (name, until, seal) = (parts.next()?, parts.next()?, parts.next()?);
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
    Some((DeviceId::parse(&name).ok()?, Wall(until.parse().ok()?), URL_SAFE_NO_PAD.decode(seal).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::ManualClock;
    use crate::door::credentials::Password;
    use crate::door::credentials::tests::MapStore;

    const UNTIL: Wall = Wall(1_000_000);

    fn laptop() -> DeviceId {
        DeviceId::parse("3c:84:27:aa:bb:01").unwrap()
    }

    struct Bench {
        credentials: Arc<Credentials>,
        store: Arc<MapStore>,
        clock: Arc<ManualClock>,
        dir: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
            let clock = Arc::new(ManualClock::new(Wall(900_000)));
            let credentials = Credentials::open(store.clone(), dir.path(), clock.clone()).await.unwrap();
            credentials.add_device(&laptop()).await.unwrap();
            Self { credentials, store, clock, dir }
        }

        async fn fits(&self, pass: &str) -> bool {
            self.credentials.read_pass(pass).await.unwrap() == Some((laptop(), UNTIL))
        }
    }

    #[tokio::test]
    async fn a_pass_comes_in_again_after_a_restart_and_not_after_its_end() {
        let bench = Bench::new().await;
        let pass = bench.credentials.pass(&laptop(), UNTIL).await.unwrap().unwrap();
        assert!(pass.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{pass}");
        let again = Credentials::open(bench.store.clone(), bench.dir.path(), bench.clock.clone()).await.unwrap();
        let bench = Bench { credentials: again, ..bench };
        assert!(bench.fits(&pass).await);
        bench.clock.advance(Duration::from_secs(100));
        assert!(!bench.fits(&pass).await);
    }

    #[tokio::test]
    async fn another_password_or_the_devices_removal_ends_its_passes() {
        let bench = Bench::new().await;
        let pass = bench.credentials.pass(&laptop(), UNTIL).await.unwrap().unwrap();
        bench.credentials.change_device(&laptop(), Password::Made).await.unwrap();
        assert!(!bench.fits(&pass).await);
        let pass = bench.credentials.pass(&laptop(), UNTIL).await.unwrap().unwrap();
        assert!(bench.fits(&pass).await);
        bench.credentials.remove_device(&laptop()).await.unwrap();
        assert!(!bench.fits(&pass).await && bench.credentials.pass(&laptop(), UNTIL).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_pass_that_was_changed_or_is_none_fits_nobody() {
        let bench = Bench::new().await;
        let pass = bench.credentials.pass(&laptop(), UNTIL).await.unwrap().unwrap();
        let later = pass.replace(".1000000.", ".9000000.");
        assert_ne!(pass, later);
        let other = pass.replacen('M', "N", 1);
        for wrong in [&*later, &*other, "", ".", "..", "a.b.c", "a.1.b", &pass[..pass.len() - 1], &"x".repeat(500)] {
            assert!(!bench.fits(wrong).await, "{wrong}");
        }
    }
}
