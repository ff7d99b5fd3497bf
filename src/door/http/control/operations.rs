//! Operations of devices: begin one or many, end one, list them; and ask how a device is, and silence it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::endpoint::{Ask, Endpoint, Nothing, device};
use super::fault::Fault;
use crate::admin::{
    BatchRow, DeviceState, NewOperation, OperationEnd, OperationQuery, OperationRow, OperationStatus, OperationType,
    Order, Role, Selection,
};
use crate::domain::Span;

/// Most operations of one answer, and most devices named in one batch.
const MOST: usize = 1_000;

/// The endpoints.
pub(super) fn table() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/device/{id}/status", Role::Viewer, "How a device is", status),
        Endpoint::post("/v1/device/{id}/abort", Role::Operator, "Ends what a device is saying", abort),
        Endpoint::post(
            "/v1/device/event",
            Role::Operator,
            "Takes an event as if the device had sent it, in the words of OpenCane's devices",
            event,
        ),
        Endpoint::post(
            "/v1/device/ops/dispatch",
            Role::Operator,
            "Asks something of a device: at once, or when it is back, within its time",
            dispatch,
        ),
        Endpoint::post("/v1/device/ops/batch", Role::Operator, "Asks the same of many devices", batch),
        Endpoint::post("/v1/device/ops/{id}/ack", Role::Operator, "Ends an operation in the device's place", ack),
        Endpoint::post("/v1/device/ops/{id}/cancel", Role::Operator, "Takes an operation back", cancel),
        Endpoint::get("/v1/device/ops", Role::Viewer, "Operations, newest first", list),
        Endpoint::post("/v1/device/{id}/set_config", Role::Operator, "Changes settings of a device", set_config),
        Endpoint::post("/v1/device/{id}/tool_call", Role::Operator, "Calls a tool of a device", tool_call),
        Endpoint::post("/v1/device/{id}/ota_plan", Role::Operator, "Tells a device of firmware, once", ota_plan),
    ]
}

/// A device.
#[derive(Debug, Serialize, JsonSchema)]
struct State {
    device: DeviceState,
}

async fn status(ask: Ask<Nothing>) -> Result<State, Fault> {
    Ok(State { device: ask.api.admin.device_state(ask.device()?).await? })
}

/// A device that was told to be silent.
#[derive(Debug, Serialize, JsonSchema)]
struct Aborted {
    device_id: String,
    /// It was saying something, or thinking.
    was_speaking: bool,
}

/// Why, for the log.
#[derive(Debug, Deserialize, JsonSchema)]
struct Why {
    #[serde(default)]
    reason: Option<String>,
}

async fn abort(ask: Ask<Why>) -> Result<Aborted, Fault> {
    let device = ask.device()?;
    let reason: String = ask.input.reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(128).collect();
    let was_speaking = ask.api.admin.abort(device.clone()).await?;
    tracing::info!(%device, operator = %ask.caller.name, reason, "an operator silenced a device");
    Ok(Aborted { device_id: device.to_string(), was_speaking })
}

/// An event of a device: OpenCane's envelope.
#[derive(Debug, Deserialize, JsonSchema)]
struct Event {
    /// In whose place.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// hello, heartbeat, listen_start, audio_chunk, listen_stop, abort, image_ready, telemetry, tool_result, error, …
    #[serde(rename = "type", alias = "event")]
    kind: String,
    /// The rest of the envelope: msg_id, session_id, seq, ts, payload.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// An event that was taken; what has to be durable of it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Injected {
    /// As it was taken.
    event: Map<String, Value>,
}

async fn event(ask: Ask<Event>) -> Result<Injected, Fault> {
    let Event { device_id, kind, rest: mut event } = ask.input;
    let device = device(&device_id)?;
    event.insert("device_id".to_owned(), Value::from(device.as_str()));
    event.insert("type".to_owned(), Value::from(kind));
    ask.api.admin.device_event(device, event.clone()).await?;
    Ok(Injected { event })
}

/// What is asked of a device. Without `payload`, all other fields are it.
#[derive(Debug, Deserialize, JsonSchema)]
struct Dispatch {
    /// Which device.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// set_config, tool_call or ota_plan; also config, tool, ota.
    #[serde(alias = "opType", alias = "operation_type", alias = "operationType", alias = "type")]
    op_type: OperationType,
    #[serde(flatten)]
    short: Short,
}

/// What is asked of the device of the path. Without `payload`, all other fields are it.
#[derive(Debug, Deserialize, JsonSchema)]
struct Short {
    /// Its id, which was never used before: letters, digits and _ . : -, at most 64; none: one is made.
    #[serde(default, alias = "operationId")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]*$"))]
    operation_id: Option<String>,
    /// How long it waits for the device, seconds; none: as configured.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_592_000))]
    ttl_seconds: Option<u32>,
    /// What is sent, at most 32 KB.
    #[serde(default)]
    payload: Option<Map<String, Value>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What OpenCane's scripts send beside the payload, and what of it is ours.
const OURS: [&str; 12] = [
    "session_id",
    "sessionId",
    "trace_id",
    "traceId",
    "device_id",
    "deviceId",
    "op_type",
    "opType",
    "operation_type",
    "operationType",
    "operationId",
    "payload",
];

/// An operation, and what of it has happened.
#[derive(Debug, Serialize, JsonSchema)]
struct Dispatched {
    operation: OperationRow,
    dispatch: Dispatch2,
}

/// In OpenCane's words.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Dispatch")]
struct Dispatch2 {
    /// It was taken.
    success: bool,
    /// It waits for the device.
    queued: bool,
    device_id: String,
    session_id: String,
    op_type: OperationType,
    command_type: OperationType,
    /// The number of the message; none before it is sent, or where the dialect has none.
    seq: Option<u32>,
}

fn order(op_type: OperationType, ttl: Option<u32>, payload: Map<String, Value>, by: &str) -> Order {
    let time = ttl.map(|seconds| Span::secs(seconds.into()));
    Order { op_type, payload, time, by: by.to_owned() }
}

async fn begin<I>(ask: Ask<I>, id: &str, op_type: OperationType, short: Short) -> Result<Dispatched, Fault> {
    let Short { operation_id, ttl_seconds, payload, rest } = short;
    let flat = || rest.into_iter().filter(|(key, _)| !OURS.contains(&key.as_str())).collect();
    let order = order(op_type, ttl_seconds, payload.unwrap_or_else(flat), &ask.caller.name);
    let new = NewOperation { device: device(id)?, id: operation_id, order };
    let operation = ask.api.admin.operation_begin(new).await?;
    let dispatch = Dispatch2 {
        success: true,
        queued: operation.status == OperationStatus::Queued,
        device_id: operation.device_id.clone(),
        session_id: operation.session_id.clone(),
        op_type,
        command_type: op_type,
        seq: operation.seq,
    };
    Ok(Dispatched { operation, dispatch })
}

async fn dispatch(ask: Ask<Dispatch>) -> Result<Dispatched, Fault> {
    let Ask { api, caller, id, input } = ask;
    let Dispatch { device_id, op_type, short } = input;
    begin(Ask { api, caller, id, input: () }, &device_id, op_type, short).await
}

async fn short(ask: Ask<Short>, op_type: OperationType) -> Result<Dispatched, Fault> {
    let Ask { api, caller, id, input } = ask;
    begin(Ask { api, caller, id: String::new(), input: () }, &id, op_type, input).await
}

async fn set_config(ask: Ask<Short>) -> Result<Dispatched, Fault> {
    short(ask, OperationType::SetConfig).await
}

async fn tool_call(ask: Ask<Short>) -> Result<Dispatched, Fault> {
    short(ask, OperationType::ToolCall).await
}

async fn ota_plan(ask: Ask<Short>) -> Result<Dispatched, Fault> {
    short(ask, OperationType::OtaPlan).await
}

/// The same for many devices: all that every condition fits.
#[derive(Debug, Deserialize, JsonSchema)]
struct Batch {
    /// set_config, tool_call or ota_plan.
    #[serde(alias = "opType")]
    op_type: OperationType,
    /// What is sent, at most 32 KB.
    #[serde(default)]
    payload: Map<String, Value>,
    /// How long it waits for each device, seconds; none: as configured.
    #[serde(default)]
    ttl_seconds: Option<u32>,
    /// One of these, at most 1000.
    #[serde(default)]
    device_ids: Vec<String>,
    /// Of this user.
    #[serde(default)]
    user_id: Option<String>,
    /// That spoke this dialect last: native, xiaozhi, opencane.
    #[serde(default)]
    dialect: Option<String>,
    /// Every device, on purpose.
    #[serde(default)]
    all: bool,
}

/// One outcome a device.
#[derive(Debug, Serialize, JsonSchema)]
struct Batched {
    /// Of all operations of it; none when there is no operation.
    batch_id: Option<String>,
    /// Operations that were taken.
    taken: usize,
    results: Vec<BatchRow>,
}

async fn batch(ask: Ask<Batch>) -> Result<Batched, Fault> {
    let Batch { op_type, payload, ttl_seconds, device_ids, user_id, dialect, all } = ask.input;
    if device_ids.len() > MOST {
        return Err(Fault::bad("device_ids has at most 1000"));
    }
    let devices = device_ids.iter().map(|id| device(id)).collect::<Result<_, _>>()?;
    let selection = Selection { devices, user: user_id, dialect, all };
    let order = order(op_type, ttl_seconds, payload, &ask.caller.name);
    let results = ask.api.admin.operation_batch(selection, order).await?;
    let taken = || results.iter().filter_map(|row| row.operation.as_ref());
    let batch_id = taken().find_map(|operation| operation.batch_id.clone());
    Ok(Batched { batch_id, taken: taken().count(), results })
}

/// How an operation ended.
#[derive(Debug, Deserialize, JsonSchema)]
struct Ack {
    /// acked, failed or canceled [default: acked].
    #[serde(default)]
    status: Option<OperationStatus>,
    /// What came out, at most 32 KB.
    #[serde(default)]
    result: Option<Value>,
    /// What went wrong.
    #[serde(default)]
    error: Option<String>,
}

/// An operation.
#[derive(Debug, Serialize, JsonSchema)]
struct One {
    operation: OperationRow,
}

async fn ack(ask: Ask<Ack>) -> Result<One, Fault> {
    let Ack { status, result, error } = ask.input;
    let status = status.unwrap_or(OperationStatus::Acked);
    let (result, error) = (result.unwrap_or_default(), error.unwrap_or_default());
    let end = OperationEnd { id: ask.id, status, result, error };
    Ok(One { operation: ask.api.admin.operation_end(end).await? })
}

async fn cancel(ask: Ask<Why>) -> Result<One, Fault> {
    let error = ask.input.reason.unwrap_or_else(|| format!("canceled by {}", ask.caller.name));
    let end = OperationEnd { id: ask.id, status: OperationStatus::Canceled, result: Value::Null, error };
    Ok(One { operation: ask.api.admin.operation_end(end).await? })
}

/// Which operations.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// This one; the rest is not looked at then.
    #[serde(default, alias = "operationId")]
    operation_id: Option<String>,
    /// Of this device.
    #[serde(default, alias = "deviceId")]
    device_id: Option<String>,
    /// That have come so far.
    #[serde(default)]
    status: Option<OperationStatus>,
    /// Of this kind.
    #[serde(default, alias = "opType", alias = "operation_type", alias = "operationType", alias = "type")]
    op_type: Option<OperationType>,
    /// Of those that were asked together.
    #[serde(default)]
    batch_id: Option<String>,
    /// At most so many, 1 to 1000 [default: 100].
    #[serde(default)]
    limit: Option<u32>,
    /// Passes over so many.
    #[serde(default)]
    offset: Option<u32>,
}

/// Operations, newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct List {
    /// How many there are in this answer.
    count: usize,
    items: Vec<OperationRow>,
}

async fn list(ask: Ask<Which>) -> Result<List, Fault> {
    let Which { operation_id, device_id, status, op_type, batch_id, limit, offset } = ask.input;
    let query = OperationQuery {
        id: operation_id.filter(|id| !id.is_empty()),
        device: device_id.filter(|id| !id.is_empty()).map(|id| device(&id)).transpose()?,
        status,
        op_type,
        batch: batch_id.filter(|id| !id.is_empty()),
        offset: offset.unwrap_or_default() as usize,
        limit: (limit.unwrap_or(100) as usize).clamp(1, MOST),
    };
    let items = ask.api.admin.operation_list(query).await?;
    Ok(List { count: items.len(), items })
}
