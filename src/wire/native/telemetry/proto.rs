//! Telemetry from protobuf, as the JSON object that says the same.

use prost::Message as _;
use serde_json::{Map, Value, json};

use super::super::super::WireError;
use super::super::proto as pb;

/// Reads one message, or the objects of its batch.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Map<String, Value>>, WireError> {
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
