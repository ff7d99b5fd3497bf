//! The control socket's lines: one JSON request, then one or more JSON answers, each a line.
//!
//! `{"op":"say","device":"cane-1","text":"…"}` is answered by `{"ok":…}` or by `{"error":{"kind","message"}}`;
//! lists and tails are answered by any number of `{"item":…}` and then `{"ok":null}`. Lines are bounded both
//! ways, so neither side can make the other hold more than that.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::domain::DeviceId;

use super::{AdminError, ImportUser, LifelogQuery, NewDevice, NewOperator, NewPassword, NewRule};
use super::{Alert, Claim, DeviceChange, FirmwareName, FirmwarePart, ImportBoard, NewFirmware, NewTalk, ToolCall};
use super::{BindingQuery, BindingStep, NewBinding, NewOperation, OperationEnd, OperationQuery, Order, Selection};
use super::{CacheName, TelemetryQuery};
use super::{InboxName, InboxQuery};
use super::{NewTask, TaskQuery};

/// Longest request in bytes, its newline included.
pub const MAX_REQUEST: usize = 64 << 10;
/// Longest line of an answer in bytes, its newline included.
pub const MAX_ANSWER: usize = 1 << 20;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Answered by a credential.
    DeviceAdd {
        /// What to make.
        new: NewDevice,
    },
    /// Answered by devices.
    DeviceList {},
    /// Answered by nothing.
    DeviceRemove {
        /// Which.
        device: DeviceId,
    },
    /// Answered by nothing.
    DeviceSet {
        /// What.
        change: DeviceChange,
    },
    /// Answered by the device and its token.
    DeviceRegister {
        /// Which.
        new: NewBinding,
    },
    /// Answered by the device.
    DeviceStep {
        /// Which.
        device: DeviceId,
        /// What.
        change: BindingStep,
    },
    /// Answered by devices.
    DeviceBindings {
        /// Which.
        query: BindingQuery,
    },
    /// Answered by how it is.
    DeviceState {
        /// Which.
        device: DeviceId,
    },
    /// Answered by nothing, when it is taken.
    DeviceEvent {
        /// In whose place.
        device: DeviceId,
        /// What it is to have said, in OpenCane's words.
        event: Map<String, Value>,
    },
    /// Answered by the operation.
    OperationBegin {
        /// What.
        new: NewOperation,
    },
    /// Answered by an outcome each.
    OperationBatch {
        /// Of which devices.
        selection: Selection,
        /// What.
        order: Order,
    },
    /// Answered by the operation.
    OperationEnd {
        /// Which, and how.
        end: OperationEnd,
    },
    /// Answered by operations.
    OperationList {
        /// Which.
        query: OperationQuery,
    },
    /// Answered by the task.
    TaskBegin {
        /// What.
        new: NewTask,
    },
    /// Answered by the task.
    TaskCancel {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// Answered by tasks.
    TaskList {
        /// Which.
        query: TaskQuery,
    },
    /// Answered by numbers.
    TaskStats {
        /// Of which conversation.
        session: Option<String>,
    },
    /// Answered by how the gateway is.
    Runtime {},
    /// Answered by how the gateway is.
    Sample {},
    /// Answered by how the gateway was.
    Samples {
        /// Since when.
        since: u64,
    },
    /// Answered by a key.
    OperatorSigningKey {
        /// Whose.
        name: String,
    },
    /// Answered by boards.
    DevicePending {},
    /// Answered by the device's id.
    DeviceClaim {
        /// Which.
        claim: Claim,
    },
    /// Answered by a link.
    DeviceTalk {
        /// As whom.
        new: NewTalk,
    },
    /// Answered by tools.
    DeviceTools {
        /// Whose.
        device: DeviceId,
    },
    /// Answered by the device's text.
    DeviceCall {
        /// Which.
        call: ToolCall,
    },
    /// Answered by nothing.
    FirmwareUpload {
        /// What.
        part: FirmwarePart,
    },
    /// Answered by the firmware.
    FirmwareAdd {
        /// Which.
        new: NewFirmware,
    },
    /// Answered by nothing.
    DeviceAlert {
        /// What, and where.
        alert: Alert,
    },
    /// Answered by firmware.
    FirmwareList {},
    /// Answered by the firmware.
    FirmwareRollout {
        /// Which.
        name: FirmwareName,
        /// To how many boards, percent.
        share: u32,
    },
    /// Answered by nothing.
    FirmwareRemove {
        /// Which.
        name: FirmwareName,
    },
    /// Answered by a credential.
    OperatorAdd {
        /// What to make.
        new: NewOperator,
    },
    /// Answered by operators.
    OperatorList {},
    /// Answered by nothing.
    OperatorRemove {
        /// Which.
        name: String,
    },
    /// Answered by a credential.
    DevicePassword {
        /// Whose, and which.
        new: NewPassword,
    },
    /// Answered by a credential.
    OperatorPassword {
        /// Whose, and which.
        new: NewPassword,
    },
    /// Answered by the rule.
    RuleAdd {
        /// What to add.
        rule: NewRule,
    },
    /// Answered by rules.
    RuleList {},
    /// Answered by nothing.
    RuleRemove {
        /// Which.
        id: String,
    },
    /// Answered by an outcome each.
    ImportUsers {
        /// Whom.
        users: Vec<ImportUser>,
        /// Only say what would be done.
        dry: bool,
    },
    /// Answered by an outcome each.
    ImportRules {
        /// What.
        rules: Vec<NewRule>,
        /// Only say what would be done.
        dry: bool,
    },
    /// Answered by an outcome.
    ImportBoard {
        /// Which.
        board: ImportBoard,
        /// Only say what would be done.
        dry: bool,
    },
    /// Answered by sessions.
    SessionList {},
    /// Answered by entries.
    LifelogList {
        /// Which.
        query: LifelogQuery,
    },
    /// Answered by entries until one side goes.
    LifelogTail {
        /// Which.
        query: LifelogQuery,
    },
    /// Answered by messages.
    InboxList {
        /// Which.
        query: InboxQuery,
    },
    /// Answered by nothing.
    InboxRetry {
        /// Which.
        message: InboxName,
    },
    /// Answered by caches.
    CacheStats {},
    /// Answered by what was forgotten.
    CacheClear {
        /// Of which cache.
        which: CacheName,
    },
    /// Answered by what came of it.
    CacheWarm {},
    /// Answered by nothing.
    InboxDrop {
        /// Which.
        message: InboxName,
    },
    /// Answered by samples.
    TelemetrySamples {
        /// Which.
        query: TelemetryQuery,
    },
    /// Answered by what became of it.
    Say {
        /// To whom.
        device: DeviceId,
        /// What.
        text: String,
    },
    /// Answered by whether it spoke.
    Abort {
        /// Who.
        device: DeviceId,
    },
    /// Answered by what is other than before.
    ConfigReload {},
    /// Answered by a status.
    Status {},
    /// Answered by services.
    Providers {},
    /// Answered by models.
    Models {},
}

impl Request {
    /// The operation's name in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Request::DeviceAdd { .. } => "device_add",
            Request::DeviceList {} => "device_list",
            Request::DeviceRemove { .. } => "device_remove",
            Request::DeviceSet { .. } => "device_set",
            Request::DeviceRegister { .. } => "device_register",
            Request::DeviceStep { change: BindingStep::Bind { .. }, .. } => "device_bind",
            Request::DeviceStep { change: BindingStep::Activate { .. }, .. } => "device_activate",
            Request::DeviceStep { change: BindingStep::Revoke { .. }, .. } => "device_revoke",
            Request::DeviceBindings { .. } => "device_bindings",
            Request::DeviceState { .. } => "device_state",
            Request::DeviceEvent { .. } => "device_event",
            Request::OperationBegin { .. } => "operation_begin",
            Request::OperationBatch { .. } => "operation_batch",
            Request::OperationEnd { .. } => "operation_end",
            Request::OperationList { .. } => "operation_list",
            Request::TaskBegin { .. } => "task_begin",
            Request::TaskCancel { .. } => "task_cancel",
            Request::TaskList { .. } => "task_list",
            Request::TaskStats { .. } => "task_stats",
            Request::InboxList { .. } => "inbox_list",
            Request::InboxRetry { .. } => "inbox_retry",
            Request::InboxDrop { .. } => "inbox_drop",
            Request::CacheStats {} => "cache_stats",
            Request::CacheClear { .. } => "cache_clear",
            Request::CacheWarm {} => "cache_warm",
            Request::Runtime {} => "runtime",
            Request::Sample {} => "sample",
            Request::Samples { .. } => "samples",
            Request::OperatorSigningKey { .. } => "operator_signing_key",
            Request::DevicePending {} => "device_pending",
            Request::DeviceClaim { .. } => "device_claim",
            Request::DeviceTalk { .. } => "device_talk",
            Request::DeviceTools { .. } => "device_tools",
            Request::DeviceCall { .. } => "device_call",
            Request::DeviceAlert { .. } => "device_alert",
            Request::FirmwareUpload { .. } => "firmware_upload",
            Request::FirmwareAdd { .. } => "firmware_add",
            Request::FirmwareList {} => "firmware_list",
            Request::FirmwareRollout { .. } => "firmware_rollout",
            Request::FirmwareRemove { .. } => "firmware_remove",
            Request::OperatorAdd { .. } => "operator_add",
            Request::OperatorList {} => "operator_list",
            Request::OperatorRemove { .. } => "operator_remove",
            Request::DevicePassword { .. } => "device_password",
            Request::OperatorPassword { .. } => "operator_password",
            Request::RuleAdd { .. } => "rule_add",
            Request::RuleList {} => "rule_list",
            Request::RuleRemove { .. } => "rule_remove",
            Request::ImportUsers { .. } => "import_users",
            Request::ImportRules { .. } => "import_rules",
            Request::ImportBoard { .. } => "import_board",
            Request::SessionList {} => "session_list",
            Request::LifelogList { .. } => "lifelog_list",
            Request::LifelogTail { .. } => "lifelog_tail",
            Request::TelemetrySamples { .. } => "telemetry_samples",
            Request::Say { .. } => "say",
            Request::Abort { .. } => "abort",
            Request::ConfigReload {} => "config_reload",
            Request::Status {} => "status",
            Request::Providers {} => "providers",
            Request::Models {} => "models",
        }
    }

    /// Whom it is about, for the audit log.
    pub fn subject(&self) -> &str {
        match self {
            Request::DeviceAdd { new } => new.id.as_str(),
            // not the code: it is still good when the claim was refused for another reason
            Request::DeviceClaim { claim } => claim.name.as_deref().unwrap_or("*"),
            Request::DeviceSet { change } => change.device.as_str(),
            Request::FirmwareUpload { part } => &part.upload,
            Request::FirmwareAdd { new } => &new.board,
            Request::FirmwareRollout { name, .. } | Request::FirmwareRemove { name } => &name.board,
            Request::OperatorAdd { new } => &new.name,
            Request::OperatorRemove { name } | Request::OperatorSigningKey { name } => name,
            Request::DeviceRegister { new } => new.device.as_str(),
            Request::OperationBegin { new } => new.device.as_str(),
            Request::OperationEnd { end } => &end.id,
            Request::TaskBegin { new } => new.device.as_ref().map_or("*", DeviceId::as_str),
            Request::TaskList { query } => query.device.as_ref().map_or("*", DeviceId::as_str),
            Request::OperationList { query } => query.device.as_ref().map_or("*", DeviceId::as_str),
            Request::InboxList { query } => query.device.as_ref().map_or("*", DeviceId::as_str),
            Request::InboxRetry { message } | Request::InboxDrop { message } => message.device.as_str(),
            Request::TelemetrySamples { query } => query.device.as_ref().map_or("*", DeviceId::as_str),
            Request::DeviceBindings { query } => query.device.as_ref().map_or("*", DeviceId::as_str),
            Request::DevicePassword { new } | Request::OperatorPassword { new } => &new.name,
            Request::RuleAdd { rule } => &rule.filter,
            Request::ImportBoard { board, .. } => &board.mac,
            Request::RuleRemove { id } | Request::TaskCancel { id, .. } => id,
            Request::DeviceRemove { device }
            | Request::DeviceTools { device }
            | Request::DeviceStep { device, .. }
            | Request::DeviceState { device }
            | Request::DeviceEvent { device, .. }
            | Request::Say { device, .. }
            | Request::Abort { device } => device.as_str(),
            Request::DeviceTalk { new } => new.device.as_str(),
            Request::DeviceCall { call } => call.device.as_str(),
            Request::DeviceAlert { alert } => alert.device.as_str(),
            Request::LifelogList { query } | Request::LifelogTail { query } => {
                query.device.as_ref().map_or("*", DeviceId::as_str)
            }
            Request::DeviceList {}
            | Request::DevicePending {}
            | Request::OperationBatch { .. }
            | Request::TaskStats { .. }
            | Request::CacheStats {}
            | Request::CacheClear { .. }
            | Request::CacheWarm {}
            | Request::Runtime {}
            | Request::Sample {}
            | Request::Samples { .. }
            | Request::FirmwareList {}
            | Request::RuleList {}
            | Request::ImportUsers { .. }
            | Request::ImportRules { .. }
            | Request::OperatorList {}
            | Request::SessionList {}
            | Request::ConfigReload {}
            | Request::Status {}
            | Request::Providers {}
            | Request::Models {} => "*",
        }
    }
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Done; the last line.
    Ok(Value),
    /// One of many.
    Item(Value),
    /// Not done; the last line.
    Error(AdminError),
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The socket failed.
    #[error("the control socket failed: {0}")]
    Io(#[from] std::io::Error),
    /// Longer than allowed.
    #[error("a line of the control socket has at most {0} bytes")]
    Long(usize),
}

/// Reads a line of at most `max` bytes, its newline included; none at the end of the stream.
pub(super) async fn read_line<R>(reader: &mut R, max: usize) -> Result<Option<Vec<u8>>, LineError>
where
    R: AsyncBufRead + Unpin,
{
    let mut line = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let read = reader.take(limit).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read >= max => Err(LineError::Long(max)),
        // the end, or the peer went in mid-line: what it said is not complete
        None | Some(_) => Ok(None),
    }
}

/// Writes one line.
pub(super) async fn write_line<W, T>(writer: &mut W, value: &T) -> std::io::Result<()>
where
    W: AsyncWrite + Unpin,
    T: Serialize + Sync,
{
    let mut line = serde_json::to_vec(value).map_err(std::io::Error::other)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn a_line_longer_than_allowed_is_an_error_and_half_a_line_is_the_end() {
        let mut long: &[u8] = b"123456789\n";
        assert!(matches!(read_line(&mut long, 9).await, Err(LineError::Long(9))));
        let mut exact: &[u8] = b"12345678\n";
        assert_eq!(read_line(&mut exact, 9).await.expect("fits"), Some(b"12345678\n".to_vec()));
        let mut half: &[u8] = b"1234";
        assert_eq!(read_line(&mut half, 9).await.expect("no error"), None);
    }

    #[test]
    fn a_request_is_one_flat_object_and_unknown_fields_are_refused() {
        let request = Request::Abort { device: DeviceId::parse("cane").expect("an id") };
        let text = serde_json::to_string(&request).expect("encodes");
        assert_eq!(text, r#"{"op":"abort","device":"cane"}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).expect("decodes"), request);
        assert!(serde_json::from_str::<Request>(r#"{"op":"status","x":1}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"op":"abort","device":"a/b"}"#).is_err());
    }
}
