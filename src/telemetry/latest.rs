//! The latest value of each device, retained on a topic of its own.
//!
//! A device may send its battery in one message and its place in another: the latest value has the last of each group.
//! What changed is published once a second, so that a device that measures ten times a second costs no more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::time::MissedTickBehavior;

use super::Metrics;
use crate::domain::{Bulletins, DeviceId, QoS, Telemetry, Wall};
use crate::store::records::Measurement;

/// How often what changed is published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Devices that are remembered; those beyond are not published.
const MOST_DEVICES: usize = 100_000;

/// What fits nowhere is that of one message; the rest stays until it is said again.
const PASSING: [&str; 2] = ["other", "dropped"];

/// Names a device's topic.
pub type Topic = Arc<dyn Fn(&DeviceId) -> Arc<str> + Send + Sync>;

#[derive(Debug, Default)]
struct Latest {
    groups: Map<String, Value>,
    /// When the last message arrived.
    at: Wall,
    /// When the device says that it measured.
    ts: Option<u64>,
    changed: bool,
}

#[derive(Debug, Default)]
struct State {
    devices: HashMap<DeviceId, Latest>,
    /// Devices that were removed: what their sessions still bring is not published.
    gone: HashSet<DeviceId>,
}

/// The latest values.
pub struct Board {
    state: Mutex<State>,
    bulletins: Arc<dyn Bulletins>,
    topic: Topic,
}

impl Board {
    /// An empty one; `topic` names where a device's value goes.
    pub fn new(bulletins: Arc<dyn Bulletins>, topic: Topic) -> Self {
        Self { state: Mutex::default(), bulletins, topic }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What earlier runs have kept of a device, newest first: what is not known yet is taken from there.
    pub(super) fn recall(&self, device: &DeviceId, kept: &[Measurement]) {
        let Some(newest) = kept.first() else { return };
        let mut state = self.lock();
        if state.gone.contains(device) {
            return;
        }
        let latest = state.devices.entry(device.clone()).or_default();
        if latest.at < newest.at {
            (latest.at, latest.ts) = (newest.at, newest.ts);
        }
        for (group, value) in kept.iter().flat_map(|one| &one.sample) {
            if !PASSING.contains(&group.as_str()) && !latest.groups.contains_key(group) {
                latest.groups.insert(group.clone(), value.clone());
                latest.changed = true;
            }
        }
    }

    /// A device measured something.
    pub(super) fn measured(&self, device: &DeviceId, telemetry: &Telemetry, now: Wall) {
        let mut state = self.lock();
        let full = state.devices.len() >= MOST_DEVICES && !state.devices.contains_key(device);
        if full || state.gone.contains(device) {
            return;
        }
        let latest = state.devices.entry(device.clone()).or_default();
        for group in PASSING {
            latest.groups.remove(group);
        }
        for (group, value) in &telemetry.groups {
            latest.groups.insert(group.clone(), value.clone());
        }
        (latest.at, latest.ts, latest.changed) = (now, telemetry.ts, true);
    }

    /// The device is gone: so is its value.
    pub fn forget(&self, device: &DeviceId) {
        let mut state = self.lock();
        state.devices.remove(device);
        if state.gone.len() < MOST_DEVICES {
            state.gone.insert(device.clone());
        }
        self.clear(device);
    }

    /// The device is there (again).
    pub fn welcome(&self, device: &DeviceId) {
        self.lock().gone.remove(device);
    }

    /// Takes back what was published of a device.
    pub fn clear(&self, device: &DeviceId) {
        self.bulletins.publish(&(self.topic)(device), Bytes::new(), QoS::AtLeastOnce, true);
    }

    /// Publishes what changed.
    pub fn flush(&self, metrics: &Metrics) {
        let mut state = self.lock();
        for (device, latest) in state.devices.iter_mut().filter(|(_, latest)| latest.changed) {
            latest.changed = false;
            metrics.latest.inc();
            let payload = Bytes::from(payload(latest).to_string());
            // under the lock: a device that is forgotten after this is cleared after this
            self.bulletins.publish(&(self.topic)(device), payload, QoS::AtLeastOnce, true);
        }
    }

    pub(super) async fn run(&self, metrics: &Metrics) {
        let mut every = tokio::time::interval(PUBLISH_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.flush(metrics);
        }
    }
}

/// The groups, when they arrived and when they were measured.
fn payload(latest: &Latest) -> Value {
    let mut value = Value::Object(latest.groups.clone());
    value["schema"] = json!(super::SCHEMA);
    value["ts"] = json!(latest.at.0);
    if let Some(ts) = latest.ts {
        value["measured"] = json!(ts);
    }
    value
}
