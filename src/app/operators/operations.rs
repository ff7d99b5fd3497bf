//! The operations on devices that may be away.

use std::time::Duration;

use super::Operators;
use super::records::{MOST_DEVICES, store_error};
use crate::admin::{
    AdminError, AdminErrorKind, BatchRow, NewOperation, OperationEnd, OperationQuery, OperationRow, OperationStatus,
    OperationType, Order, Selection,
};
use crate::domain::DeviceId;
use crate::operations::{End, New, OperationError, Operations, Query};
use crate::store::Store;
use crate::store::records::{Device, Operation, OperationKind, OperationState, Status, devices};

/// Operations that one listing gives unless it is told how many, and at most.
const LISTED: usize = 100;
const MOST: usize = 1_000;
/// Most devices of one batch.
const MOST_OF_A_BATCH: usize = 10_000;
/// An operation of a device that is connected is told as sent, if that takes no longer than this.
const SOON: Duration = Duration::from_millis(500);

pub(super) async fn begin(
    store: &dyn Store,
    operations: &Operations,
    new: NewOperation,
) -> Result<OperationRow, AdminError> {
    let NewOperation { device, id, order } = new;
    let record = devices::get(store, &device).await.map_err(|e| store_error(&e))?;
    let not_found = |text: &str| AdminError::new(AdminErrorKind::NotFound, text);
    let record = record.ok_or_else(|| not_found("device not found"))?;
    if record.standing().status == Status::Revoked {
        return Err(AdminError::new(AdminErrorKind::Conflict, "the device is revoked"));
    }
    operations.begin(of(device, id, order, None)).await.map(row).map_err(|e| failed(&e))
}

fn of(device: DeviceId, id: Option<String>, order: Order, batch: Option<String>) -> New {
    let Order { op_type, payload, time, by } = order;
    New { id, device, kind: kind(op_type), payload, time: time.map(|time| time.0), by, batch }
}

pub(super) async fn batch(
    store: &dyn Store,
    operations: &Operations,
    selection: Selection,
    order: Order,
) -> Result<Vec<BatchRow>, AdminError> {
    let invalid = |text: &str| AdminError::new(AdminErrorKind::Invalid, text);
    let Selection { devices: wanted, user, dialect, all } = &selection;
    if wanted.is_empty() && user.is_none() && dialect.is_none() && !all {
        return Err(invalid("say which devices: device_ids, user_id, dialect, or all"));
    }
    let known = devices::list(store, MOST_DEVICES).await.map_err(|e| store_error(&e))?;
    let fits = |device: &Device| {
        let standing = device.standing();
        standing.status != Status::Revoked
            && (wanted.is_empty() || wanted.contains(&device.id))
            && user.as_ref().is_none_or(|user| standing.user.as_ref() == Some(user))
            && dialect.as_ref().is_none_or(|dialect| device.settings.dialect.as_ref() == Some(dialect))
    };
    let chosen: Vec<DeviceId> = known.iter().filter(|device| fits(device)).map(|device| device.id.clone()).collect();
    if chosen.len() > MOST_OF_A_BATCH {
        return Err(invalid("a batch has at most 10000 devices"));
    }
    let id = operations.batch_id();
    let begin = |device: DeviceId| {
        let new = of(device.clone(), None, order.clone(), Some(id.clone()));
        async move {
            let (operation, error) = match operations.begin(new).await {
                Ok(operation) => (Some(row(operation)), None),
                Err(error) => (None, Some(error.to_string())),
            };
            BatchRow { device_id: device.to_string(), operation, error }
        }
    };
    let mut rows: Vec<BatchRow> = Vec::with_capacity(chosen.len());
    for group in chosen.chunks(256) {
        // handed in together they are durable together
        rows.extend(futures::future::join_all(group.iter().cloned().map(begin)).await);
    }
    // who was named and is not there, or is revoked, is told of too
    let missing = wanted.iter().filter(|id| !chosen.contains(id));
    rows.extend(missing.map(|id| {
        let error = Some("there is no such device, it is revoked, or it does not fit".to_owned());
        BatchRow { device_id: id.to_string(), operation: None, error }
    }));
    Ok(rows)
}

pub(super) async fn end(operations: &Operations, end: OperationEnd) -> Result<OperationRow, AdminError> {
    let OperationEnd { id, status, result, error } = end;
    let state = match status {
        OperationStatus::Acked => OperationState::Acked,
        OperationStatus::Failed => OperationState::Failed,
        OperationStatus::Canceled => OperationState::Canceled,
        OperationStatus::Queued | OperationStatus::Sent | OperationStatus::Expired => {
            let text = "an operation ends as acked, failed or canceled";
            return Err(AdminError::new(AdminErrorKind::Invalid, text));
        }
    };
    operations.end(&id, End { state, result, error }).await.map(row).map_err(|e| failed(&e))
}

pub(super) async fn list(operations: &Operations, query: OperationQuery) -> Result<Vec<OperationRow>, AdminError> {
    if let Some(id) = &query.id {
        let found = operations.get(id).await.map_err(|e| store_error(&e))?;
        return Ok(found.map(row).into_iter().collect());
    }
    let limit = if query.limit == 0 { LISTED } else { query.limit.min(MOST) };
    let query = Query {
        device: query.device,
        state: query.status.map(state),
        kind: query.op_type.map(kind),
        batch: query.batch,
        offset: query.offset,
        limit,
    };
    let found = operations.list(&query).await.map_err(|e| store_error(&e))?;
    Ok(found.into_iter().map(row).collect())
}

/// The operation as it is when its device, if it is connected, has had a moment to get it.
pub(super) async fn when_sent(operators: &Operators, begun: OperationRow) -> OperationRow {
    let connected = DeviceId::parse(&begun.device_id).is_ok_and(|device| operators.delivery.is_connected(&device));
    if !connected {
        return begun;
    }
    let mut changes = operators.operations.changes();
    let sent = async {
        loop {
            changes.mark_unchanged();
            match operators.operations.get(&begun.operation_id).await {
                Ok(Some(now)) if now.state != OperationState::Queued => return Some(row(now)),
                Ok(_) => {}
                Err(_) => return None,
            }
            if changes.changed().await.is_err() {
                return None;
            }
        }
    };
    tokio::time::timeout(SOON, sent).await.ok().flatten().unwrap_or(begun)
}

fn kind(op_type: OperationType) -> OperationKind {
    match op_type {
        OperationType::SetConfig => OperationKind::SetConfig,
        OperationType::ToolCall => OperationKind::ToolCall,
        OperationType::OtaPlan => OperationKind::OtaPlan,
    }
}

fn state(status: OperationStatus) -> OperationState {
    match status {
        OperationStatus::Queued => OperationState::Queued,
        OperationStatus::Sent => OperationState::Sent,
        OperationStatus::Acked => OperationState::Acked,
        OperationStatus::Failed => OperationState::Failed,
        OperationStatus::Canceled => OperationState::Canceled,
        OperationStatus::Expired => OperationState::Expired,
    }
}

fn row(operation: Operation) -> OperationRow {
    let op_type = match operation.kind {
        OperationKind::SetConfig => OperationType::SetConfig,
        OperationKind::ToolCall => OperationType::ToolCall,
        OperationKind::OtaPlan => OperationType::OtaPlan,
    };
    let status = match operation.state {
        OperationState::Queued => OperationStatus::Queued,
        OperationState::Sent => OperationStatus::Sent,
        OperationState::Acked => OperationStatus::Acked,
        OperationState::Failed => OperationStatus::Failed,
        OperationState::Canceled => OperationStatus::Canceled,
        OperationState::Expired => OperationStatus::Expired,
    };
    OperationRow {
        operation_id: operation.id,
        device_id: operation.device.to_string(),
        session_id: operation.session,
        op_type,
        command_type: op_type,
        status,
        payload: operation.payload.as_object().cloned().unwrap_or_default(),
        result: operation.result,
        error: operation.error,
        seq: operation.seq,
        attempts: operation.attempts,
        created_at_ms: operation.created.0,
        updated_at_ms: operation.updated.0,
        acked_at_ms: operation.acked.map_or(0, |at| at.0),
        expires_at_ms: operation.expires.0,
        requested_by: operation.by,
        batch_id: operation.batch,
    }
}

fn failed(error: &OperationError) -> AdminError {
    let kind = match error {
        OperationError::Invalid(_) => AdminErrorKind::Invalid,
        OperationError::Exists(_) => AdminErrorKind::Exists,
        OperationError::Unknown => AdminErrorKind::NotFound,
        OperationError::Over(_) | OperationError::Full(_) => AdminErrorKind::Conflict,
        OperationError::Store(error) => return store_error(error),
    };
    AdminError::new(kind, error.to_string())
}
