//! The command line's end of the control socket: an [`Admin`] that asks the running gateway.
//!
//! Each operation is a connection of its own.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::domain::DeviceId;

use super::protocol::{Answer, read_line, write_line};
use super::{
    Admin, AdminError, AdminErrorKind, Credential, DeviceRow, ImportOutcome, ImportUser, LifelogQuery, LifelogRow,
    LifelogTail, MAX_ANSWER, ModelRow, NewDevice, NewOperator, NewPassword, NewRule, OperatorRow, Request, RuleRow,
    Said, SessionRow, Status,
};
use super::{
    Alert, Claim, DeviceChange, FirmwareName, FirmwarePart, FirmwareRow, ImportBoard, NewFirmware, NewTalk, PendingRow,
    TalkLink, ToolCall, ToolRow,
};
use super::{
    BatchRow, DeviceState, NewOperation, OperationEnd, OperationQuery, OperationRow, Order, Runtime, Sample, Selection,
};
use super::{BindingQuery, BindingRow, BindingStep, NewBinding, Registered, Secret, TelemetryQuery, TelemetryRow};
use super::{CacheCleared, CacheName, CacheRow, CacheWarmed};
use super::{InboxName, InboxQuery, InboxRow};
use super::{NewTask, ProviderRow, Reloaded, TaskQuery, TaskRow, TaskStats};

/// Speaks to the gateway behind a control socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// An open answer.
struct Answers {
    reader: BufReader<OwnedReadHalf>,
    // held open: the gateway takes the end of our half as "gone"
    _writer: OwnedWriteHalf,
}

impl Client {
    /// Speaks to whoever listens on `socket`. Does not connect yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Somebody listens there. `Err`: they do, or may, but we are not let in.
    pub async fn answers(&self) -> Result<bool, AdminError> {
        match UnixStream::connect(&self.socket).await {
            Ok(_) => Ok(true),
            Err(error) if nobody(&error) => Ok(false),
            Err(error) => Err(unreachable_socket(&self.socket, &error)),
        }
    }

    async fn send(&self, request: &Request) -> Result<Answers, AdminError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| unreachable_socket(&self.socket, &error))?;
        let (reader, mut writer) = stream.into_split();
        write_line(&mut writer, request).await.map_err(|error| broken(&error))?;
        Ok(Answers { reader: BufReader::new(reader), _writer: writer })
    }

    async fn one<T: DeserializeOwned>(&self, request: Request) -> Result<T, AdminError> {
        let mut answers = self.send(&request).await?;
        match answers.next().await? {
            Answer::Ok(value) => decode(value),
            Answer::Item(_) => Err(foreign("one answer was due, a list came")),
            Answer::Error(error) => Err(error),
        }
    }

    async fn many<T: DeserializeOwned>(&self, request: Request) -> Result<Vec<T>, AdminError> {
        let mut answers = self.send(&request).await?;
        let mut items = Vec::new();
        loop {
            match answers.next().await? {
                Answer::Item(value) => items.push(decode(value)?),
                Answer::Ok(_) => return Ok(items),
                Answer::Error(error) => return Err(error),
            }
        }
    }
}

impl Answers {
    async fn next(&mut self) -> Result<Answer, AdminError> {
        let line = read_line(&mut self.reader, MAX_ANSWER).await.map_err(|error| broken(&error))?;
        let line = line.ok_or_else(|| foreign("the gateway hung up in mid-answer: see its log"))?;
        serde_json::from_slice(&line)
            .map_err(|error| foreign(&format!("an answer that this version does not know: {error}")))
    }
}

fn nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn unreachable_socket(socket: &Path, error: &io::Error) -> AdminError {
    let at = socket.display();
    let message = if nobody(error) {
        format!(
            "the gateway is not running (no answer on {at}); start it with `systemctl start voxgate` or `voxgate serve`"
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("you may not open {at}; run this as root, or join the group voxgate (`adduser $USER voxgate`)")
    } else {
        format!("control socket {at}: {error}")
    };
    AdminError::new(AdminErrorKind::NotRunning, message)
}

fn broken(error: &dyn std::error::Error) -> AdminError {
    AdminError::new(AdminErrorKind::Internal, format!("the gateway went away: {error}"))
}

fn foreign(what: &str) -> AdminError {
    AdminError::new(AdminErrorKind::Internal, what)
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, AdminError> {
    serde_json::from_value(value)
        .map_err(|error| foreign(&format!("an answer that this version does not know: {error}")))
}

#[async_trait]
impl Admin for Client {
    async fn device_add(&self, new: NewDevice) -> Result<Credential, AdminError> {
        self.one(Request::DeviceAdd { new }).await
    }

    async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError> {
        self.many(Request::DeviceList {}).await
    }

    async fn device_remove(&self, device: DeviceId) -> Result<(), AdminError> {
        self.one(Request::DeviceRemove { device }).await
    }

    async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError> {
        self.one(Request::DeviceSet { change }).await
    }

    async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError> {
        self.one(Request::DeviceRegister { new }).await
    }

    async fn device_step(&self, device: DeviceId, change: BindingStep) -> Result<BindingRow, AdminError> {
        self.one(Request::DeviceStep { device, change }).await
    }

    async fn device_bindings(&self, query: BindingQuery) -> Result<Vec<BindingRow>, AdminError> {
        self.many(Request::DeviceBindings { query }).await
    }

    async fn operator_signing_key(&self, name: String) -> Result<Secret, AdminError> {
        self.one(Request::OperatorSigningKey { name }).await
    }

    async fn device_state(&self, device: DeviceId) -> Result<DeviceState, AdminError> {
        self.one(Request::DeviceState { device }).await
    }

    async fn device_event(&self, device: DeviceId, event: Map<String, Value>) -> Result<(), AdminError> {
        self.one(Request::DeviceEvent { device, event }).await
    }

    async fn operation_begin(&self, new: NewOperation) -> Result<OperationRow, AdminError> {
        self.one(Request::OperationBegin { new }).await
    }

    async fn operation_end(&self, end: OperationEnd) -> Result<OperationRow, AdminError> {
        self.one(Request::OperationEnd { end }).await
    }

    async fn operation_list(&self, query: OperationQuery) -> Result<Vec<OperationRow>, AdminError> {
        self.many(Request::OperationList { query }).await
    }

    async fn task_begin(&self, new: NewTask) -> Result<TaskRow, AdminError> {
        self.one(Request::TaskBegin { new }).await
    }

    async fn task_cancel(&self, id: String, reason: String) -> Result<TaskRow, AdminError> {
        self.one(Request::TaskCancel { id, reason }).await
    }

    async fn task_list(&self, query: TaskQuery) -> Result<Vec<TaskRow>, AdminError> {
        self.many(Request::TaskList { query }).await
    }

    async fn task_stats(&self, session: Option<String>) -> Result<TaskStats, AdminError> {
        self.one(Request::TaskStats { session }).await
    }

    async fn runtime(&self) -> Result<Runtime, AdminError> {
        self.one(Request::Runtime {}).await
    }

    async fn sample(&self) -> Result<Sample, AdminError> {
        self.one(Request::Sample {}).await
    }

    async fn samples(&self, since: u64) -> Result<Vec<Sample>, AdminError> {
        self.many(Request::Samples { since }).await
    }

    async fn operation_batch(&self, selection: Selection, order: Order) -> Result<Vec<BatchRow>, AdminError> {
        self.many(Request::OperationBatch { selection, order }).await
    }

    async fn device_pending(&self) -> Result<Vec<PendingRow>, AdminError> {
        self.many(Request::DevicePending {}).await
    }

    async fn device_claim(&self, claim: Claim) -> Result<DeviceId, AdminError> {
        self.one(Request::DeviceClaim { claim }).await
    }

    async fn device_talk(&self, new: NewTalk) -> Result<TalkLink, AdminError> {
        self.one(Request::DeviceTalk { new }).await
    }

    async fn device_tools(&self, device: DeviceId) -> Result<Vec<ToolRow>, AdminError> {
        self.many(Request::DeviceTools { device }).await
    }

    async fn device_call(&self, call: ToolCall) -> Result<String, AdminError> {
        self.one(Request::DeviceCall { call }).await
    }

    async fn device_alert(&self, alert: Alert) -> Result<(), AdminError> {
        self.one(Request::DeviceAlert { alert }).await
    }

    async fn firmware_upload(&self, part: FirmwarePart) -> Result<(), AdminError> {
        self.one(Request::FirmwareUpload { part }).await
    }

    async fn firmware_add(&self, new: NewFirmware) -> Result<FirmwareRow, AdminError> {
        self.one(Request::FirmwareAdd { new }).await
    }

    async fn firmware_list(&self) -> Result<Vec<FirmwareRow>, AdminError> {
        self.many(Request::FirmwareList {}).await
    }

    async fn firmware_rollout(&self, name: FirmwareName, share: u32) -> Result<FirmwareRow, AdminError> {
        self.one(Request::FirmwareRollout { name, share }).await
    }

    async fn firmware_remove(&self, name: FirmwareName) -> Result<(), AdminError> {
        self.one(Request::FirmwareRemove { name }).await
    }

    async fn operator_add(&self, new: NewOperator) -> Result<Credential, AdminError> {
        self.one(Request::OperatorAdd { new }).await
    }

    async fn operator_list(&self) -> Result<Vec<OperatorRow>, AdminError> {
        self.many(Request::OperatorList {}).await
    }

    async fn operator_remove(&self, name: String) -> Result<(), AdminError> {
        self.one(Request::OperatorRemove { name }).await
    }

    async fn device_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        self.one(Request::DevicePassword { new }).await
    }

    async fn operator_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        self.one(Request::OperatorPassword { new }).await
    }

    async fn rule_add(&self, rule: NewRule) -> Result<RuleRow, AdminError> {
        self.one(Request::RuleAdd { rule }).await
    }

    async fn rule_list(&self) -> Result<Vec<RuleRow>, AdminError> {
        self.many(Request::RuleList {}).await
    }

    async fn rule_remove(&self, id: String) -> Result<(), AdminError> {
        self.one(Request::RuleRemove { id }).await
    }

    async fn import_users(&self, users: Vec<ImportUser>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        self.many(Request::ImportUsers { users, dry }).await
    }

    async fn import_rules(&self, rules: Vec<NewRule>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        self.many(Request::ImportRules { rules, dry }).await
    }

    async fn import_board(&self, board: ImportBoard, dry: bool) -> Result<ImportOutcome, AdminError> {
        self.one(Request::ImportBoard { board, dry }).await
    }

    async fn session_list(&self) -> Result<Vec<SessionRow>, AdminError> {
        self.many(Request::SessionList {}).await
    }

    async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError> {
        self.many(Request::LifelogList { query }).await
    }

    async fn lifelog_tail(&self, query: LifelogQuery) -> Result<LifelogTail, AdminError> {
        let answers = self.send(&Request::LifelogTail { query }).await?;
        let rows = stream::unfold(Some(answers), |answers| async {
            let mut answers = answers?;
            match answers.next().await {
                Ok(Answer::Item(value)) => Some((decode(value), Some(answers))),
                Ok(Answer::Ok(_)) => None,
                Ok(Answer::Error(error)) | Err(error) => Some((Err(error), None)),
            }
        });
        Ok(rows.boxed())
    }

    async fn cache_stats(&self) -> Result<Vec<CacheRow>, AdminError> {
        self.many(Request::CacheStats {}).await
    }

    async fn cache_clear(&self, which: CacheName) -> Result<Vec<CacheCleared>, AdminError> {
        self.many(Request::CacheClear { which }).await
    }

    async fn cache_warm(&self) -> Result<CacheWarmed, AdminError> {
        self.one(Request::CacheWarm {}).await
    }

    async fn inbox_list(&self, query: InboxQuery) -> Result<Vec<InboxRow>, AdminError> {
        self.many(Request::InboxList { query }).await
    }

    async fn inbox_retry(&self, message: InboxName) -> Result<(), AdminError> {
        self.one(Request::InboxRetry { message }).await
    }

    async fn inbox_drop(&self, message: InboxName) -> Result<(), AdminError> {
        self.one(Request::InboxDrop { message }).await
    }

    async fn telemetry_samples(&self, query: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError> {
        self.many(Request::TelemetrySamples { query }).await
    }

    async fn say(&self, device: DeviceId, text: String) -> Result<Said, AdminError> {
        self.one(Request::Say { device, text }).await
    }

    async fn abort(&self, device: DeviceId) -> Result<bool, AdminError> {
        self.one(Request::Abort { device }).await
    }

    async fn config_reload(&self) -> Result<Reloaded, AdminError> {
        self.one(Request::ConfigReload {}).await
    }

    async fn status(&self) -> Result<Status, AdminError> {
        self.one(Request::Status {}).await
    }

    async fn providers(&self) -> Result<Vec<ProviderRow>, AdminError> {
        self.many(Request::Providers {}).await
    }

    async fn models(&self) -> Result<Vec<ModelRow>, AdminError> {
        self.many(Request::Models {}).await
    }
}
