//! Telemetry from protobuf, as the JSON object that says the same; and back, for devices.

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::super::super::WireError;
use super::super::proto as pb;
use crate::domain::Telemetry;

/// Reads one message, or the objects of its batch.
pub(in crate::wire::native) fn decode(bytes: &[u8]) -> Result<Vec<Map<String, Value>>, WireError> {
    let mut message =
        pb::Telemetry::decode(bytes).map_err(|_| WireError::malformed("telemetry is neither json nor protobuf"))?;
    let batch = std::mem::take(&mut message.batch);
    if batch.is_empty() {
        return Ok(vec![object(message)?]);
    }
    if message != pb::Telemetry::default() {
        return Err(WireError::malformed("a batch has no fields beside it"));
    }
    if batch.iter().any(|one| !one.batch.is_empty()) {
        return Err(WireError::malformed("a batch within a batch"));
    }
    if batch.len() > super::MAX_BATCH {
        return Err(WireError::too_large("at most 64 telemetry objects a message"));
    }
    batch.into_iter().map(object).collect()
}

fn object(message: pb::Telemetry) -> Result<Map<String, Value>, WireError> {
    let vector = |v: Option<pb::Vector>| v.map(|v| json!({ "x": v.x, "y": v.y, "z": v.z }));
    let groups: [(&str, Value); 9] = [
        ("seq", message.seq.into()),
        ("ts", message.ts.into()),
        (
            "battery",
            message.battery.map_or(
                Value::Null,
                |b| json!({ "percent": b.percent, "voltage_mv": b.voltage_mv, "charging": b.charging }),
            ),
        ),
        (
            "network",
            message.network.map_or(Value::Null, |n| {
                json!({
                    "rssi_dbm": n.rssi_dbm, "rsrp_dbm": n.rsrp_dbm, "rsrq_db": n.rsrq_db, "snr_db": n.snr_db,
                    "type": n.r#type,
                })
            }),
        ),
        (
            "location",
            message.location.map_or(
                Value::Null,
                |l| json!({ "lat": l.lat, "lon": l.lon, "accuracy_m": l.accuracy_m, "altitude_m": l.altitude_m }),
            ),
        ),
        (
            "motion",
            message.motion.map_or(Value::Null, |m| {
                json!({
                    "heading_deg": m.heading_deg, "speed_mps": m.speed_mps, "moving": m.moving,
                    "step_count": m.step_count,
                })
            }),
        ),
        (
            "imu",
            message.imu.map_or(Value::Null, |i| {
                json!({
                    "accelerometer_mps2": vector(i.accelerometer_mps2), "gyroscope_dps": vector(i.gyroscope_dps),
                    "magnetometer_ut": vector(i.magnetometer_ut),
                })
            }),
        ),
        (
            "system",
            message.system.map_or(Value::Null, |s| {
                json!({
                    "temperature_c": s.temperature_c, "cpu_percent": s.cpu_percent,
                    "memory_percent": s.memory_percent,
                })
            }),
        ),
        ("values", message.values.into_iter().map(|(k, v)| (k, v.into())).collect::<Map<_, _>>().into()),
    ];
    let mut object: Map<String, Value> = groups.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    if let Some(text) = message.other.filter(|t| !t.is_empty()) {
        let other: Map<String, Value> = serde_json::from_str(&text).map_err(|e| WireError::json("other", &e))?;
        object.insert("other".to_owned(), Value::Object(other));
    }
    Ok(object)
}

/// Writes normalised objects: one as it is, several as a batch.
pub(in crate::wire::native) fn encode(items: &[Telemetry]) -> Bytes {
    let message = match items {
        [one] => write(one),
        many => pb::Telemetry { batch: many.iter().map(write).collect(), ..pb::Telemetry::default() },
    };
    message.encode_to_vec().into()
}

fn write(telemetry: &Telemetry) -> pb::Telemetry {
    let group = |name: &str| telemetry.groups.get(name).and_then(Value::as_object).map(Part);
    pb::Telemetry {
        seq: telemetry.seq,
        ts: telemetry.ts,
        battery: group("battery").map(|g| pb::Battery {
            percent: g.number("percent"),
            voltage_mv: g.number("voltage_mv"),
            charging: g.boolean("charging"),
        }),
        network: group("network").map(|g| pb::Network {
            rssi_dbm: g.number("rssi_dbm"),
            rsrp_dbm: g.number("rsrp_dbm"),
            rsrq_db: g.number("rsrq_db"),
            snr_db: g.number("snr_db"),
            r#type: g.0.get("type").and_then(Value::as_str).map(str::to_owned),
        }),
        location: group("location").map(|g| pb::Location {
            lat: g.number("lat"),
            lon: g.number("lon"),
            accuracy_m: g.number("accuracy_m"),
            altitude_m: g.number("altitude_m"),
        }),
        motion: group("motion").map(|g| pb::Motion {
            heading_deg: g.number("heading_deg"),
            speed_mps: g.number("speed_mps"),
            moving: g.boolean("moving"),
            step_count: g.number("step_count"),
        }),
        imu: group("imu").map(|g| pb::Imu {
            accelerometer_mps2: g.vector("accelerometer_mps2"),
            gyroscope_dps: g.vector("gyroscope_dps"),
            magnetometer_ut: g.vector("magnetometer_ut"),
        }),
        system: group("system").map(|g| pb::System {
            temperature_c: g.number("temperature_c"),
            cpu_percent: g.number("cpu_percent"),
            memory_percent: g.number("memory_percent"),
        }),
        values: group("values").map_or_else(Default::default, |g| {
            g.0.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        }),
        other: telemetry.groups.get("other").map(Value::to_string),
        batch: Vec::new(),
    }
}

/// One group of normalised telemetry.
struct Part<'a>(&'a Map<String, Value>);

impl Part<'_> {
    fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    fn vector(&self, name: &str) -> Option<pb::Vector> {
        let axis = |axis: &str| self.0.get(name)?.get(axis)?.as_f64();
        Some(pb::Vector { x: axis("x")?, y: axis("y")?, z: axis("z")? })
    }
}
