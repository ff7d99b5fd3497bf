//! The operations on boards with stock firmware, and on their firmware.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::records::{credentials_error, store_error};
use crate::admin::{
    self, AdminError, AdminErrorKind, Claim, FirmwareName, FirmwarePart, FirmwareRow, NewFirmware, PendingRow,
    ToolCall, ToolRow,
};
use crate::domain::DeviceId;
use crate::door::enrolment::{ClaimError, Enrolment, Waiting};
use crate::door::firmware::{Catalogue, FirmwareError, NewRelease, Release};
use crate::session::{CallError, Tool};
use crate::store::records::Transport;

/// Longest name of a device, characters.
const NAME: usize = 64;

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
    if name.as_ref().is_some_and(|name| name.chars().count() > NAME || name.chars().any(char::is_control)) {
        let text = format!("a name has at most {NAME} characters, none of them a control character");
        return Err(AdminError::new(AdminErrorKind::Invalid, text));
    }
    let transport = claim.transport.map(|transport| match transport {
        admin::Transport::Mqtt => Transport::Mqtt,
        admin::Transport::Websocket => Transport::Websocket,
    });
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

/// Why a device's tool did not answer.
pub(super) fn tool_error(error: &CallError) -> AdminError {
    let kind = match error {
        CallError::NoTools | CallError::Unknown | CallError::Gone => AdminErrorKind::NotFound,
        CallError::Busy | CallError::TimedOut => AdminErrorKind::Internal,
        CallError::Refused(_) => AdminErrorKind::Invalid,
    };
    AdminError::new(kind, error.to_string())
}
