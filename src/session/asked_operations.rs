//! What a session does with operators' operations: sends them when the device is there to take them, and notes what it
//! answers. A board with stock firmware has no word for them but calls of its tools.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::actor::Actor;
use super::outgoing::Asked;
use super::take::Effect;
use super::tools::{Asking, Call, CallError, Tool};
use crate::domain::Message;
use crate::operations::End;
use crate::store::Batch;
use crate::store::records::{OperationState, Outbox};

/// What becomes of an operation that was to be sent.
pub(super) enum Passed {
    /// It was sent under this number, and waits for its acknowledgement.
    Sent(u32),
    /// It is not for now: it stays.
    Stays,
    /// It is over.
    Over,
    /// The link takes nothing more.
    NoRoom,
}

impl Actor {
    /// The device is in a conversation, or will say no hello: what is sent now is not sent again in a moment. A board whose
    /// connection outlives its conversations is asked between them too.
    pub(super) fn takes_operations(&self) -> bool {
        let no_hello = self.inbox_due.is_none();
        if self.live.manners.ceremonious {
            return self.live.greeted || no_hello;
        }
        self.hello_here || (self.live.boot_id.is_none() && no_hello)
    }

    /// Sends an operation, if it is still wanted and the device can take it. What is to be written of it goes into `noted`.
    pub(super) fn pass_on(&mut self, id: &str, message: Message, entry: &Outbox, noted: &mut Batch) -> Passed {
        if !self.parts.operations.waits(id) {
            return Passed::Over;
        }
        if !self.takes_operations() {
            return Passed::Stays;
        }
        if self.live.manners.ceremonious {
            return self.pass_on_to_tools(id, message, entry, noted);
        }
        let asked = Asked { msg_id: Some(entry.msg_id.clone()), want_ack: true };
        let Ok(seq) = self.out.control(message, asked) else { return Passed::NoRoom };
        noted.extend(self.parts.operations.sent(id, self.live.id.as_str(), Some(seq)));
        Passed::Sent(seq)
    }

    fn pass_on_to_tools(&mut self, id: &str, message: Message, entry: &Outbox, noted: &mut Batch) -> Passed {
        let Message::ToolCall { name, arguments, .. } = message else {
            let error = format!("a board with stock firmware has no word for {}", entry.kind);
            let end = End { state: OperationState::Failed, result: Value::Null, error };
            noted.extend(self.parts.operations.answered(&self.device, id, end));
            return Passed::Over;
        };
        if !self.calling.insert(entry.n) {
            return Passed::Stays;
        }
        noted.extend(self.parts.operations.sent(id, self.live.id.as_str(), None));
        let (asking, id, n) = (self.asking.0.clone(), id.to_owned(), entry.n);
        let call = async move { Effect::Called { answered: call(asking, name, arguments).await, id, n } };
        self.effects.push(call.boxed());
        Passed::Stays
    }

    /// A board's tool has answered, or will not.
    pub(super) fn called(&mut self, n: u64, id: &str, answered: Result<String, CallError>) {
        self.calling.remove(&n);
        let end = match answered {
            Ok(text) => {
                let result = serde_json::from_str(&text).unwrap_or(Value::String(text));
                End { state: OperationState::Acked, result, error: String::new() }
            }
            // nobody knows whether it was done: it is asked again in the next conversation
            Err(CallError::Gone | CallError::Busy) => return,
            Err(error) => End { state: OperationState::Failed, result: Value::Null, error: error.to_string() },
        };
        let batch = self.parts.operations.answered(&self.device, id, end);
        self.commit(batch, None);
    }

    /// The device says what came of an operation; what is to be written of that.
    pub(super) fn answered(&self, id: &str, success: bool, result: &Value, error: Option<&str>) -> Batch {
        let state = if success { OperationState::Acked } else { OperationState::Failed };
        let end = End { state, result: result.clone(), error: error.unwrap_or_default().to_owned() };
        self.parts.operations.answered(&self.device, id, end)
    }
}

/// Calls a tool of the session's own device; its list is asked for first, if it is not known.
async fn call(asking: mpsc::Sender<Asking>, name: String, arguments: Value) -> Result<String, CallError> {
    let (answer, listed) = oneshot::channel::<Result<Arc<[Tool]>, CallError>>();
    asking.send(Asking::List(answer)).await.map_err(|_| CallError::Gone)?;
    listed.await.unwrap_or(Err(CallError::Gone))?;
    let (answer, answered) = oneshot::channel();
    asking.send(Asking::Call(Call { name, arguments, answer })).await.map_err(|_| CallError::Gone)?;
    answered.await.unwrap_or(Err(CallError::Gone))
}
