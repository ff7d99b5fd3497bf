//! Whose a device is: registered → bound → activated → revoked, and the one way back.
//!
//! What is revoked stays so until somebody registers it anew and asks for another secret. The rules are in one place,
//! [`step`]; who holds `changing` reads, decides and writes.

use serde_json::{Map, Value};

use super::{Credentials, CredentialsError, Password, REVOKED, Secret};
use crate::domain::{DeviceId, Wall};
use crate::store::records::{Binding, Device, DeviceSettings, Status, devices};
use crate::topics::Who;

/// Longest name of a user, and longest reason, bytes.
const LONGEST: usize = 128;
/// Most bytes of what is noted, as JSON.
const NOTED: usize = 8 << 10;

/// A step of a device on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is this user's; and may come in at once.
    Bind(String, bool),
    /// It may come in; as this user's, when it is nobody's yet.
    Activate(Option<String>),
    /// It may not come in any more.
    Revoke(String),
}

/// The rules. `Err`: why not.
fn step(from: &Binding, step: Step, now: Wall) -> Result<Binding, &'static str> {
    let to = Binding { updated: now, ..from.clone() };
    if from.status == Status::Revoked && !matches!(step, Step::Revoke(_)) {
        return Err(REVOKED);
    }
    match step {
        Step::Bind(user, activate) => {
            let active = activate || from.status == Status::Activated;
            let activated = from.activated.or_else(|| active.then_some(now));
            let status = if active { Status::Activated } else { Status::Bound };
            Ok(Binding { status, user: Some(user), activated, ..to })
        }
        Step::Activate(user) => {
            // whose it is changes by binding it, not in passing
            let user = match (&from.user, user) {
                (None, None) => return Err("the device is nobody's: bind it to a user first"),
                (Some(has), Some(user)) if *has != user => return Err("the device is another user's: bind it anew"),
                (has, user) => user.or_else(|| has.clone()),
            };
            let activated = from.activated.filter(|_| from.status == Status::Activated).or(Some(now));
            Ok(Binding { status: Status::Activated, user, activated, ..to })
        }
        // again: the first time and reason stay
        Step::Revoke(_) if from.status == Status::Revoked => Ok(from.clone()),
        Step::Revoke(reason) => Ok(Binding { status: Status::Revoked, revoked: Some(now), reason: Some(reason), ..to }),
    }
}

fn checked(text: &str, what: &'static str, least: usize) -> Result<String, CredentialsError> {
    let text = text.trim();
    if (least..=LONGEST).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(CredentialsError::Text(what))
}

fn check(step: Step) -> Result<Step, CredentialsError> {
    const USER: &str = "user_id has 1 to 128 bytes, and no control characters";
    Ok(match step {
        Step::Bind(user, activate) => Step::Bind(checked(&user, USER, 1)?, activate),
        Step::Activate(user) => Step::Activate(user.map(|user| checked(&user, USER, 1)).transpose()?),
        Step::Revoke(reason) => {
            Step::Revoke(checked(&reason, "a reason has at most 128 bytes, and no control characters", 0)?)
        }
    })
}

impl Credentials {
    /// Takes a device one step on. Its open connections are the door's to end when it may not come in any more.
    pub async fn step(&self, device: &DeviceId, wanted: Step) -> Result<Device, CredentialsError> {
        let wanted = check(wanted)?;
        let _changing = self.changing.lock().await;
        let record = devices::get(&*self.store, device).await?.ok_or(CredentialsError::NotRegistered)?;
        let binding = step(&record.standing(), wanted, self.clock.wall()).map_err(CredentialsError::Step)?;
        let revoked = binding.status == Status::Revoked;
        let record = Device { revoked, binding: Some(binding), ..record };
        self.write_device(&record).await?;
        Ok(record)
    }

    /// Makes a device that may not come in before it is activated, or with `rotate` gives one that is there another
    /// secret. Gives the secret when the gateway made it. The open connections of a device whose secret changed are the
    /// door's to end.
    pub async fn register(
        &self,
        device: &DeviceId,
        token: Option<String>,
        rotate: bool,
        metadata: Option<Map<String, Value>>,
    ) -> Result<(Device, Option<Secret>), CredentialsError> {
        if metadata.as_ref().is_some_and(|noted| serde_json::to_vec(noted).is_ok_and(|text| text.len() > NOTED)) {
            return Err(CredentialsError::Text("metadata has at most 8 KB"));
        }
        let chosen = token.is_some();
        let password = token.map_or(Password::Made, Password::Chosen);
        let (secret, verifier) = self.make(device.as_str(), password).await?;
        let _changing = self.changing.lock().await;
        let now = self.clock.wall();
        let Some(record) = devices::get(&*self.store, device).await? else {
            return self.register_new(device, (secret, verifier), metadata, now).await;
        };
        let was = record.standing();
        let noted = metadata.unwrap_or_else(|| was.metadata.clone());
        if rotate {
            let binding = match was.status {
                // it begins again, as nobody's
                Status::Revoked => Binding {
                    status: Status::Registered,
                    user: None,
                    activated: None,
                    revoked: None,
                    reason: None,
                    ..was
                },
                _ => was,
            };
            let binding = Some(Binding { metadata: noted, updated: now, ..binding });
            let record = Device { verifier, revoked: false, board: None, expected: None, binding, ..record };
            self.write_device(&record).await?;
            return Ok((record, secret));
        }
        if was.status == Status::Revoked {
            return Err(CredentialsError::Step(REVOKED));
        }
        if chosen {
            return Err(CredentialsError::Step("the device has a token: force_rotate gives it another"));
        }
        let record = Device { binding: Some(Binding { metadata: noted, updated: now, ..was }), ..record };
        self.write_device(&record).await?;
        Ok((record, None))
    }

    async fn register_new(
        &self,
        device: &DeviceId,
        (secret, verifier): (Option<Secret>, String),
        metadata: Option<Map<String, Value>>,
        now: Wall,
    ) -> Result<(Device, Option<Secret>), CredentialsError> {
        if self.get(device.as_str()).is_some_and(|known| !matches!(known.who, Who::Device(_))) {
            return Err(CredentialsError::Exists(device.to_string()));
        }
        let binding = Binding { activated: None, status: Status::Registered, ..Binding::by_hand(now, false) };
        let record = Device {
            id: device.clone(),
            verifier,
            settings: DeviceSettings::default(),
            created: now,
            revoked: false,
            board: None,
            expected: None,
            binding: Some(Binding { metadata: metadata.unwrap_or_default(), ..binding }),
        };
        self.write_device(&record).await?;
        Ok((record, secret))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    const STATUS: [Status; 4] = [Status::Registered, Status::Bound, Status::Activated, Status::Revoked];

    fn at(status: Status, user: Option<&str>) -> Binding {
        let by_hand = Binding::by_hand(Wall(1), status == Status::Revoked);
        Binding { status, user: user.map(str::to_owned), ..by_hand }
    }

    /// Fault 20 of OpenCane: a device that was revoked could be activated again.
    #[test]
    fn nothing_brings_back_what_was_revoked() {
        for user in [None, Some("anna")] {
            for wanted in [Step::Bind("anna".into(), true), Step::Activate(Some("anna".into())), Step::Activate(None)] {
                assert!(step(&at(Status::Revoked, user), wanted, Wall(5)).is_err());
            }
        }
    }

    #[test]
    fn nothing_is_activated_that_is_nobodys_and_no_user_is_changed_in_passing() {
        assert!(step(&at(Status::Registered, None), Step::Activate(None), Wall(5)).is_err());
        assert!(step(&at(Status::Bound, Some("anna")), Step::Activate(Some("bert".into())), Wall(5)).is_err());
        let active = step(&at(Status::Bound, Some("anna")), Step::Activate(None), Wall(5)).unwrap();
        assert_eq!((active.status, active.activated), (Status::Activated, Some(Wall(5))));
    }

    #[test]
    fn every_device_can_be_revoked_and_its_first_reason_stays() {
        for status in STATUS {
            let gone = step(&at(status, Some("anna")), Step::Revoke("lost".into()), Wall(5)).unwrap();
            assert_eq!(gone.status, Status::Revoked);
            let again = step(&gone, Step::Revoke("stolen".into()), Wall(6)).unwrap();
            assert_eq!(again, gone);
        }
    }

    #[test]
    fn binding_an_active_device_anew_leaves_it_active() {
        let moved = step(&at(Status::Activated, Some("anna")), Step::Bind("bert".into(), false), Wall(5)).unwrap();
        assert_eq!((moved.status, moved.user.as_deref()), (Status::Activated, Some("bert")));
    }
}
