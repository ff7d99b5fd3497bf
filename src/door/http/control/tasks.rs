//! Digital tasks: begin one, look at it, take it back, in the shapes of OpenCane's API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Ask, Endpoint, Nothing, device};
use super::fault::Fault;
use crate::admin::{NewTask, Role, TaskQuery, TaskRow, TaskStats, TaskStatus};
use crate::domain::Span;

/// Most tasks of one answer.
const MOST: u32 = 1_000;

/// The endpoints.
pub(super) fn table() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/v1/digital-task/execute",
            Role::Operator,
            "Begins a task: it is worked on in the background, with tools",
            execute,
        ),
        Endpoint::get("/v1/digital-task", Role::Viewer, "Tasks, newest first", list),
        Endpoint::get("/v1/digital-task/stats", Role::Viewer, "All remembered tasks, counted", stats),
        Endpoint::get("/v1/digital-task/{id}", Role::Viewer, "One task", one),
        Endpoint::post("/v1/digital-task/{id}/cancel", Role::Operator, "Takes a task back", cancel),
    ]
}

/// A task to begin.
#[derive(Debug, Deserialize, JsonSchema)]
struct Execute {
    /// What is to be done, at most 4 KB.
    #[serde(alias = "prompt")]
    goal: String,
    /// Its id, which was never used before: letters, digits and _ . : -, at most 64; none: one is made.
    #[serde(default, alias = "taskId")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]*$"))]
    task_id: Option<String>,
    /// The conversation that it belongs to [default: digital- and the id].
    #[serde(default, alias = "sessionId")]
    #[schemars(length(max = 128))]
    session_id: Option<String>,
    /// How long it may run from its start, seconds; none: as configured.
    #[serde(default, alias = "timeout", alias = "timeoutSeconds")]
    #[schemars(range(min = 1, max = 86_400))]
    timeout_seconds: Option<u32>,
    /// The device that is told, and whose tools are there for it.
    #[serde(default, alias = "deviceId")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]*$"))]
    device_id: Option<String>,
    /// Taken and not looked at: a device is told in the session that it is in.
    #[serde(default, rename = "target_session_id", alias = "targetSessionId")]
    _target_session_id: Option<String>,
    /// Tell the device how it goes [default: true].
    #[serde(default)]
    notify: Option<bool>,
    /// Let the device say how it ended [default: true].
    #[serde(default)]
    speak: Option<bool>,
    /// Take back what else is under way for the device [default: false].
    #[serde(default, alias = "interruptPrevious")]
    interrupt_previous: Option<bool>,
    /// What has happened already.
    #[serde(default)]
    steps: Vec<Before>,
}

/// Something that happened before the task was begun.
#[derive(Debug, Deserialize, JsonSchema)]
struct Before {
    #[serde(default)]
    stage: String,
    #[serde(default)]
    message: String,
}

/// A task that was taken.
#[derive(Debug, Serialize, JsonSchema)]
struct Accepted {
    /// Always true.
    accepted: bool,
    task: TaskRow,
}

async fn execute(ask: Ask<Execute>) -> Result<Accepted, Fault> {
    let Execute { goal, task_id, session_id, timeout_seconds, device_id, notify, speak, .. } = ask.input;
    let new = NewTask {
        id: task_id,
        goal,
        session: session_id,
        device: device_id.filter(|id| !id.is_empty()).map(|id| device(&id)).transpose()?,
        timeout: timeout_seconds.map(|seconds| Span::secs(seconds.into())),
        notify: notify.unwrap_or(true),
        speak: speak.unwrap_or(true),
        interrupt_previous: ask.input.interrupt_previous.unwrap_or(false),
        steps: ask.input.steps.into_iter().map(|Before { stage, message }| (stage, message)).collect(),
        by: ask.caller.name.to_string(),
    };
    Ok(Accepted { accepted: true, task: ask.api.admin.task_begin(new).await? })
}

/// A task.
#[derive(Debug, Serialize, JsonSchema)]
struct One {
    task: TaskRow,
}

async fn one(ask: Ask<Nothing>) -> Result<One, Fault> {
    let query = TaskQuery { id: Some(ask.id), ..TaskQuery::default() };
    let found = ask.api.admin.task_list(query).await?.into_iter().next();
    Ok(One { task: found.ok_or_else(|| Fault::not_found("task not found"))? })
}

/// Why.
#[derive(Debug, Deserialize, JsonSchema)]
struct Why {
    #[serde(default)]
    reason: Option<String>,
}

async fn cancel(ask: Ask<Why>) -> Result<One, Fault> {
    let reason = ask.input.reason.filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or_else(|| format!("canceled by {}", ask.caller.name));
    Ok(One { task: ask.api.admin.task_cancel(ask.id, reason).await? })
}

/// Which tasks.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// Of this conversation.
    #[serde(default, alias = "sessionId")]
    session_id: Option<String>,
    /// Of this device.
    #[serde(default, alias = "deviceId")]
    device_id: Option<String>,
    /// That have come so far.
    #[serde(default)]
    status: Option<TaskStatus>,
    /// At most so many, 1 to 1000 [default: 20].
    #[serde(default)]
    limit: Option<u32>,
    /// Passes over so many.
    #[serde(default)]
    offset: Option<u32>,
}

/// Tasks, newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct List {
    session_id: Option<String>,
    status: Option<TaskStatus>,
    /// How many there are in this answer.
    count: usize,
    items: Vec<TaskRow>,
    limit: u32,
    offset: u32,
}

async fn list(ask: Ask<Which>) -> Result<List, Fault> {
    let Which { session_id, device_id, status, limit, offset } = ask.input;
    let session_id = session_id.filter(|id| !id.is_empty());
    let (limit, offset) = (limit.unwrap_or(20).clamp(1, MOST), offset.unwrap_or_default());
    let query = TaskQuery {
        id: None,
        session: session_id.clone(),
        device: device_id.filter(|id| !id.is_empty()).map(|id| device(&id)).transpose()?,
        status,
        offset: offset as usize,
        limit: limit as usize,
    };
    let items = ask.api.admin.task_list(query).await?;
    Ok(List { session_id, status, count: items.len(), items, limit, offset })
}

/// Of which.
#[derive(Debug, Deserialize, JsonSchema)]
struct Whose {
    /// Of this conversation [default: all].
    #[serde(default, alias = "sessionId")]
    session_id: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
struct Stats {
    session_id: Option<String>,
    stats: TaskStats,
}

async fn stats(ask: Ask<Whose>) -> Result<Stats, Fault> {
    let session_id = ask.input.session_id.filter(|id| !id.is_empty());
    let stats = ask.api.admin.task_stats(session_id.clone()).await?;
    Ok(Stats { session_id, stats })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opencanes_scripts_send_is_understood() {
        let body = r#"{"prompt": "book a table", "taskId": "t1", "timeout": 30, "deviceId": "cane-1",
            "target_session_id": "s1", "steps": [{"stage": "planned", "status": "ok"}], "anything": {"else": 1}}"#;
        let read = serde_json::from_str::<Execute>(body);
        assert!(
            read.as_ref().is_ok_and(|read| read.goal == "book a table" && read.timeout_seconds == Some(30)),
            "{read:?}"
        );
        assert!(serde_json::from_str::<Execute>("1").is_err());
    }
}
