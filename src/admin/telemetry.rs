//! The values of telemetry samples. Their JSON is that of OpenCane's control API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{DeviceId, Wall};

/// Which samples. Both times are included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TelemetryQuery {
    /// Of this device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// Of this session.
    #[serde(default)]
    pub session: Option<String>,
    /// That arrived not before.
    #[serde(default)]
    pub since: Option<Wall>,
    /// That arrived not after.
    #[serde(default)]
    pub until: Option<Wall>,
    /// Passes over so many.
    #[serde(default)]
    pub offset: usize,
    /// At most so many, up to 5000; 0 is 200.
    #[serde(default)]
    pub limit: usize,
}

/// One sample. Times are ms since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TelemetryRow {
    /// Whose.
    pub device_id: String,
    /// In which session; empty before the first.
    pub session_id: String,
    /// What `sample` is written in; empty where it was not normalised.
    pub schema_version: String,
    /// The normalised groups.
    pub sample: Map<String, Value>,
    /// In the device's own words; none where they were longer than 4 KB.
    pub raw: Option<Map<String, Value>>,
    /// How long those were then, bytes of JSON; else 0.
    pub raw_too_long: usize,
    /// When it arrived.
    pub ts: u64,
    /// When the device says that it was measured; 0: it does not say.
    pub measured_at_ms: u64,
    /// Its number in the device's stream, where it has one.
    pub seq: Option<u32>,
}
