//! The operations on boards with stock firmware, and on their firmware.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::change::{check_name, record};
use super::records::{credentials_error, store_error};
use crate::admin::{
    AdminError, AdminErrorKind, Alert, Claim, FirmwareName, FirmwarePart, FirmwareRow, NewFirmware, PendingRow,
    ToolCall, ToolRow,
};
use crate::domain::{DeviceId, Message};
use crate::door::enrolment::{ClaimError, Enrolment, Waiting};
use crate::door::firmware::{Catalogue, FirmwareError, NewRelease, Release};
use crate::session::{CallError, Tool};

/// Longest text of an alert, bytes: screens of boards are small.
const ALERT: usize = 1 << 10;
/// Longest status and name of a face, characters.
const WORD: usize = 32;

pub(super) fn pending(enrolment: &Enrolment) -> Vec<PendingRow> {
    let row = |waiting: Waiting| PendingRow {
        id: waiting.device,
        code: waiting.code,
        reason: waiting.reason.name().to_owned(),
        address: waiting.address.to_canonical().to_string(),
        board: waiting.board,
        since: waiting.since,
    };
    enrolment.pending().into_iter().map(row).collect()
}

pub(super) async fn claim(enrolment: &Enrolment, claim: Claim) -> Result<DeviceId, AdminError> {
    let name = claim.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    check_name(name.as_deref().unwrap_or_default())?;
    let transport = claim.transport.map(record);
    enrolment.claim(claim.code.trim(), name, transport).await.map_err(|error| match &error {
        ClaimError::Wrong => AdminError::new(AdminErrorKind::NotFound, error.to_string()),
        ClaimError::Later(_) => AdminError::new(AdminErrorKind::Invalid, error.to_string()),
        ClaimError::Credentials(error) => credentials_error(error),
    })
}

pub(super) async fn firmware_upload(catalogue: &Catalogue, part: FirmwarePart) -> Result<(), AdminError> {
    let data = STANDARD
        .decode(part.data)
        .map_err(|_| AdminError::new(AdminErrorKind::Invalid, "a part of a file comes in base64"))?;
    catalogue.upload(part.upload, part.offset, data).await.map_err(|error| failed(&error))
}

pub(super) async fn firmware_add(catalogue: &Catalogue, new: NewFirmware) -> Result<FirmwareRow, AdminError> {
    let NewFirmware { upload, board, version, share } = new;
    let added = catalogue.add(NewRelease { upload, board, version, share }).await;
    added.map(row).map_err(|error| failed(&error))
}

pub(super) fn firmware_list(catalogue: &Catalogue) -> Vec<FirmwareRow> {
    catalogue.list().into_iter().map(row).collect()
}

pub(super) async fn firmware_rollout(
    catalogue: &Catalogue,
    name: FirmwareName,
    share: u32,
) -> Result<FirmwareRow, AdminError> {
    catalogue.rollout(&name.board, &name.version, share).await.map(row).map_err(|error| failed(&error))
}

pub(super) async fn firmware_remove(catalogue: &Catalogue, name: FirmwareName) -> Result<(), AdminError> {
    catalogue.remove(&name.board, &name.version).await.map(drop).map_err(|error| failed(&error))
}

fn row(release: Release) -> FirmwareRow {
    FirmwareRow {
        board: release.board,
        version: release.version,
        share: release.share,
        size: release.size,
        sha256: release.sha256,
        added: release.added,
    }
}

fn failed(error: &FirmwareError) -> AdminError {
    let kind = match error {
        FirmwareError::Store(error) => return store_error(error),
        FirmwareError::Exists(..) => AdminErrorKind::Exists,
        FirmwareError::Unknown(..) => AdminErrorKind::NotFound,
        FirmwareError::File { .. } | FirmwareError::Stopping => AdminErrorKind::Internal,
        _ => AdminErrorKind::Invalid,
    };
    AdminError::new(kind, error.to_string())
}

/// A tool as an operator sees it.
pub(super) fn tool_row(tool: &Tool) -> ToolRow {
    let Tool { name, description, parameters, user_only } = tool;
    let (name, description) = (name.clone(), description.clone());
    ToolRow { name, description, parameters: parameters.to_string(), user_only: *user_only }
}

/// The arguments of a call: an object; nothing is an empty one.
pub(super) fn arguments(call: &ToolCall) -> Result<Value, AdminError> {
    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let object = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let invalid =
        || AdminError::new(AdminErrorKind::Invalid, "the arguments are no JSON object: write '{\"volume\": 30}'");
    object.ok_or_else(invalid)
}

/// What a device is told of an alert.
pub(super) fn alert(alert: Alert) -> Result<Message, AdminError> {
    let Alert { text, level, status, emotion, .. } = alert;
    let word = |text: &str| (1..=WORD).contains(&text.chars().count()) && !text.contains(char::is_control);
    let fits = |text: &Option<String>| text.as_deref().is_none_or(word);
    if text.trim().is_empty() || text.len() > ALERT {
        return Err(AdminError::new(AdminErrorKind::Invalid, "an alert has a text, of at most 1 KB"));
    }
    if !fits(&status) || !fits(&emotion) {
        let text = format!("status and emotion are a word or two, of at most {WORD} characters");
        return Err(AdminError::new(AdminErrorKind::Invalid, text));
    }
    Ok(Message::Alert { level: level.name().to_owned(), text, status, emotion })
}

/// Why a device's tool did not answer.
pub(super) fn tool_error(error: &CallError) -> AdminError {
    let kind = match error {
        CallError::NoTools | CallError::Unknown | CallError::Gone => AdminErrorKind::NotFound,
        CallError::Busy | CallError::TimedOut => AdminErrorKind::Internal,
        CallError::Refused(_) => AdminErrorKind::Invalid,
    };
    AdminError::new(kind, error.to_string())
}
