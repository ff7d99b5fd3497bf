//! The operations that need no running gateway: they read and write records.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use serde_json::{Map, Value};

use super::access::password;
use super::change::check_language;
use super::credential;
use super::{boards, inbox, measured, operations, runtime, tasks};
use crate::admin::{
    Admin, AdminError, AdminErrorKind, Credential, DeviceRow, ImportOutcome, ImportUser, LifelogQuery, LifelogRow,
    LifelogTail, ModelRow, ModelState, NewDevice, NewOperator, NewPassword, NewRule, OperatorRow, Role, RuleRow, Said,
    SessionRow, Status,
};
use crate::admin::{
    Alert, Claim, DeviceChange, FirmwareName, FirmwarePart, FirmwareRow, ImportBoard, NewFirmware, NewTalk, PendingRow,
    TalkLink, ToolCall, ToolRow,
};
use crate::admin::{
    BatchRow, DeviceState, NewOperation, OperationEnd, OperationQuery, OperationRow, Order, Runtime, Sample, Selection,
};
use crate::admin::{
    BindingQuery, BindingRow, BindingStep, NewBinding, Registered, Secret, TelemetryQuery, TelemetryRow,
};
use crate::admin::{CacheCleared, CacheName, CacheRow, CacheWarmed};
use crate::admin::{InboxName, InboxQuery, InboxRow};
use crate::admin::{NewTask, ProviderRow, Reloaded, TaskQuery, TaskRow, TaskStats};
use crate::config::Config;
use crate::domain::{Clock, DeviceId, Wall};
use crate::door::credentials::{Credentials, CredentialsError, Dropped, Options, reset_key};
use crate::door::firmware::Catalogue;
use crate::door::rights::Rights;
use crate::lifelog::{Entry, Lifelog, Query, Tail};
use crate::operations::Operations;
use crate::policy::redact::redact;
use crate::store::records::{self, DeviceSettings, TtsMode, devices};
use crate::store::{SledStore, Store, StoreError};
use crate::tasks::Tasks;
use crate::topics;

/// Entries that one listing gives unless it is told how many.
const LISTED: usize = 50;
/// Most entries that one listing gives.
const MOST: usize = 10_000;
/// Most devices that one listing gives.
pub(super) const MOST_DEVICES: usize = 100_000;
/// How often a tail looks for new entries.
const TAIL_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Records<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) credentials: &'a Credentials,
    pub(super) rights: &'a Rights,
    pub(super) lifelog: &'a Lifelog,
}

impl Records<'_> {
    pub(super) async fn device_add(&self, new: NewDevice) -> Result<Credential, AdminError> {
        check_language(new.language.as_deref().unwrap_or_default())?;
        let put = self.credentials.put_device(&new.id, password(new.password), new.replace).await;
        let secret = put.map_err(|e| credentials_error(&e))?;
        let write = |settings: &mut DeviceSettings| {
            settings.audio_mode = new.mode;
            settings.tts_mode = if new.device_text { TtsMode::DeviceText } else { TtsMode::ServerAudio };
            if let Some(language) = new.language.filter(|language| !language.is_empty()) {
                settings.persona.language = Some(language);
            }
        };
        self.credentials.change_settings(&new.id, write).await.map_err(|e| credentials_error(&e))?;
        Ok(credential(new.id.as_str(), secret.as_ref()))
    }

    pub(super) async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError> {
        let devices = devices::list(self.store, MOST_DEVICES).await.map_err(|e| store_error(&e))?;
        let row = |device: records::Device| DeviceRow {
            id: device.id,
            created: device.created,
            dialect: device.settings.dialect,
            online: None,
            device_text: device.settings.tts_mode == TtsMode::DeviceText,
            name: device.settings.name,
            language: device.settings.persona.language,
            voice: device.settings.persona.voice,
            prompt: device.settings.persona.prompt.is_some(),
            room: device.settings.room,
            expected: device.expected,
        };
        Ok(devices.into_iter().map(row).collect())
    }

    pub(super) async fn device_remove(&self, device: &DeviceId) -> Result<(), AdminError> {
        if self.credentials.remove_device(device).await.map_err(|e| credentials_error(&e))? {
            Ok(())
        } else {
            Err(AdminError::new(AdminErrorKind::NotFound, format!("there is no device {device}")))
        }
    }

    pub(super) async fn operator_add(&self, new: NewOperator) -> Result<Credential, AdminError> {
        let put = self.credentials.put_operator(&new.name, topics_role(new.role), password(new.password)).await;
        let secret = put.map_err(|e| credentials_error(&e))?;
        Ok(credential(&new.name, secret.as_ref()))
    }

    pub(super) async fn operator_list(&self) -> Result<Vec<OperatorRow>, AdminError> {
        let operators = self.credentials.list_operators().await.map_err(|e| credentials_error(&e))?;
        let row = |(name, role, created): (String, topics::Role, Wall)| OperatorRow {
            name,
            role: match role {
                topics::Role::Viewer => Role::Viewer,
                topics::Role::Operator => Role::Operator,
                topics::Role::Admin => Role::Admin,
            },
            created,
        };
        Ok(operators.into_iter().map(row).collect())
    }

    pub(super) async fn operator_remove(&self, name: &str) -> Result<(), AdminError> {
        if self.credentials.remove_operator(name).await.map_err(|e| credentials_error(&e))? {
            Ok(())
        } else {
            Err(AdminError::new(AdminErrorKind::NotFound, format!("there is no operator {name}")))
        }
    }

    pub(super) async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError> {
        let limit = match query.limit {
            0 => LISTED,
            limit => limit.min(MOST),
        };
        let mut found: VecDeque<LifelogRow> = VecDeque::new();
        let mut ask = Query {
            device: query.device.clone(),
            from: query.since.unwrap_or(Wall(0)),
            to: query.until.unwrap_or(Wall(u64::MAX)),
            before: None,
            limit: limit.max(LISTED),
        };
        while found.len() < limit {
            let page = self.lifelog.query(&ask).await.map_err(|e| store_error(&e))?;
            for entry in page.entries {
                if found.len() < limit && is_of_kind(&entry, &query) {
                    found.push_front(row(entry));
                }
            }
            match page.next {
                Some(next) => ask.before = Some(next),
                None => break,
            }
        }
        Ok(found.into())
    }
}

/// Entries as they are written.
pub(super) fn tail(lifelog: Arc<Lifelog>, query: LifelogQuery) -> LifelogTail {
    let begin = stream::once(async move {
        let tail = Tail::now(&lifelog).await.map_err(|e| store_error(&e))?;
        Ok((lifelog, tail, query))
    });
    let follow = begin.flat_map(|begun: Result<_, AdminError>| match begun {
        Ok((lifelog, tail, query)) => stream::unfold(Some((lifelog, tail, query)), poll).flat_map(stream::iter).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    follow.boxed()
}

type Follow = (Arc<Lifelog>, Tail, LifelogQuery);

async fn poll(state: Option<Follow>) -> Option<(Vec<Result<LifelogRow, AdminError>>, Option<Follow>)> {
    let (lifelog, mut tail, query) = state?;
    tokio::time::sleep(TAIL_EVERY).await;
    match tail.poll(&lifelog).await {
        Ok(entries) => {
            let wanted = |entry: &Entry| {
                is_of_kind(entry, &query) && query.device.as_ref().is_none_or(|device| *device == entry.device)
            };
            let rows = entries.into_iter().filter(wanted).map(|entry| Ok(row(entry))).collect();
            Some((rows, Some((lifelog, tail, query))))
        }
        Err(error) => Some((vec![Err(store_error(&error))], None)),
    }
}

fn is_of_kind(entry: &Entry, query: &LifelogQuery) -> bool {
    query.kind.as_deref().is_none_or(|kind| entry.kind.name() == kind)
}

fn row(mut entry: Entry) -> LifelogRow {
    // devices and tools write what they like
    redact(&mut entry.body);
    LifelogRow {
        at: entry.at,
        device: Some(entry.device),
        session: entry.session,
        kind: entry.kind.name().to_owned(),
        detail: entry.body,
    }
}

/// The models that the engines need.
pub(super) async fn models(config: &Config) -> Result<Vec<ModelRow>, AdminError> {
    let (settings, data) = (config.models.clone(), config.gateway.data_dir.clone());
    let read = move || crate::models::Models::open(&settings, &data).map(|models| models.status());
    let rows = tokio::task::spawn_blocking(read)
        .await
        .map_err(|e| AdminError::new(AdminErrorKind::Internal, e.to_string()))?;
    let rows = rows.map_err(|error| AdminError::new(AdminErrorKind::Internal, error.to_string()))?;
    let state = |state| match state {
        crate::models::State::Ready | crate::models::State::Outdated => ModelState::Ready,
        crate::models::State::Missing => ModelState::Missing,
        crate::models::State::Damaged { .. } => ModelState::Damaged,
    };
    let row = |model: crate::models::ModelStatus| ModelRow {
        bytes: if model.usable() { model.size } else { model.download },
        name: model.name,
        part: model.purpose.name().to_owned(),
        state: state(model.state),
        licence: model.licence,
    };
    Ok(rows.into_iter().map(row).collect())
}

pub(super) fn topics_role(role: Role) -> topics::Role {
    match role {
        Role::Viewer => topics::Role::Viewer,
        Role::Operator => topics::Role::Operator,
        Role::Admin => topics::Role::Admin,
    }
}

pub(super) fn store_error(error: &StoreError) -> AdminError {
    AdminError::new(AdminErrorKind::Store, error.to_string())
}

pub(super) fn credentials_error(error: &CredentialsError) -> AdminError {
    let kind = match error {
        CredentialsError::Exists(_) => AdminErrorKind::Exists,
        CredentialsError::Step(_) => AdminErrorKind::Conflict,
        CredentialsError::Text(_)
        | CredentialsError::Name(_)
        | CredentialsError::Short(_)
        | CredentialsError::Foreign => AdminErrorKind::Invalid,
        CredentialsError::Unknown(_) | CredentialsError::NotRegistered => AdminErrorKind::NotFound,
        CredentialsError::Store(_) => AdminErrorKind::Store,
        _ => AdminErrorKind::Internal,
    };
    AdminError::new(kind, error.to_string())
}

/// The operations on the store of a gateway that does not run.
pub struct Offline {
    config: Config,
    store: Arc<SledStore>,
    credentials: Arc<Credentials>,
    rights: Arc<Rights>,
    firmware: Arc<Catalogue>,
    operations: Arc<Operations>,
    tasks: Arc<Tasks>,
    lifelog: Arc<Lifelog>,
    clock: Arc<dyn Clock>,
}

impl Offline {
    /// Opens the store; a running gateway holds it, and then this fails and says so.
    pub async fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self, crate::app::StartError> {
        let data = config.gateway.data_dir.clone();
        std::fs::create_dir_all(&data).map_err(|error| crate::app::StartError::DataDir(data.clone(), error))?;
        let mut registry = crate::observe::registry();
        let opened =
            crate::app::start::open_store(&config, &clock, crate::store::Metrics::register(&mut registry)).await?;
        let shared = Arc::clone(&opened.store) as Arc<dyn Store>;
        let numbers = Arc::new(records::Numbers::new(opened.report.boot));
        let metrics = crate::lifelog::Metrics::register(&mut registry);
        let lifelog = crate::app::start::open_lifelog(&config, &shared, &clock, &numbers, &metrics)?;
        // what is there can be read without the key, and chosen passwords can be given
        let options = Options { without_key: true, ..Options::default() };
        let operations = Operations::open(
            config.operations.clone(),
            Arc::clone(&shared),
            Arc::clone(&numbers),
            Arc::clone(&clock),
            Arc::new(rand::random::<u128>),
            crate::operations::Metrics::default(),
        );
        let operations = operations.await?;
        let tasks = Tasks::open(crate::tasks::Parts {
            settings: config.tasks.clone(),
            store: Arc::clone(&shared),
            numbers,
            clock: Arc::clone(&clock),
            random: Arc::new(rand::random::<u128>),
            words: Arc::new(crate::tasks::Words::builtin()?),
            metrics: crate::tasks::Metrics::default(),
        });
        let tasks = tasks.await?;
        let firmware = &config.devices.firmware;
        let firmware = Catalogue::open(Arc::clone(&shared), &data, Arc::clone(&clock), firmware).await?;
        let credentials = Credentials::open_with(Arc::clone(&shared), &data, Arc::clone(&clock), options).await?;
        let table = Arc::new(topics::Table::builtin(&config.gateway.name)?);
        let rights = Rights::open(table, config.mqtt.rules.clone(), shared).await?;
        Ok(Self { config, store: opened.store, credentials, rights, firmware, operations, tasks, lifelog, clock })
    }

    /// Makes a new key of the credentials without the secrets that were made with the old one.
    pub async fn reset_key(&self, force: bool) -> Result<Dropped, AdminError> {
        reset_key(&*self.store, &self.config.gateway.data_dir, force).await.map_err(|e| credentials_error(&e))
    }

    /// Writes what is open. Without it a change may wait for the next start to reach the tree; it is not lost.
    pub async fn close(&self) {
        self.store.close().await;
    }

    fn records(&self) -> Records<'_> {
        Records { store: &*self.store, credentials: &self.credentials, rights: &self.rights, lifelog: &self.lifelog }
    }
}

fn not_running() -> AdminError {
    let text = "the gateway is not running: start it with systemctl start voxgate, or voxgate serve";
    AdminError::new(AdminErrorKind::NotRunning, text)
}

#[async_trait]
impl Admin for Offline {
    async fn device_add(&self, device: NewDevice) -> Result<Credential, AdminError> {
        self.records().device_add(device).await
    }

    async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError> {
        self.records().device_list().await
    }

    async fn device_remove(&self, device: DeviceId) -> Result<(), AdminError> {
        self.records().device_remove(&device).await
    }

    async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError> {
        self.records().device_set(change).await
    }

    async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError> {
        self.records().device_register(new).await
    }

    async fn device_step(&self, device: DeviceId, step: BindingStep) -> Result<BindingRow, AdminError> {
        self.records().device_step(&device, step).await
    }

    async fn device_bindings(&self, query: BindingQuery) -> Result<Vec<BindingRow>, AdminError> {
        self.records().device_bindings(&query).await
    }

    async fn operator_signing_key(&self, name: String) -> Result<Secret, AdminError> {
        self.records().operator_signing_key(&name)
    }

    async fn device_state(&self, _: DeviceId) -> Result<DeviceState, AdminError> {
        Err(not_running())
    }

    async fn device_event(&self, _: DeviceId, _: Map<String, Value>) -> Result<(), AdminError> {
        Err(not_running())
    }

    async fn operation_begin(&self, new: NewOperation) -> Result<OperationRow, AdminError> {
        operations::begin(&*self.store, &self.operations, new).await
    }

    async fn operation_batch(&self, selection: Selection, order: Order) -> Result<Vec<BatchRow>, AdminError> {
        operations::batch(&*self.store, &self.operations, selection, order).await
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
        Err(not_running())
    }

    async fn sample(&self) -> Result<Sample, AdminError> {
        Err(not_running())
    }

    async fn samples(&self, since: u64) -> Result<Vec<Sample>, AdminError> {
        runtime::samples(&*self.store, since).await
    }

    async fn device_pending(&self) -> Result<Vec<PendingRow>, AdminError> {
        Err(not_running())
    }

    async fn device_claim(&self, _: Claim) -> Result<DeviceId, AdminError> {
        Err(not_running())
    }

    async fn device_talk(&self, _: NewTalk) -> Result<TalkLink, AdminError> {
        Err(not_running())
    }

    async fn device_tools(&self, _: DeviceId) -> Result<Vec<ToolRow>, AdminError> {
        Err(not_running())
    }

    async fn device_call(&self, _: ToolCall) -> Result<String, AdminError> {
        Err(not_running())
    }

    async fn device_alert(&self, _: Alert) -> Result<(), AdminError> {
        Err(not_running())
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
        self.records().operator_remove(&name).await
    }

    async fn device_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        self.records().device_password(new).await
    }

    async fn operator_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        self.records().operator_password(new).await
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
        Err(not_running())
    }

    async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError> {
        self.records().lifelog_list(query).await
    }

    async fn lifelog_tail(&self, _: LifelogQuery) -> Result<LifelogTail, AdminError> {
        Err(not_running())
    }

    async fn cache_stats(&self) -> Result<Vec<CacheRow>, AdminError> {
        Err(not_running())
    }

    async fn cache_clear(&self, _: CacheName) -> Result<Vec<CacheCleared>, AdminError> {
        Err(not_running())
    }

    async fn cache_warm(&self) -> Result<CacheWarmed, AdminError> {
        Err(not_running())
    }

    async fn inbox_list(&self, query: InboxQuery) -> Result<Vec<InboxRow>, AdminError> {
        inbox::list(&*self.store, query).await
    }

    async fn inbox_retry(&self, message: InboxName) -> Result<(), AdminError> {
        inbox::retry(&*self.store, &message, self.clock.wall()).await
    }

    async fn inbox_drop(&self, message: InboxName) -> Result<(), AdminError> {
        inbox::forget(&*self.store, &message).await
    }

    async fn telemetry_samples(&self, query: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError> {
        measured::samples(&*self.store, query).await
    }

    async fn say(&self, _: DeviceId, _: String) -> Result<Said, AdminError> {
        Err(not_running())
    }

    async fn abort(&self, _: DeviceId) -> Result<bool, AdminError> {
        Err(not_running())
    }

    async fn config_reload(&self) -> Result<Reloaded, AdminError> {
        Err(not_running())
    }

    async fn status(&self) -> Result<Status, AdminError> {
        Err(not_running())
    }

    async fn providers(&self) -> Result<Vec<ProviderRow>, AdminError> {
        Err(not_running())
    }

    async fn models(&self) -> Result<Vec<ModelRow>, AdminError> {
        models(&self.config).await
    }
}
