//! The operation that expects a board which another server knew.

use super::change::check;
use super::records::{Records, credentials_error};
use crate::admin::{AdminError, AdminErrorKind, DeviceChange, ImportBoard, ImportOutcome};
use crate::domain::{DeviceId, Span};
use crate::door::credentials::Expectation;
use crate::door::enrolment::mac;
use crate::store::records::{DeviceSettings, Persona};

/// Longest time that a board is expected.
const LONGEST: Span = Span::days(30);

impl Records<'_> {
    /// Expects one board; what concerns only this one is told as its outcome, so that the others go on.
    pub(super) async fn import_board(&self, board: ImportBoard, dry: bool) -> Result<ImportOutcome, AdminError> {
        if board.within < Span::secs(60) || board.within > LONGEST {
            let text = "a board is expected for a minute at least and thirty days at most";
            return Err(AdminError::new(AdminErrorKind::Invalid, text));
        }
        let refused = |text: &str| Ok(ImportOutcome::Refused(text.to_owned()));
        let Some(device) = mac(&board.mac.trim().to_ascii_lowercase().replace('-', ":")) else {
            return refused("is no MAC of a board, as in f4:12:fa:00:00:01; mend it, or leave the board out");
        };
        let settings = match settings(&board, &device) {
            Ok(settings) => settings,
            Err(why) => return refused(&why),
        };
        let expected = self.credentials.expect(&device, settings, board.within.0, dry).await;
        match expected.map_err(|error| credentials_error(&error))? {
            Expectation::Made => Ok(ImportOutcome::Added),
            Expectation::Running | Expectation::Came => Ok(ImportOutcome::There),
            Expectation::ByHand => refused(
                "is a device that was added by hand; claim the code that its board will show, or remove the device \
                 first (voxgate device remove)",
            ),
            Expectation::Barred => refused("is shut out here, or the name of an operator; remove that first"),
        }
    }
}

fn settings(board: &ImportBoard, device: &DeviceId) -> Result<DeviceSettings, String> {
    let ImportBoard { name, language, voice, prompt, .. } = board.clone();
    let own = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let change = DeviceChange {
        name: own(name),
        language: own(language),
        voice: own(voice),
        prompt: own(prompt),
        ..DeviceChange::of(device.clone())
    };
    if !change.is_empty() {
        check(&change)
            .map_err(|error| format!("{}; change it there first, or add the device by hand", error.message))?;
    }
    let persona = Persona { language: change.language, voice: change.voice, prompt: change.prompt };
    Ok(DeviceSettings { name: change.name, persona, ..DeviceSettings::default() })
}
