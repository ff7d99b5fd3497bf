//! Devices in Home Assistant, over MQTT and nothing else: a retained description of each device, which Home Assistant
//! finds by itself, and the retained topics that the description points to.
//!
//! All of it is published by the gateway and lives in its memory: it is published again at each start. This room knows
//! no session and no store: it is told what devices there are and what they do.

mod discovery;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

pub use settings::Settings;

use crate::domain::{Bulletins, DeviceId, Event, EventKind, QoS};
use crate::topics::Table;
use discovery::Shared;

/// The prefix in the table of topics.
const PREFIX: &str = "homeassistant";

/// A device as a person knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Which.
    pub device: DeviceId,
    /// What it is called; none: its id.
    pub name: Option<String>,
    /// The room that it is in.
    pub area: Option<String>,
}

/// What a device's session does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Doing {
    /// Whose.
    pub device: DeviceId,
    /// `ready`, `listening`, `thinking`, `speaking`, `closed`.
    pub state: String,
    /// Which session.
    pub session: String,
    /// Its turns.
    pub turns: u32,
}

/// The topics of one device.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    status: Arc<str>,
    latest: Arc<str>,
    session: Arc<str>,
    transcript: Arc<str>,
    gateway: Arc<str>,
    say: Arc<str>,
    abort: Arc<str>,
    reboot: Arc<str>,
}

impl Names {
    fn of(table: &Table, device: &DeviceId) -> Self {
        Self {
            status: table.status_topic(device),
            latest: table.latest_topic(device),
            session: table.session_topic(device),
            transcript: table.transcript_topic(device),
            gateway: table.gateway_status_topic(),
            say: table.command_topic(device, "say"),
            abort: table.command_topic(device, "abort"),
            reboot: table.command_topic(device, "reboot"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Topic → whose description is there, and which.
    described: BTreeMap<Arc<str>, (DeviceId, Bytes)>,
    devices: HashSet<DeviceId>,
    doing: HashMap<DeviceId, Doing>,
    online: HashSet<DeviceId>,
}

/// What Home Assistant is told. Share it as an `Arc`.
pub struct Home {
    settings: Settings,
    shared: Shared,
    table: Arc<Table>,
    bulletins: Arc<dyn Bulletins>,
    state: Mutex<State>,
}

impl Home {
    /// Tells nobody anything yet. `telemetry`: the latest values of devices are published.
    pub fn new(settings: Settings, telemetry: bool, table: Arc<Table>, bulletins: Arc<dyn Bulletins>) -> Arc<Self> {
        let shared = Shared { telemetry, transcripts: settings.transcripts };
        Arc::new(Self { settings, shared, table, bulletins, state: Mutex::default() })
    }

    /// Home Assistant is told.
    pub fn is_on(&self) -> bool {
        self.settings.discovery
    }

    /// Where Home Assistant says that it has started.
    pub fn birth_topic(&self) -> String {
        format!("{}/status", self.settings.prefix)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, topic: &str, payload: Bytes) {
        self.bulletins.publish(topic, payload, QoS::AtLeastOnce, true);
    }

    /// These are the devices now: new ones are described, changed ones again, those that are gone are taken back.
    pub fn devices(&self, all: &[About]) {
        let mut described = BTreeMap::new();
        for (topic, about) in self.places(all) {
            let text = discovery::describe(about, &Names::of(&self.table, &about.device), self.shared).to_string();
            described.insert(topic, (about.device.clone(), Bytes::from(text)));
        }
        let mut state = self.lock();
        let owner =
            |map: &BTreeMap<Arc<str>, (DeviceId, Bytes)>, topic: &str| map.get(topic).map(|(who, _)| who.clone());
        for (topic, (device, _)) in &state.described {
            // another device in the same place is another device for Home Assistant too
            if owner(&described, topic).as_ref() != Some(device) {
                self.publish(topic, Bytes::new());
            }
        }
        for (topic, told) in &described {
            if state.described.get(topic) != Some(told) {
                self.publish(topic, told.1.clone());
            }
        }
        let devices: HashSet<DeviceId> = all.iter().map(|about| about.device.clone()).collect();
        for gone in state.devices.difference(&devices) {
            self.forget_states(gone);
        }
        state.doing.retain(|device, _| devices.contains(device));
        state.online.retain(|device| devices.contains(device));
        (state.described, state.devices) = (described, devices);
    }

    /// Home Assistant has started: it may have forgotten.
    pub fn again(&self) {
        for (topic, (_, told)) in &self.lock().described {
            self.publish(topic, told.clone());
        }
    }

    /// What sessions do now; a device without a session is `closed`.
    pub fn doing(&self, sessions: Vec<Doing>) {
        let mut sessions: HashMap<DeviceId, Doing> =
            sessions.into_iter().map(|doing| (doing.device.clone(), doing)).collect();
        let mut state = self.lock();
        let State { devices, doing, .. } = &mut *state;
        for device in devices.iter() {
            let now = sessions.remove(device).unwrap_or_else(|| Doing {
                device: device.clone(),
                state: "closed".to_owned(),
                session: String::new(),
                turns: 0,
            });
            if doing.get(device) != Some(&now) {
                let told = json!({"state": now.state, "session_id": now.session, "turns": now.turns});
                self.publish(&self.table.session_topic(device), Bytes::from(told.to_string()));
                doing.insert(device.clone(), now);
            }
        }
    }

    /// Which devices are connected. The MQTT door says so of its own connections at once; those of the other doors are
    /// found out here.
    pub fn online(&self, connected: impl Fn(&DeviceId) -> bool) {
        let mut state = self.lock();
        let now: HashSet<DeviceId> = state.devices.iter().filter(|device| connected(device)).cloned().collect();
        for device in now.symmetric_difference(&state.online) {
            let word: &[u8] = if now.contains(device) { b"online" } else { b"offline" };
            self.publish(&self.table.status_topic(device), Bytes::copy_from_slice(word));
        }
        state.online = now;
    }

    /// It is switched off, or part of it is: what these devices may have had is taken back, also from those who still
    /// have it from an earlier run.
    pub fn withdraw(&self, all: &[About]) {
        for (topic, about) in self.places(all).into_iter().filter(|_| !self.is_on()) {
            self.publish(&topic, Bytes::new());
            self.publish(&self.table.session_topic(&about.device), Bytes::new());
        }
        for about in all.iter().filter(|_| !self.settings.transcripts) {
            self.publish(&self.table.transcript_topic(&about.device), Bytes::new());
        }
    }

    fn forget_states(&self, device: &DeviceId) {
        for topic in [self.table.session_topic(device), self.table.transcript_topic(device)] {
            self.publish(&topic, Bytes::new());
        }
    }

    /// Where each device is described. Home Assistant allows fewer letters there than ids have: of ids that would be
    /// written alike, those that are not written as they are get a number too.
    fn places<'a>(&self, all: &'a [About]) -> Vec<(Arc<str>, &'a About)> {
        let mut taken: HashMap<Arc<str>, usize> = HashMap::new();
        for about in all {
            *taken.entry(self.table.discovery_topic(&about.device)).or_default() += 1;
        }
        let place = |about: &'a About| {
            let id = about.device.as_str();
            let topic = self.table.discovery_topic(&about.device);
            let rest = topic.strip_prefix(PREFIX).unwrap_or(&topic);
            let alike = taken.get(&topic).is_some_and(|count| *count > 1) && id.contains(['.', ':']);
            let name = match rest.strip_suffix("/config").filter(|_| alike) {
                Some(begin) => format!("{}{begin}_{:08x}/config", self.settings.prefix, number_of(id)),
                None => format!("{}{rest}", self.settings.prefix),
            };
            (Arc::from(name), about)
        };
        all.iter().map(place).collect()
    }
}

/// FNV-1a: the same in every run.
fn number_of(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The bulletins that sessions write, with an ear for what was understood.
pub struct Ear {
    home: Arc<Home>,
    bulletins: Arc<dyn Bulletins>,
}

impl Ear {
    /// Hears what goes to `bulletins`.
    pub fn new(home: Arc<Home>, bulletins: Arc<dyn Bulletins>) -> Self {
        Self { home, bulletins }
    }

    fn hear(&self, event: &Event) {
        let settings = &self.home.settings;
        if event.kind != EventKind::Transcript || !settings.discovery || !settings.transcripts {
            return;
        }
        let Some(device) = &event.device else { return };
        let text = event.detail.get("text").and_then(Value::as_str).unwrap_or_default();
        let told = json!({"text": text, "turn_id": event.detail.get("turn_id"), "at": event.at.0});
        // held: a device that is removed after this is taken back after this
        let state = self.home.lock();
        if state.devices.contains(device) {
            self.home.publish(&self.home.table.transcript_topic(device), Bytes::from(told.to_string()));
        }
    }
}

impl Bulletins for Ear {
    fn event(&self, event: Event) {
        self.hear(&event);
        self.bulletins.event(event);
    }

    fn publish(&self, topic: &str, payload: Bytes, qos: QoS, retain: bool) {
        self.bulletins.publish(topic, payload, qos, retain);
    }

    fn watched(&self, topic: &str) -> bool {
        self.bulletins.watched(topic)
    }
}
