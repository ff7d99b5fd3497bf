//! What devices measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Ask, Endpoint, device};
use super::fault::Fault;
use crate::admin::{Role, TelemetryQuery, TelemetryRow};
use crate::domain::Wall;

/// The endpoints.
pub(super) fn table() -> Vec<Endpoint> {
    vec![Endpoint::get("/v1/lifelog/telemetry_samples", Role::Viewer, "What devices measured, newest first", samples)]
}

/// Which samples. Times are those of arrival, ms since 1970-01-01 UTC, both included.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// Of this device.
    #[serde(default, alias = "deviceId")]
    device_id: Option<String>,
    /// Of this session.
    #[serde(default, alias = "sessionId")]
    session_id: Option<String>,
    /// Samples have no trace: anything but an empty text is refused.
    #[serde(default, alias = "traceId")]
    trace_id: Option<String>,
    /// Not before.
    #[serde(default, alias = "startTs")]
    start_ts: Option<u64>,
    /// Not after.
    #[serde(default, alias = "endTs")]
    end_ts: Option<u64>,
    /// At most so many, 1 to 5000 [default: 200].
    #[serde(default)]
    limit: Option<u32>,
    /// Passes over so many.
    #[serde(default)]
    offset: Option<u32>,
}

/// Samples, newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct List {
    /// How many there are in this answer.
    count: usize,
    items: Vec<TelemetryRow>,
}

async fn samples(ask: Ask<Which>) -> Result<List, Fault> {
    let Which { device_id, session_id, trace_id, start_ts, end_ts, limit, offset } = ask.input;
    if trace_id.is_some_and(|id| !id.is_empty()) {
        return Err(Fault::bad("trace_id: samples have no trace; ask for device_id and session_id"));
    }
    if let (Some(start), Some(end)) = (start_ts, end_ts)
        && start > end
    {
        return Err(Fault::bad("start_ts is after end_ts"));
    }
    let query = TelemetryQuery {
        device: device_id.filter(|id| !id.is_empty()).map(|id| device(&id)).transpose()?,
        session: session_id.filter(|id| !id.is_empty()),
        since: start_ts.map(Wall),
        until: end_ts.map(Wall),
        offset: offset.unwrap_or_default() as usize,
        // as OpenCane does: what is out of range is brought into it
        limit: (limit.unwrap_or(200) as usize).clamp(1, 5_000),
    };
    let items = ask.api.admin.telemetry_samples(query).await?;
    Ok(List { count: items.len(), items })
}
