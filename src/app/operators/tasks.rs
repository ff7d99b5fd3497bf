//! The operations on digital tasks.

use serde_json::{Map, Value};

use super::records::store_error;
use crate::admin::{AdminError, AdminErrorKind, NewTask, TaskQuery, TaskRow, TaskStats, TaskStatus, TaskStepRow};
use crate::store::Store;
use crate::store::records::{Status, Task, TaskState, devices};
use crate::tasks::{New, Query, TaskError, Tasks};

/// Tasks that one listing gives unless it is told how many, and at most.
const LISTED: usize = 20;
const MOST: usize = 1_000;

pub(super) async fn begin(store: &dyn Store, tasks: &Tasks, new: NewTask) -> Result<TaskRow, AdminError> {
    let NewTask { id, goal, session, device, timeout, notify, speak, interrupt_previous, steps, by } = new;
    if let Some(device) = &device {
        let record = devices::get(store, device).await.map_err(|e| store_error(&e))?;
        let record = record.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "device not found"))?;
        if record.standing().status == Status::Revoked {
            return Err(AdminError::new(AdminErrorKind::Conflict, "the device is revoked"));
        }
    }
    let timeout = timeout.map(|time| time.0);
    let new = New { id, goal, session, device, timeout, notify, speak, interrupt_previous, steps, by };
    tasks.begin(new).await.map(row).map_err(|e| failed(&e))
}

pub(super) async fn cancel(tasks: &Tasks, id: &str, reason: &str) -> Result<TaskRow, AdminError> {
    tasks.cancel(id, reason).await.map(row).map_err(|e| failed(&e))
}

pub(super) async fn list(tasks: &Tasks, query: TaskQuery) -> Result<Vec<TaskRow>, AdminError> {
    if let Some(id) = &query.id {
        let found = tasks.get(id).await.map_err(|e| store_error(&e))?;
        return Ok(found.map(row).into_iter().collect());
    }
    let limit = if query.limit == 0 { LISTED } else { query.limit.min(MOST) };
    let TaskQuery { session, device, status, offset, .. } = query;
    let query = Query { session, device, state: status.map(state), offset, limit };
    let found = tasks.list(&query).await.map_err(|e| store_error(&e))?;
    Ok(found.into_iter().map(row).collect())
}

pub(super) async fn stats(tasks: &Tasks, session: Option<&str>) -> Result<TaskStats, AdminError> {
    let stats = tasks.stats(session).await.map_err(|e| store_error(&e))?;
    let total = stats.total();
    let success = stats.of(TaskState::Success);
    let counted = TaskState::ALL.into_iter().map(|state| (state.name().to_owned(), stats.of(state)));
    let counts: Map<String, Value> =
        counted.filter(|(_, count)| *count > 0).map(|(name, count)| (name, Value::from(count))).collect();
    Ok(TaskStats {
        total,
        success,
        failed: stats.of(TaskState::Failed),
        timeout: stats.of(TaskState::Timeout),
        canceled: stats.of(TaskState::Canceled),
        pending: stats.of(TaskState::Pending),
        running: stats.of(TaskState::Running),
        success_rate: if total == 0 { 0.0 } else { success as f64 / total as f64 },
        avg_duration_ms: stats.mean_duration_ms,
        avg_step_count: stats.mean_steps,
        counts_by_status: counts,
    })
}

fn state(status: TaskStatus) -> TaskState {
    match status {
        TaskStatus::Pending => TaskState::Pending,
        TaskStatus::Running => TaskState::Running,
        TaskStatus::Success => TaskState::Success,
        TaskStatus::Failed => TaskState::Failed,
        TaskStatus::Timeout => TaskState::Timeout,
        TaskStatus::Canceled => TaskState::Canceled,
    }
}

fn row(task: Task) -> TaskRow {
    let status = match task.state {
        TaskState::Pending => TaskStatus::Pending,
        TaskState::Running => TaskStatus::Running,
        TaskState::Success => TaskStatus::Success,
        TaskState::Failed => TaskStatus::Failed,
        TaskState::Timeout => TaskStatus::Timeout,
        TaskState::Canceled => TaskStatus::Canceled,
    };
    let steps = task.steps.into_iter().map(|step| TaskStepRow {
        ts: step.at.0,
        stage: step.stage,
        status: step.status,
        message: step.message,
    });
    TaskRow {
        task_id: task.id,
        session_id: task.session,
        goal: task.goal,
        status,
        steps: steps.collect(),
        result: task.result.as_object().cloned().unwrap_or_default(),
        error: task.error,
        timeout_seconds: task.timeout_ms / 1_000,
        device_id: task.device.map(|device| device.to_string()).unwrap_or_default(),
        notify: task.notify,
        speak: task.speak,
        attempts: task.attempts,
        requested_by: task.by,
        created_at: task.created.0,
        updated_at: task.updated.0,
        started_at: task.started.map_or(0, |at| at.0),
    }
}

fn failed(error: &TaskError) -> AdminError {
    let kind = match error {
        TaskError::Invalid(_) => AdminErrorKind::Invalid,
        TaskError::Exists(_) => AdminErrorKind::Exists,
        TaskError::Unknown => AdminErrorKind::NotFound,
        TaskError::Over(_) | TaskError::Full(_) | TaskError::Off => AdminErrorKind::Conflict,
        TaskError::Store(error) => return store_error(error),
    };
    AdminError::new(kind, error.to_string())
}
