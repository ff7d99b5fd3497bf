//! The operation that expects a board which another server knew.

use super::records::{Records, credentials_error};
use crate::admin::{AdminError, AdminErrorKind, ImportBoard, ImportOutcome};
use crate::domain::Span;
use crate::door::credentials::Expectation;
use crate::door::enrolment::mac;
use crate::store::records::DeviceSettings;

/// Longest name, characters.
const NAME: usize = 64;
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
        let settings = match settings(&board) {
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

fn settings(board: &ImportBoard) -> Result<DeviceSettings, String> {
    let name = board.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.chars().count() > NAME || name.chars().any(char::is_control)) {
        return Err(format!("its name has more than {NAME} characters, or control characters; change it there first"));
    }
    Ok(DeviceSettings { name: name.map(str::to_owned), ..DeviceSettings::default() })
}
