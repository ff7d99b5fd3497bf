//! How devices and the gateway are, now and before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::records::{MOST_DEVICES, store_error};
use super::{Operators, bindings};
use crate::admin::{Admin, AdminError, AdminErrorKind, Counted, DeviceState, Runtime, Sample};
use crate::domain::DeviceId;
use crate::session::Info;
use crate::store::records::{Device, Status, devices, sessions};
use crate::store::{Batch, Key, Range, Space, Store, StoreError};

/// Samples that are read at once.
const PAGE: usize = 1_000;

/// One device; one that is not known is not found.
pub(super) async fn device(operators: &Operators, id: &DeviceId) -> Result<DeviceState, AdminError> {
    let record = devices::get(&*operators.store, id).await.map_err(|e| store_error(&e))?;
    let record = record.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "device not found"))?;
    let live = operators.router.sessions().into_iter().find(|info| info.device == *id);
    let last = sessions::get(&*operators.store, id).await.map_err(|e| store_error(&e))?;
    let mut state = state(operators, &record, live.as_ref());
    if let Some(last) = last.filter(|_| live.is_none()) {
        (state.session_id, state.created_at_ms, state.turns) = (last.session.to_string(), last.opened.0, last.turns);
    }
    Ok(state)
}

fn state(operators: &Operators, record: &Device, live: Option<&Info>) -> DeviceState {
    let word = |info: &Info| serde_json::to_value(info.state).ok().and_then(|word| word.as_str().map(str::to_owned));
    let row = bindings::row(record);
    DeviceState {
        device_id: row.device_id,
        session_id: live.map(|info| info.session.to_string()).unwrap_or_default(),
        state: live.and_then(word).unwrap_or_else(|| "closed".to_owned()),
        online: operators.delivery.is_connected(&record.id),
        status: row.status,
        user_id: row.user_id,
        created_at_ms: live.map_or(0, |info| info.opened.0),
        last_seen_ms: live.map_or(0, |info| info.last_seen.0),
        turns: live.map_or(0, |info| info.turns),
    }
}

/// The gateway with all its devices.
pub(super) async fn all(operators: &Operators) -> Result<Runtime, AdminError> {
    let known = devices::list(&*operators.store, MOST_DEVICES).await.map_err(|e| store_error(&e))?;
    let live: HashMap<DeviceId, Info> =
        operators.router.sessions().into_iter().map(|info| (info.device.clone(), info)).collect();
    let counted = operators.sessions.counted();
    let (under_way, queued) = operators.operations.count();
    let (tasks, running) = operators.tasks.count();
    let glance = operators.glance();
    let doors = operators.addrs.mqtt_listeners.iter().map(|(name, address)| format!("{name} {address}"));
    let word = serde_json::to_value(glance.health.status).ok().and_then(|word| word.as_str().map(str::to_owned));
    Ok(Runtime {
        adapter: "voxgate".to_owned(),
        transport: doors.collect::<Vec<_>>().join(", "),
        running: true,
        health: word.unwrap_or_default(),
        version: glance.version,
        metrics: Counted {
            started_at_ms: operators.started_at.0,
            events_total: counted.control.iter().map(|(_, count)| count).sum(),
            events_by_type: counted.control.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            duplicate_events_total: counted.duplicates,
            voice_turn_total: counted.turns,
            voice_turn_failed: counted.failed_turns,
            failed_commits_total: counted.failed_commits,
        },
        operations_under_way: under_way as u64,
        operations_queued: queued as u64,
        tasks_pending: tasks.saturating_sub(running) as u64,
        tasks_running: running as u64,
        devices: known
            .iter()
            .filter(|record| record.standing().status != Status::Revoked)
            .map(|record| state(operators, record, live.get(&record.id)))
            .collect(),
    })
}

/// The gateway now, in numbers.
pub(super) fn sample(operators: &Operators) -> Sample {
    let counted = operators.sessions.counted();
    let (under_way, queued) = operators.operations.count();
    let (tasks, running) = operators.tasks.count();
    let (tasks_done, tasks_failed) = operators.tasks.ended();
    // devices, not sessions: one that came back nine times is one
    let devices = operators.credentials.list_devices();
    let offline = devices.iter().filter(|device| !operators.delivery.is_connected(device)).count();
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let (total, offline) = (devices.len() as u64, offline as u64);
    Sample {
        ts: operators.clock.wall().0,
        devices_total: total,
        devices_offline: offline,
        device_offline_rate: share(offline, total),
        sessions: operators.router.sessions().len() as u64,
        voice_turn_total: counted.turns,
        voice_turn_failed: counted.failed_turns,
        voice_turn_failure_rate: share(counted.failed_turns, counted.turns),
        operations_under_way: under_way as u64,
        operations_queued: queued as u64,
        tasks_pending: tasks.saturating_sub(running) as u64,
        tasks_running: running as u64,
        tasks_done_total: tasks_done,
        tasks_failed_total: tasks_failed,
        task_failure_rate: share(tasks_failed, tasks_done + tasks_failed),
        failed_commits_total: counted.failed_commits,
    }
}

fn space() -> Key {
    Key::new(Space::Sample)
}

/// What was noted since then, oldest first.
pub(super) async fn samples(store: &dyn Store, since: u64) -> Result<Vec<Sample>, AdminError> {
    let mut found = Vec::new();
    let mut from = space().u64(since);
    loop {
        let range = Range { from, to: space().after_prefix(), limit: PAGE, backwards: false };
        let page = store.scan(range).await.map_err(|e| store_error(&e))?;
        found.extend(page.records.iter().filter_map(|(_, payload)| serde_json::from_slice(payload).ok()));
        match page.records.last() {
            Some((last, _)) if page.records.len() == PAGE => from = last.clone().byte(0),
            _ => return Ok(found),
        }
    }
}

/// Notes how the gateway is, every so often, and keeps so many notes, until `stop`.
pub(in crate::app) async fn note(operators: Arc<Operators>, every: Duration, keep: usize, stop: CancellationToken) {
    let mut keys = match samples(&*operators.store, 0).await {
        Ok(samples) => samples.iter().map(|sample| sample.ts).collect::<VecDeque<u64>>(),
        Err(error) => {
            tracing::error!(%error, "what was noted of the gateway before cannot be read: its history stands still");
            return;
        }
    };
    let mut every = tokio::time::interval(every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let Ok(sample) = operators.sample().await else { continue };
        // without a clock it belongs nowhere
        if sample.ts > 0
            && let Err(error) = write(&*operators.store, &sample, &mut keys, keep).await
        {
            tracing::warn!(%error, "how the gateway is was not noted");
        }
    }
}

async fn write(store: &dyn Store, sample: &Sample, keys: &mut VecDeque<u64>, keep: usize) -> Result<(), StoreError> {
    let text = serde_json::to_vec(sample).map_err(|error| StoreError::Write(error.to_string()))?;
    let mut batch = Batch::new();
    batch.put(space().u64(sample.ts), text);
    if keys.back() != Some(&sample.ts) {
        keys.push_back(sample.ts);
    }
    while keys.len() > keep {
        if let Some(oldest) = keys.pop_front() {
            batch.delete(space().u64(oldest));
        }
    }
    store.commit(batch).await.map(drop)
}
