//! The description of one device, in the form of Home Assistant's device discovery (one message a device, since 2024.11).
//!
//! At the root Home Assistant refuses a message for one key that it does not know; so there are only `device`, `origin`,
//! `components`, the availability and `qos`, all with their full names. A component of which only the platform is left is
//! taken back.

use serde_json::{Value, json};

use super::{About, Names};

/// Longest state that Home Assistant keeps, characters.
const LONGEST_STATE: usize = 255;

/// What is told of all devices alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The latest telemetry is published.
    pub telemetry: bool,
    /// What was understood is published.
    pub transcripts: bool,
}

/// The message for one device.
pub(super) fn describe(about: &About, names: &Names, shared: Shared) -> Value {
    let id = about.device.as_str();
    let mut device = json!({
        "identifiers": [format!("voxgate_{id}")],
        "name": about.name.as_deref().unwrap_or(id),
        "manufacturer": "Voxgate",
        "serial_number": id,
    });
    if let Some(area) = &about.area {
        device["suggested_area"] = json!(area);
    }
    json!({
        "device": device,
        "origin": {"name": "Voxgate", "sw_version": env!("CARGO_PKG_VERSION")},
        "availability": [{"topic": &*names.status}, gateway(names)],
        "availability_mode": "all",
        "qos": 1,
        "components": components(id, names, shared),
    })
}

/// Available while the gateway is.
fn gateway(names: &Names) -> Value {
    json!({"topic": &*names.gateway, "value_template": "{{ value_json.status }}"})
}

fn components(id: &str, names: &Names, shared: Shared) -> Value {
    let mut all = json!({
        "online": {
            "platform": "binary_sensor",
            "name": "Online",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": &*names.status,
            "payload_on": "online",
            "payload_off": "offline",
            // it says offline while the device is: only without the gateway it does not know
            "availability": [gateway(names)],
        },
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": ["ready", "listening", "thinking", "speaking", "closed"],
            "state_topic": &*names.session,
            "value_template": "{{ value_json.state }}",
        },
        "say": {
            "platform": "notify",
            "name": "Say",
            "command_topic": &*names.say,
            "command_template": "{{ {'text': value} | to_json }}",
        },
        "abort": {
            "platform": "button",
            "name": "Be silent",
            "command_topic": &*names.abort,
            "payload_press": "{}",
        },
        "reboot": {
            "platform": "button",
            "name": "Restart",
            "device_class": "restart",
            "entity_category": "config",
            "command_topic": &*names.reboot,
            "payload_press": "{}",
        },
        "battery": {"platform": "sensor"},
        "signal": {"platform": "sensor"},
        "transcript": {"platform": "sensor"},
    });
    if shared.telemetry {
        measured(&mut all, names);
    }
    if shared.transcripts {
        all["transcript"] = json!({
            "platform": "sensor",
            "name": "Last transcript",
            "state_topic": &*names.transcript,
            "value_template": format!("{{{{ value_json.text[:{LONGEST_STATE}] }}}}"),
        });
    }
    for (name, component) in all.as_object_mut().into_iter().flatten() {
        if component.as_object().is_some_and(|fields| fields.len() > 1) {
            component["unique_id"] = json!(format!("voxgate_{id}_{name}"));
        }
    }
    all
}

/// A device that never said one of these has no such state: an empty text is passed over.
fn measured(all: &mut Value, names: &Names) {
    all["battery"] = json!({
        "platform": "sensor",
        "name": "Battery",
        "device_class": "battery",
        "state_class": "measurement",
        "unit_of_measurement": "%",
        "entity_category": "diagnostic",
        "state_topic": &*names.latest,
        "value_template": "{{ (value_json.battery | default({})).percent | default('') }}",
    });
    all["signal"] = json!({
        "platform": "sensor",
        "name": "Signal",
        "device_class": "signal_strength",
        "state_class": "measurement",
        "unit_of_measurement": "dBm",
        "entity_category": "diagnostic",
        "state_topic": &*names.latest,
        "value_template": "{% set n = value_json.network | default({}) %}\
                           {{ n.rssi_dbm | default(n.rsrp_dbm | default('')) }}",
    });
}
