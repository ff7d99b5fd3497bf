//! An [`Admin`] for tests of the socket and of the command line: devices in memory, the rest fixed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::domain::{DeviceId, Wall};
use crate::observe::{Component, Verdict};

use super::{
    Admin, AdminError, AdminErrorKind, Credential, DeviceRow, ImportOutcome, ImportUser, LifelogQuery, LifelogRow,
    LifelogTail, ModelRow, NewDevice, NewOperator, NewPassword, NewRule, OperatorRow, RuleRow, Said, Secret,
    SessionRow, Status,
};
use super::{
    Alert, Claim, DeviceChange, FirmwareName, FirmwarePart, FirmwareRow, ImportBoard, NewFirmware, NewTalk, PendingRow,
    TalkLink, ToolCall, ToolRow,
};
use super::{
    BatchRow, DeviceState, NewOperation, OperationEnd, OperationQuery, OperationRow, Order, Runtime, Sample, Selection,
};
use super::{BindingQuery, BindingRow, BindingStatus, BindingStep, NewBinding, Registered};
use super::{CacheCleared, CacheName, CacheRow, CacheWarmed};
use super::{InboxName, InboxQuery, InboxRow};
use super::{NewTask, Reloaded, TaskQuery, TaskRow, TaskStats};
use super::{ProviderRow, ProviderState, WeightTerms};
use super::{TelemetryQuery, TelemetryRow};

/// Keeps devices in memory; tails what the test sends.
#[derive(Default)]
pub(crate) struct InMemory {
    /// The devices, with how they were asked for.
    pub devices: Mutex<Vec<NewDevice>>,
    /// What the one tail gives.
    pub tail: Mutex<Option<mpsc::Receiver<Result<LifelogRow, AdminError>>>>,
    /// What was to be changed.
    pub changed: Mutex<Vec<DeviceChange>>,
    /// How far devices have come.
    pub bound: Mutex<Vec<BindingRow>>,
    /// What was uploaded.
    pub uploaded: Mutex<Vec<u8>>,
}

/// A row of the one firmware there is.
fn firmware(name: FirmwareName, share: u32, size: usize) -> FirmwareRow {
    FirmwareRow {
        board: name.board,
        version: name.version,
        share,
        size: size as u64,
        sha256: "00".repeat(32),
        added: Wall(1_700_000_000_000),
    }
}

fn not_here<T>() -> Result<T, AdminError> {
    Err(AdminError::new(AdminErrorKind::NotRunning, "not here"))
}

#[async_trait]
impl Admin for InMemory {
    async fn device_add(&self, device: NewDevice) -> Result<Credential, AdminError> {
        let mut devices = self.devices.lock().unwrap();
        if devices.iter().any(|known| known.id == device.id) {
            return Err(AdminError::new(AdminErrorKind::Exists, format!("device {} exists", device.id)));
        }
        let secret = device.password.is_none().then(|| Secret("hush".into()));
        let user = device.id.to_string();
        devices.push(device);
        Ok(Credential { user, secret })
    }

    async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError> {
        let row = |device: &NewDevice| DeviceRow {
            id: device.id.clone(),
            created: Wall(1_700_000_000_000),
            dialect: None,
            online: Some(false),
            device_text: device.device_text,
            name: None,
            language: device.language.clone(),
            voice: None,
            prompt: false,
            room: None,
            expected: None,
        };
        Ok(self.devices.lock().unwrap().iter().map(row).collect())
    }

    async fn device_remove(&self, device: DeviceId) -> Result<(), AdminError> {
        self.devices.lock().unwrap().retain(|known| known.id != device);
        Ok(())
    }

    async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError> {
        let known = self.devices.lock().unwrap().iter().any(|known| known.id == change.device);
        self.changed.lock().unwrap().push(change);
        known.then_some(()).ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "there is no such device"))
    }

    async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError> {
        let row = BindingRow {
            device_id: new.device.to_string(),
            status: BindingStatus::Registered,
            user_id: String::new(),
            created_at_ms: 1_700_000_000_000,
            updated_at_ms: 1_700_000_000_000,
            activated_at_ms: 0,
            revoked_at_ms: 0,
            revoke_reason: String::new(),
            metadata: new.metadata.unwrap_or_default(),
        };
        self.bound.lock().unwrap().push(row.clone());
        Ok(Registered { device: row, token: new.token.is_none().then(|| Secret("hush".into())) })
    }

    async fn device_step(&self, device: DeviceId, step: BindingStep) -> Result<BindingRow, AdminError> {
        let mut bound = self.bound.lock().unwrap();
        let row = bound.iter_mut().find(|row| row.device_id == device.as_str());
        let row = row.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "device is not registered"))?;
        match step {
            BindingStep::Bind { user, .. } => (row.status, row.user_id) = (BindingStatus::Bound, user),
            BindingStep::Activate { .. } => row.status = BindingStatus::Activated,
            BindingStep::Revoke { reason } => (row.status, row.revoke_reason) = (BindingStatus::Revoked, reason),
        }
        Ok(row.clone())
    }

    async fn device_bindings(&self, _: BindingQuery) -> Result<Vec<BindingRow>, AdminError> {
        Ok(self.bound.lock().unwrap().clone())
    }

    async fn operator_signing_key(&self, _: String) -> Result<Secret, AdminError> {
        not_here()
    }

    async fn device_state(&self, _: DeviceId) -> Result<DeviceState, AdminError> {
        not_here()
    }

    async fn device_event(&self, _: DeviceId, _: Map<String, Value>) -> Result<(), AdminError> {
        not_here()
    }

    async fn operation_begin(&self, _: NewOperation) -> Result<OperationRow, AdminError> {
        not_here()
    }

    async fn operation_end(&self, _: OperationEnd) -> Result<OperationRow, AdminError> {
        not_here()
    }

    async fn operation_list(&self, _: OperationQuery) -> Result<Vec<OperationRow>, AdminError> {
        not_here()
    }

    async fn task_begin(&self, _: NewTask) -> Result<TaskRow, AdminError> {
        not_here()
    }

    async fn task_cancel(&self, _: String, _: String) -> Result<TaskRow, AdminError> {
        not_here()
    }

    async fn task_list(&self, _: TaskQuery) -> Result<Vec<TaskRow>, AdminError> {
        not_here()
    }

    async fn task_stats(&self, _: Option<String>) -> Result<TaskStats, AdminError> {
        not_here()
    }

    async fn runtime(&self) -> Result<Runtime, AdminError> {
        not_here()
    }

    async fn sample(&self) -> Result<Sample, AdminError> {
        not_here()
    }

    async fn samples(&self, _: u64) -> Result<Vec<Sample>, AdminError> {
        not_here()
    }

    async fn operation_batch(&self, _: Selection, _: Order) -> Result<Vec<BatchRow>, AdminError> {
        not_here()
    }

    async fn device_pending(&self) -> Result<Vec<PendingRow>, AdminError> {
        Ok(vec![PendingRow {
            id: DeviceId::parse("f4:12:fa:00:00:01").unwrap(),
            code: "123456".into(),
            reason: "new".into(),
            address: "192.168.7.20".into(),
            board: "bread-compact-wifi".into(),
            since: Wall(1_700_000_000_000),
        }])
    }

    async fn device_claim(&self, claim: Claim) -> Result<DeviceId, AdminError> {
        let right = (claim.code == "123456").then(|| DeviceId::parse("f4:12:fa:00:00:01").unwrap());
        right.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "no board waits with that code"))
    }

    async fn device_talk(&self, new: NewTalk) -> Result<TalkLink, AdminError> {
        let made = !self.devices.lock().unwrap().iter().any(|known| known.id == new.device);
        let minutes = new.time.map_or(10, |time| time.0.as_secs() / 60);
        Ok(TalkLink {
            device: new.device,
            url: Secret("http://localhost:8003/talk#hush".into()),
            until: Wall(1_700_000_000_000 + minutes * 60_000),
            made,
        })
    }

    async fn device_tools(&self, _: DeviceId) -> Result<Vec<ToolRow>, AdminError> {
        let name = "self.audio_speaker.set_volume".to_owned();
        Ok(vec![ToolRow { name, description: "Sets the volume".into(), parameters: "{}".into(), user_only: false }])
    }

    async fn device_call(&self, call: ToolCall) -> Result<String, AdminError> {
        Ok(format!("{} {}", call.tool, call.arguments))
    }

    async fn device_alert(&self, alert: Alert) -> Result<(), AdminError> {
        let there = alert.device.as_str() == "cane-1";
        there.then_some(()).ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "it is not connected"))
    }

    async fn firmware_upload(&self, part: FirmwarePart) -> Result<(), AdminError> {
        use base64::Engine;
        let mut uploaded = self.uploaded.lock().unwrap();
        assert_eq!(uploaded.len() as u64, part.offset);
        uploaded.extend(base64::engine::general_purpose::STANDARD.decode(part.data).unwrap());
        Ok(())
    }

    async fn firmware_add(&self, new: NewFirmware) -> Result<FirmwareRow, AdminError> {
        let name = FirmwareName { board: new.board, version: new.version.unwrap_or_else(|| "2.4.2".into()) };
        Ok(firmware(name, new.share, self.uploaded.lock().unwrap().len()))
    }

    async fn firmware_list(&self) -> Result<Vec<FirmwareRow>, AdminError> {
        let name = FirmwareName { board: "bread-compact-wifi".into(), version: "2.4.2".into() };
        Ok(vec![firmware(name, 0, 7)])
    }

    async fn firmware_rollout(&self, name: FirmwareName, share: u32) -> Result<FirmwareRow, AdminError> {
        Ok(firmware(name, share, 7))
    }

    async fn firmware_remove(&self, _: FirmwareName) -> Result<(), AdminError> {
        Ok(())
    }

    async fn operator_add(&self, _: NewOperator) -> Result<Credential, AdminError> {
        not_here()
    }

    async fn operator_list(&self) -> Result<Vec<OperatorRow>, AdminError> {
        not_here()
    }

    async fn operator_remove(&self, _: String) -> Result<(), AdminError> {
        not_here()
    }

    async fn device_password(&self, _: NewPassword) -> Result<Credential, AdminError> {
        not_here()
    }

    async fn operator_password(&self, _: NewPassword) -> Result<Credential, AdminError> {
        not_here()
    }

    async fn rule_add(&self, _: NewRule) -> Result<RuleRow, AdminError> {
        not_here()
    }

    async fn rule_list(&self) -> Result<Vec<RuleRow>, AdminError> {
        not_here()
    }

    async fn rule_remove(&self, _: String) -> Result<(), AdminError> {
        not_here()
    }

    async fn import_users(&self, _: Vec<ImportUser>, _: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        not_here()
    }

    async fn import_rules(&self, _: Vec<NewRule>, _: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        not_here()
    }

    async fn import_board(&self, board: ImportBoard, dry: bool) -> Result<ImportOutcome, AdminError> {
        let id = DeviceId::parse(&board.mac).map_err(|e| AdminError::new(AdminErrorKind::Invalid, e.to_string()))?;
        let mut devices = self.devices.lock().unwrap();
        if devices.iter().any(|known| known.id == id) {
            return Ok(ImportOutcome::There);
        }
        if !dry {
            devices.push(NewDevice::anew(id, crate::domain::ListenMode::Auto));
        }
        Ok(ImportOutcome::Added)
    }

    async fn session_list(&self) -> Result<Vec<SessionRow>, AdminError> {
        not_here()
    }

    async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError> {
        let turn = json!({"transcript": "what time is it", "reply": "It is noon.", "outcome": "done", "turn": 1});
        let since = query.since.unwrap_or_default();
        Ok(vec![
            LifelogRow { at: since, device: query.device, session: None, kind: "turn".into(), detail: turn },
            LifelogRow {
                at: Wall(1_700_000_000_000),
                device: None,
                session: None,
                kind: "alert".into(),
                detail: json!({"level": "warning", "limit": query.limit}),
            },
        ])
    }

    async fn lifelog_tail(&self, _: LifelogQuery) -> Result<LifelogTail, AdminError> {
        let tail = self.tail.lock().unwrap().take();
        tail.map(|rows| ReceiverStream::new(rows).boxed())
            .ok_or_else(|| AdminError::new(AdminErrorKind::Internal, "one tail only"))
    }

    async fn cache_stats(&self) -> Result<Vec<CacheRow>, AdminError> {
        let row = |cache: &str, entries, hits, misses| CacheRow {
            cache: cache.into(),
            on: true,
            entries,
            bytes: entries * 1_500,
            hits,
            misses,
            note: String::new(),
        };
        Ok(vec![row("chat", 2, 0, 0), row("speech", 10, 3, 1)])
    }

    async fn cache_clear(&self, which: CacheName) -> Result<Vec<CacheCleared>, AdminError> {
        match which {
            CacheName::Speech => Ok(vec![CacheCleared { cache: "speech".into(), entries: 10 }]),
            _ => not_here(),
        }
    }

    async fn cache_warm(&self) -> Result<CacheWarmed, AdminError> {
        Ok(CacheWarmed { made: 1, there: 2, failed: 0 })
    }

    async fn inbox_list(&self, _: InboxQuery) -> Result<Vec<InboxRow>, AdminError> {
        not_here()
    }

    async fn inbox_retry(&self, _: InboxName) -> Result<(), AdminError> {
        not_here()
    }

    async fn inbox_drop(&self, _: InboxName) -> Result<(), AdminError> {
        not_here()
    }

    async fn telemetry_samples(&self, _: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError> {
        not_here()
    }

    async fn say(&self, _: DeviceId, _: String) -> Result<Said, AdminError> {
        not_here()
    }

    async fn abort(&self, _: DeviceId) -> Result<bool, AdminError> {
        Ok(false)
    }

    async fn config_reload(&self) -> Result<Reloaded, AdminError> {
        Ok(Reloaded { renewed: vec!["providers.chat.model".into()], restart: vec!["mqtt.listen".into()] })
    }

    async fn status(&self) -> Result<Status, AdminError> {
        Ok(Status {
            gateway: "kitchen".into(),
            version: "0.0.0".into(),
            boot: 7,
            uptime_s: 3_700,
            devices: 2,
            online: 1,
            sessions: 1,
            listeners: vec![("mqtt".into(), "0.0.0.0:1883".into())],
            health: Verdict::of(vec![
                Component::ready("mqtt", "listens"),
                Component::missing("speak", "no voice is installed", "voxgate models pull"),
            ]),
        })
    }

    async fn providers(&self) -> Result<Vec<ProviderRow>, AdminError> {
        let first = ProviderRow {
            capability: "chat".into(),
            route: 0,
            kind: "local".into(),
            state: ProviderState::Asked,
            left_alone_ms: 0,
            weight: Some(80),
            present_weight: 72.04,
            why: WeightTerms { latency: 0.75, errors: 1.0, load: 0.6, cost: 2.0 },
            cost: 0.0,
            suits: "all".into(),
            in_flight: 2,
            queued: 3,
            at_once: Some(2),
            p50_ms: Some(600),
            p95_ms: Some(1_100),
            asked: 120,
            failed: 0,
        };
        let second = ProviderRow {
            route: 1,
            kind: "openai".into(),
            state: ProviderState::LeftAlone,
            left_alone_ms: 61_001,
            weight: None,
            present_weight: 1.0,
            why: WeightTerms { latency: 1.0, errors: 1.0, load: 1.0, cost: 1.0 },
            in_flight: 0,
            queued: 0,
            at_once: None,
            p50_ms: None,
            p95_ms: None,
            asked: 5,
            failed: 5,
            ..first.clone()
        };
        Ok(vec![first, second])
    }

    async fn models(&self) -> Result<Vec<ModelRow>, AdminError> {
        Ok(Vec::new())
    }
}
