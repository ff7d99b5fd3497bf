//! What an operator changes of a device's settings.

use super::records::{Records, credentials_error};
use crate::admin::{self, AdminError, AdminErrorKind, DeviceChange};
use crate::domain::Profile;
use crate::policy::{QuietHours, interaction};
use crate::store::records::{DeviceSettings, Transport};

/// Longest name, characters.
const NAME: usize = 64;
/// Longest name of a voice, characters.
const VOICE: usize = 200;
/// Longest tag of a language, characters.
const LANGUAGE: usize = 35;
/// Longest instructions, bytes.
const PROMPT: usize = 16 << 10;

impl Records<'_> {
    /// Writes down what is changed.
    pub(super) async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError> {
        check(&change)?;
        let device = change.device.clone();
        let write = |settings: &mut DeviceSettings| apply(change, settings);
        if self.credentials.change_settings(&device, write).await.map_err(|e| credentials_error(&e))? {
            return Ok(());
        }
        Err(AdminError::new(AdminErrorKind::NotFound, format!("there is no device {device}")))
    }
}

fn apply(change: DeviceChange, settings: &mut DeviceSettings) {
    let (persona, watching) = (&mut settings.persona, &mut settings.watching);
    for (place, value) in [
        (&mut settings.name, change.name),
        (&mut settings.room, change.room),
        (&mut persona.language, change.language),
        (&mut persona.voice, change.voice),
        (&mut persona.prompt, change.prompt),
        (&mut watching.timezone, change.timezone),
        (&mut watching.quiet_hours, change.quiet_hours),
    ] {
        if let Some(value) = value {
            *place = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    if let Some(policy) = change.policy {
        watching.profile = Profile::parse(&policy);
    }
    if let Some(transport) = change.transport {
        settings.transport = Some(record(transport));
    }
}

/// As the store has it.
pub(super) fn record(transport: admin::Transport) -> Transport {
    match transport {
        admin::Transport::Mqtt => Transport::Mqtt,
        admin::Transport::Websocket => Transport::Websocket,
    }
}

/// A name that people can read.
pub(super) fn check_name(name: &str) -> Result<(), AdminError> {
    line("a name", name, NAME)
}

/// What makes no sense is told before anything is written.
pub(super) fn check(change: &DeviceChange) -> Result<(), AdminError> {
    if change.is_empty() {
        return Err(AdminError::new(AdminErrorKind::Invalid, "nothing is to be changed: say what, see --help"));
    }
    check_name(change.name.as_deref().unwrap_or_default())?;
    line("a room", change.room.as_deref().unwrap_or_default(), NAME)?;
    line("a voice", change.voice.as_deref().unwrap_or_default(), VOICE)?;
    check_language(change.language.as_deref().unwrap_or_default())?;
    check_watching(change)?;
    if change.prompt.as_ref().is_some_and(|prompt| prompt.len() > PROMPT) {
        let text = format!("instructions have at most {PROMPT} bytes: every turn of the device pays for them");
        return Err(AdminError::new(AdminErrorKind::Invalid, text));
    }
    Ok(())
}

/// How it is watched over; an empty text takes it back.
fn check_watching(change: &DeviceChange) -> Result<(), AdminError> {
    let invalid = |what: String| AdminError::new(AdminErrorKind::Invalid, what);
    let set = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
    if let Some(policy) = set(&change.policy).filter(|policy| Profile::parse(policy).is_none()) {
        return Err(invalid(format!("{policy:?} is no policy: use off, audit or cane")));
    }
    if let Some(zone) = set(&change.timezone) {
        interaction::check_timezone(zone.trim()).map_err(invalid)?;
    }
    set(&change.quiet_hours).map_or(Ok(()), |hours| QuietHours::parse(&hours).map(drop).map_err(invalid))
}

/// A tag of a language, or nothing.
pub(super) fn check_language(tag: &str) -> Result<(), AdminError> {
    let fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if tag.is_empty() || (tag.len() <= LANGUAGE && tag.split('-').all(fits)) {
        return Ok(());
    }
    Err(AdminError::new(AdminErrorKind::Invalid, format!("{tag:?} is no language: write it as in \"de\" or \"zh-CN\"")))
}

fn line(what: &str, text: &str, most: usize) -> Result<(), AdminError> {
    if text.chars().count() <= most && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let text = format!("{what} has at most {most} characters, none of them a control character");
    Err(AdminError::new(AdminErrorKind::Invalid, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;
    use crate::domain::DeviceId;

    #[test]
    fn what_makes_no_sense_is_told_before_anything_is_written() {
        let change = |change: &dyn Fn(&mut DeviceChange)| {
            let mut changes = DeviceChange::of(DeviceId::parse("d").unwrap());
            change(&mut changes);
            check(&changes).map_err(|error| error.message)
        };
        assert!(change(&|_| {}).unwrap_err().contains("nothing"));
        assert!(change(&|c| c.language = Some("Deutsch, bitte".into())).unwrap_err().contains("zh-CN"));
        assert!(change(&|c| c.name = Some("a\nb".into())).unwrap_err().contains("64"));
        assert!(change(&|c| c.prompt = Some("x".repeat(PROMPT + 1))).unwrap_err().contains("16384"));
        assert!(change(&|c| c.policy = Some("lax".into())).unwrap_err().contains("audit"));
        assert!(change(&|c| c.timezone = Some("Mars/Olympus".into())).unwrap_err().contains("Europe/Berlin"));
        assert!(change(&|c| c.quiet_hours = Some("night".into())).unwrap_err().contains("22:00-07:00"));
        assert_eq!(change(&|c| c.quiet_hours = Some("21:30-06:00".into())), Ok(()));
        assert_eq!(change(&|c| c.policy = Some("cane".into())), Ok(()));
        assert_eq!(change(&|c| c.language = Some("zh-Hant-TW".into())), Ok(()));
        assert_eq!(change(&|c| c.voice = Some(String::new())), Ok(()), "an empty text takes it back");
    }
}
