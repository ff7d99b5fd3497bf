//! What a device is told of a task: an entry in its outbox, and what of it is to be spoken.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::{DeviceId, Wall};
use crate::store::records::{Outbox, Task, TaskState};

/// Longest message, bytes: it may be spoken.
const MESSAGE: usize = 1_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Accepted,
    Running,
    Step,
    Recovered,
    End,
}

impl Event {
    fn name(self, task: &Task) -> &'static str {
        match self {
            Event::Accepted => "accepted",
            Event::Running => "running",
            Event::Step => "step",
            Event::Recovered => "recovered",
            Event::End => task.state.name(),
        }
    }
}

/// The entry: `task`, which is what the device gets, and `say`, which is for its session: what to say, and how urgent it is.
pub(super) fn entry(
    task: &Task,
    device: &DeviceId,
    event: Event,
    message: &str,
    (n, now, ttl): (u64, Wall, Duration),
) -> Outbox {
    let message = cut(message, MESSAGE);
    let mut extra = json!({"event": event.name(task)});
    if !task.error.is_empty() {
        extra["error"] = Value::from(task.error.clone());
    }
    if let Some(text) = task.result["text"].as_str() {
        extra["result"] = json!({"text": cut(text, MESSAGE)});
    }
    let told = json!({"task_id": task.id, "status": task.state.name(), "message": message, "extra": extra});
    let mut body = json!({"task": told});
    if event == Event::End && task.speak {
        // who took a task back knows it: that is low
        let priority = if task.state == TaskState::Canceled { "low" } else { "normal" };
        body["say"] = json!({"text": message, "priority": priority});
    }
    Outbox {
        n,
        device: device.clone(),
        msg_id: format!("task-{n:x}"),
        kind: "task_update".to_owned(),
        body,
        created: now,
        expires: (now.0 > 0).then(|| Wall(now.0.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)))),
        at_most_once: false,
    }
}

/// At most so many bytes, whole characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}
