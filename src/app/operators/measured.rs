//! Telemetry samples, for operators.

use serde_json::{Map, Value};

use super::records::store_error;
use crate::admin::{AdminError, TelemetryQuery, TelemetryRow};
use crate::domain::Wall;
use crate::policy::redact::redact;
use crate::store::Store;
use crate::store::records::Measurement;
use crate::telemetry;

/// What the query matches, newest first.
pub(super) async fn samples(store: &dyn Store, query: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError> {
    let TelemetryQuery { device, session, since, until, offset, limit } = query;
    let (from, to) = (since.unwrap_or(Wall(0)), until.unwrap_or(Wall(u64::MAX)));
    let query = telemetry::Query { device, session, from, to, offset, limit };
    let found = telemetry::query(store, &query).await.map_err(|e| store_error(&e))?;
    Ok(found.into_iter().map(row).collect())
}

fn row(measurement: Measurement) -> TelemetryRow {
    TelemetryRow {
        device_id: measurement.device.to_string(),
        session_id: measurement.session.map(|session| session.to_string()).unwrap_or_default(),
        schema_version: measurement.schema,
        sample: without_secrets(measurement.sample),
        raw: measurement.raw.map(without_secrets),
        raw_too_long: measurement.too_long,
        ts: measurement.at.0,
        measured_at_ms: measurement.ts.unwrap_or_default(),
        seq: measurement.seq,
    }
}

/// Devices write what they like.
fn without_secrets(words: Map<String, Value>) -> Map<String, Value> {
    let mut words = Value::Object(words);
    redact(&mut words);
    match words {
        Value::Object(words) => words,
        _ => Map::new(),
    }
}
