//! What a session does with word of its device's tasks: passes it on, and says how they ended, when nobody else speaks.

use serde_json::Value;
use tokio::time::Instant;

use super::actor::Actor;
use super::asked_operations::Passed;
use super::outgoing::Asked;
use super::turn::Input;
use crate::domain::{ListenMode, Message};
use crate::store::Batch;
use crate::store::records::{Outbox, outboxes};

/// The type of the entries.
pub(super) const KIND: &str = "task_update";
/// Most that waits to be said; older words go.
const WAITING: usize = 4;
/// A device that does not acknowledge what it gets is sent the end of a task so often, in as many conversations.
const SENDS: u64 = 3;

/// Something to say of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    text: String,
    low: bool,
}

/// What is to be said with an entry.
fn word(entry: &Outbox) -> Option<Word> {
    let say = entry.body.get("say")?;
    let text = say["text"].as_str().filter(|text| !text.is_empty())?.to_owned();
    Some(Word { text, low: say["priority"] == "low" })
}

impl Actor {
    /// Tells the device of a task. What it is to say is said once, also when the message is sent again.
    pub(super) fn pass_on_task(&mut self, entry: &Outbox, noted: &mut Batch) -> Passed {
        if !self.takes_operations() {
            return Passed::Stays;
        }
        let word = word(entry);
        if self.live.manners.ceremonious {
            return self.tell_board(word);
        }
        let task = entry.body.get("task").cloned().unwrap_or(Value::Null);
        let asked = Asked { msg_id: Some(entry.msg_id.clone()), want_ack: true };
        let Ok(seq) = self.out.control(Message::TaskUpdate { task }, asked) else { return Passed::NoRoom };
        let mut entry = entry.clone();
        let mut changed = false;
        if let Some(word) = word {
            changed = entry.body.as_object_mut().is_some_and(|body| body.remove("say").is_some());
            self.put_off(word);
        }
        if self.live.manners.by_number {
            // its firmware may never say what it has got: then it is told a few times, and how things go on once
            let over =
                entry.body["task"]["status"].as_str().is_some_and(|status| !matches!(status, "pending" | "running"));
            let sends = entry.body["sends"].as_u64().unwrap_or(0) + 1;
            if !over || sends >= SENDS {
                return Passed::Over;
            }
            entry.body["sends"] = Value::from(sends);
            changed = true;
        }
        if changed && let Err(error) = outboxes::put(noted, &entry) {
            tracing::error!(device = %self.device, %error, "a record was not written");
        }
        Passed::Sent(seq)
    }

    /// A board has no word for tasks: the end of one is said in a conversation, and shown outside of one.
    fn tell_board(&mut self, word: Option<Word>) -> Passed {
        let Some(word) = word else { return Passed::Over };
        if self.live.greeted {
            self.put_off(word);
            return Passed::Over;
        }
        let alert = Message::Alert { level: "info".to_owned(), text: word.text, status: None, emotion: None };
        if self.out.control(alert, Asked::default()).is_ok() { Passed::Over } else { Passed::NoRoom }
    }

    fn put_off(&mut self, word: Word) {
        while self.words.len() >= WAITING {
            self.words.pop_front();
        }
        self.words.push_back(word);
    }

    /// Says what waits to be said of tasks, when nobody speaks.
    pub(super) fn say_of_tasks(&mut self) {
        let quiet = self.turn.is_none()
            && self.waiting.is_empty()
            && !self.due.holds()
            && !(self.live.mode == ListenMode::Manual && self.ears.listening());
        if !self.online || !quiet || self.stopping {
            return;
        }
        if let Some(Word { text, low }) = self.words.pop_front() {
            self.begin(Input::Task { text, low }, Instant::now());
        }
    }
}
