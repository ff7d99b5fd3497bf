//! The operators' operations: on a running gateway ([`Operators`]), and on its store when none runs ([`Offline`]).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::Addrs;
use super::answers::Answers;
use crate::admin::{
    Admin, AdminError, AdminErrorKind, Credential, DeviceRow, ImportOutcome, ImportUser, LifelogQuery, LifelogRow,
    LifelogTail, ModelRow, NewDevice, NewOperator, NewPassword, NewRule, OperatorRow, RuleRow, Said, Secret,
    SessionRow, Status,
};
use crate::admin::{
    Alert, Claim, DeviceChange, FirmwareName, FirmwarePart, FirmwareRow, ImportBoard, NewFirmware, NewTalk, PendingRow,
    TalkLink, ToolCall, ToolRow,
};
use crate::admin::{
    BatchRow, DeviceState, NewOperation, OperationEnd, OperationQuery, OperationRow, Order, Runtime, Sample, Selection,
};
use crate::admin::{BindingQuery, BindingRow, BindingStep, NewBinding, Registered, TelemetryQuery, TelemetryRow};
use crate::admin::{CacheCleared, CacheName, CacheRow, CacheWarmed};
use crate::admin::{InboxName, InboxQuery, InboxRow};
use crate::admin::{NewTask, ProviderRow, Reloaded, TaskQuery, TaskRow, TaskStats};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::domain::{Arrivals, Clock, DeviceId};
use crate::door::credentials::Credentials;
use crate::door::enrolment::Enrolment;
use crate::door::firmware::Catalogue;
use crate::door::http::conversation::Conversations;
use crate::door::http::talk::Talk;
use crate::door::mqtt::DoorControl;
use crate::door::rights::Rights;
use crate::lifelog::Lifelog;
use crate::observe::{Health, Verdict};
use crate::router::{CommandError, Router};
use crate::store::Store;

mod access;
mod bindings;
mod boards;
mod browsers;
mod caches;
mod change;
mod inbox;
mod injected;
mod measured;
mod moved;
mod operations;
mod records;
pub(super) mod runtime;
mod services;
mod tasks;

pub use records::Offline;

/// The operations of a running gateway.
pub struct Operators {
    pub(super) config: Arc<Config>,
    pub(super) store: Arc<dyn Store>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) rights: Arc<Rights>,
    pub(super) enrolment: Arc<Enrolment>,
    pub(super) firmware: Arc<Catalogue>,
    pub(super) lifelog: Arc<Lifelog>,
    pub(super) operations: Arc<crate::operations::Operations>,
    pub(super) tasks: Arc<crate::tasks::Tasks>,
    pub(super) answers: Arc<Answers>,
    pub(super) pools: crate::provider::pool::Pools,
    pub(super) sessions: crate::session::Metrics,
    pub(super) started_at: crate::domain::Wall,
    pub(super) router: Router,
    pub(super) delivery: Arc<Delivery>,
    pub(super) door: DoorControl,
    pub(super) conversations: Conversations,
    pub(super) talk: Arc<Talk>,
    pub(super) health: Arc<dyn Health>,
    pub(super) caches: Arc<crate::cache::Caches>,
    pub(super) ahead: super::caches::Ahead,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) arrivals: Arrivals,
    pub(super) boot: u64,
    pub(super) started: Duration,
    pub(super) addrs: Addrs,
}

impl Operators {
    fn records(&self) -> records::Records<'_> {
        records::Records {
            store: &*self.store,
            credentials: &self.credentials,
            rights: &self.rights,
            lifelog: &self.lifelog,
        }
    }

    /// Ends a device's connections at both doors.
    fn end_device(&self, device: &DeviceId, why: &'static str) {
        self.door.end_device(device, why);
        self.conversations.end_device(device);
    }

    /// The gateway at a glance; what the retained status topic carries.
    pub fn glance(&self) -> Status {
        let sessions = self.router.sessions();
        let mqtt = self.addrs.mqtt_listeners.iter();
        let mut listeners: Vec<_> = mqtt.map(|(name, addr)| ((*name).to_owned(), addr.to_string())).collect();
        listeners.extend(self.addrs.devices.map(|addr| ("devices".to_owned(), addr.to_string())));
        listeners.extend(self.addrs.devices_also.iter().map(|addr| ("devices".to_owned(), addr.to_string())));
        listeners.extend(self.addrs.udp.map(|addr| ("udp".to_owned(), addr.to_string())));
        listeners.extend(self.addrs.http.map(|addr| ("http".to_owned(), addr.to_string())));
        listeners.push(("control".to_owned(), self.addrs.control.display().to_string()));
        Status {
            gateway: self.config.gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.boot,
            uptime_s: self.clock.mono().saturating_sub(self.started).as_secs(),
            devices: self.credentials.list_devices().len() as u64,
            online: self.delivery.connected() as u64,
            sessions: sessions.len() as u64,
            listeners,
            health: Verdict::of(self.health.report()),
        }
    }
}

fn command(error: &CommandError) -> AdminError {
    let kind = match error {
        CommandError::NotConnected(_) => AdminErrorKind::NotFound,
        CommandError::Busy(_) => AdminErrorKind::Internal,
    };
    AdminError::new(kind, error.to_string())
}

#[async_trait]
impl Admin for Operators {
    async fn device_add(&self, device: NewDevice) -> Result<Credential, AdminError> {
        let (id, replace) = (device.id.clone(), device.replace);
        let credential = self.records().device_add(device).await?;
        if replace {
            self.end_device(&id, "the device was made anew");
        }
        Ok(credential)
    }

    async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError> {
        let mut rows = self.records().device_list().await?;
        for row in &mut rows {
            row.online = Some(self.delivery.is_connected(&row.id));
        }
        Ok(rows)
    }

    async fn device_remove(&self, device: DeviceId) -> Result<(), AdminError> {
        self.records().device_remove(&device).await?;
        self.end_device(&device, "the device was removed");
        Ok(())
    }

    async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError> {
        let device = change.device.clone();
        self.records().device_set(change).await?;
        // a device without a session learns it when it has one
        let _ = self.router.settings_changed(&device);
        Ok(())
    }

    async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError> {
        let (device, rotated) = (new.device.clone(), new.force_rotate);
        let registered = self.records().device_register(new).await?;
        if rotated {
            self.end_device(&device, "the device has another token");
        }
        Ok(registered)
    }

    async fn device_step(&self, device: DeviceId, step: BindingStep) -> Result<BindingRow, AdminError> {
        let row = self.records().device_step(&device, step).await?;
        if row.status != crate::admin::BindingStatus::Activated {
            self.end_device(&device, "the device may not come in any more");
        }
        Ok(row)
    }

    async fn device_bindings(&self, query: BindingQuery) -> Result<Vec<BindingRow>, AdminError> {
        self.records().device_bindings(&query).await
    }

    async fn operator_signing_key(&self, name: String) -> Result<Secret, AdminError> {
        self.records().operator_signing_key(&name)
    }

    async fn device_state(&self, device: DeviceId) -> Result<DeviceState, AdminError> {
        runtime::device(self, &device).await
    }

    async fn device_event(&self, device: DeviceId, event: Map<String, Value>) -> Result<(), AdminError> {
        injected::take(self, device, &event).await
    }

    async fn operation_begin(&self, new: NewOperation) -> Result<OperationRow, AdminError> {
        let device = new.device.clone();
        let row = operations::begin(&*self.store, &self.operations, new).await?;
        self.router.outbox_changed(&device);
        Ok(operations::when_sent(self, row).await)
    }

    async fn operation_batch(&self, selection: Selection, order: Order) -> Result<Vec<BatchRow>, AdminError> {
        let rows = operations::batch(&*self.store, &self.operations, selection, order).await?;
        let taken = rows.iter().filter(|row| row.operation.is_some());
        for device in taken.filter_map(|row| DeviceId::parse(&row.device_id).ok()) {
            self.router.outbox_changed(&device);
        }
        Ok(rows)
    }

    async fn operation_end(&self, end: OperationEnd) -> Result<OperationRow, AdminError> {
        operations::end(&self.operations, end).await
    }

    async fn operation_list(&self, query: OperationQuery) -> Result<Vec<OperationRow>, AdminError> {
        operations::list(&self.operations, query).await
    }

    async fn task_begin(&self, new: NewTask) -> Result<TaskRow, AdminError> {
        tasks::begin(&*self.store, &self.tasks, new).await
    }

    async fn task_cancel(&self, id: String, reason: String) -> Result<TaskRow, AdminError> {
        tasks::cancel(&self.tasks, &id, &reason).await
    }

    async fn task_list(&self, query: TaskQuery) -> Result<Vec<TaskRow>, AdminError> {
        tasks::list(&self.tasks, query).await
    }

    async fn task_stats(&self, session: Option<String>) -> Result<TaskStats, AdminError> {
        tasks::stats(&self.tasks, session.as_deref()).await
    }

    async fn runtime(&self) -> Result<Runtime, AdminError> {
        runtime::all(self).await
    }

    async fn sample(&self) -> Result<Sample, AdminError> {
        Ok(runtime::sample(self))
    }

    async fn samples(&self, since: u64) -> Result<Vec<Sample>, AdminError> {
        runtime::samples(&*self.store, since).await
    }

    async fn device_pending(&self) -> Result<Vec<PendingRow>, AdminError> {
        Ok(boards::pending(&self.enrolment))
    }

    async fn device_claim(&self, claim: Claim) -> Result<DeviceId, AdminError> {
        let device = boards::claim(&self.enrolment, claim).await?;
        self.end_device(&device, "the device was claimed anew");
        Ok(device)
    }

    async fn device_talk(&self, new: NewTalk) -> Result<TalkLink, AdminError> {
        browsers::invite(self, new).await
    }

    async fn device_tools(&self, device: DeviceId) -> Result<Vec<ToolRow>, AdminError> {
        let tools = self.router.tools(&device).await.map_err(|error| boards::tool_error(&error))?;
        Ok(tools.iter().map(boards::tool_row).collect())
    }

    async fn device_call(&self, call: ToolCall) -> Result<String, AdminError> {
        let arguments = boards::arguments(&call)?;
        tracing::info!(device = %call.device, tool = call.tool, "an operator calls a tool of a device");
        let answer = self.router.call_tool(&call.device, call.tool, arguments).await;
        answer.map_err(|error| boards::tool_error(&error))
    }

    async fn device_alert(&self, alert: Alert) -> Result<(), AdminError> {
        let device = alert.device.clone();
        let message = boards::alert(alert)?;
        self.router.alert(&device, message).await.map_err(|error| command(&error))
    }

    async fn firmware_upload(&self, part: FirmwarePart) -> Result<(), AdminError> {
        boards::firmware_upload(&self.firmware, part).await
    }

    async fn firmware_add(&self, new: NewFirmware) -> Result<FirmwareRow, AdminError> {
        boards::firmware_add(&self.firmware, new).await
    }

    async fn firmware_list(&self) -> Result<Vec<FirmwareRow>, AdminError> {
        Ok(boards::firmware_list(&self.firmware))
    }

    async fn firmware_rollout(&self, name: FirmwareName, share: u32) -> Result<FirmwareRow, AdminError> {
        boards::firmware_rollout(&self.firmware, name, share).await
    }

    async fn firmware_remove(&self, name: FirmwareName) -> Result<(), AdminError> {
        boards::firmware_remove(&self.firmware, name).await
    }

    async fn operator_add(&self, operator: NewOperator) -> Result<Credential, AdminError> {
        self.records().operator_add(operator).await
    }

    async fn operator_list(&self) -> Result<Vec<OperatorRow>, AdminError> {
        self.records().operator_list().await
    }

    async fn operator_remove(&self, name: String) -> Result<(), AdminError> {
        self.records().operator_remove(&name).await?;
        self.door.end_operator(&name, "the operator was removed");
        Ok(())
    }

    async fn device_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        let name = new.name.clone();
        let credential = self.records().device_password(new).await?;
        if let Ok(device) = DeviceId::parse(&name) {
            self.end_device(&device, "the device has another password");
        }
        Ok(credential)
    }

    async fn operator_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        let name = new.name.clone();
        let credential = self.records().operator_password(new).await?;
        self.door.end_operator(&name, "the operator has another password");
        Ok(credential)
    }

    async fn rule_add(&self, rule: NewRule) -> Result<RuleRow, AdminError> {
        self.records().rule_add(&rule).await
    }

    async fn rule_list(&self) -> Result<Vec<RuleRow>, AdminError> {
        self.records().rule_list().await
    }

    async fn rule_remove(&self, id: String) -> Result<(), AdminError> {
        self.records().rule_remove(&id).await
    }

    async fn import_users(&self, users: Vec<ImportUser>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        self.records().import_users(users, dry).await
    }

    async fn import_rules(&self, rules: Vec<NewRule>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        self.records().import_rules(&rules, dry).await
    }

    async fn import_board(&self, board: ImportBoard, dry: bool) -> Result<ImportOutcome, AdminError> {
        self.records().import_board(board, dry).await
    }

    async fn session_list(&self) -> Result<Vec<SessionRow>, AdminError> {
        let row = |info: crate::session::Info| SessionRow {
            device: info.device,
            session: info.session,
            state: serde_json::to_value(info.state)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default(),
            opened: info.opened,
            last_seen: info.last_seen,
            turns: info.turns,
            connected: info.online,
        };
        Ok(self.router.sessions().into_iter().map(row).collect())
    }

    async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError> {
        self.records().lifelog_list(query).await
    }

    async fn lifelog_tail(&self, query: LifelogQuery) -> Result<LifelogTail, AdminError> {
        Ok(records::tail(Arc::clone(&self.lifelog), query))
    }

    async fn cache_stats(&self) -> Result<Vec<CacheRow>, AdminError> {
        Ok(caches::stats(&self.caches))
    }

    async fn cache_clear(&self, which: CacheName) -> Result<Vec<CacheCleared>, AdminError> {
        caches::clear(&self.caches, which).await
    }

    async fn cache_warm(&self) -> Result<CacheWarmed, AdminError> {
        caches::warm(&self.ahead).await
    }

    async fn inbox_list(&self, query: InboxQuery) -> Result<Vec<InboxRow>, AdminError> {
        inbox::list(&*self.store, query).await
    }

    async fn inbox_retry(&self, message: InboxName) -> Result<(), AdminError> {
        inbox::retry(&*self.store, &message, self.clock.wall()).await?;
        self.router.inbox_changed(&message.device);
        Ok(())
    }

    async fn inbox_drop(&self, message: InboxName) -> Result<(), AdminError> {
        inbox::forget(&*self.store, &message).await
    }

    async fn telemetry_samples(&self, query: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError> {
        measured::samples(&*self.store, query).await
    }

    async fn say(&self, device: DeviceId, text: String) -> Result<Said, AdminError> {
        if text.trim().is_empty() {
            return Err(AdminError::new(AdminErrorKind::Invalid, "there is nothing to say: give a text"));
        }
        self.router.say(&device, text).map_err(|e| command(&e))?;
        Ok(Said { now: true, detail: format!("{device} is saying it") })
    }

    async fn abort(&self, device: DeviceId) -> Result<bool, AdminError> {
        let speaking = self.router.sessions().iter().any(|info| {
            info.device == device
                && matches!(info.state, crate::session::State::Speaking | crate::session::State::Thinking)
        });
        self.router.hush(&device).map_err(|e| command(&e))?;
        Ok(speaking)
    }

    async fn config_reload(&self) -> Result<Reloaded, AdminError> {
        self.answers.reload().await
    }

    async fn status(&self) -> Result<Status, AdminError> {
        Ok(self.glance())
    }

    async fn providers(&self) -> Result<Vec<ProviderRow>, AdminError> {
        Ok(services::rows(&self.pools))
    }

    async fn models(&self) -> Result<Vec<ModelRow>, AdminError> {
        records::models(&self.config).await
    }
}

/// A credential as an operator gets it.
fn credential(user: &str, secret: Option<&crate::door::credentials::Secret>) -> Credential {
    Credential { user: user.to_owned(), secret: secret.map(|secret| Secret(secret.reveal().to_owned())) }
}
