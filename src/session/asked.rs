//! What a session does for its device's tools: asks for them, carries calls to them and answers back.

use serde_json::Value;
use tokio::time::Instant;

use super::actor::Actor;
use super::outgoing::Asked;
use super::tools::{Asking, Tools};
use crate::domain::Message;

impl Actor {
    /// Asks for the list, unless that is being done.
    pub(super) fn ask_for_tools(&mut self) {
        if !self.tools.asking() {
            let request = self.tools.begin(Instant::now(), None);
            self.send_to_tools(request);
        }
    }

    /// Somebody wants the list, or calls a tool.
    pub(super) fn asked(&mut self, asking: Asking) {
        match asking {
            Asking::List(answer) => {
                if let Some(known) = self.tools.known() {
                    // one that no longer waits is not told
                    return drop(answer.send(Ok(known.clone())));
                }
                self.tools.wait_for_list(answer);
                self.ask_for_tools();
            }
            Asking::Call(call) => {
                self.parts.metrics.tools("call", 1);
                tracing::info!(device = %self.device, tool = call.name, "a tool of the device is called");
                if let Some(request) = self.tools.call(call, Instant::now()) {
                    self.send_to_tools(request);
                }
            }
        }
    }

    /// A message of the device's tool server.
    pub(super) fn tool_message(&mut self, payload: &Value) {
        let taken = self.tools.take(payload, Instant::now());
        if let Some(complaint) = taken.complaint {
            self.parts.metrics.tools(complaint, 1);
            tracing::debug!(device = %self.device, complaint, "an answer of the device's tools is not as it should be");
        }
        if taken.listed {
            self.parts.metrics.tools("listed", 1);
        }
        if let Some(request) = taken.send {
            self.send_to_tools(request);
        }
    }

    pub(super) fn expire_tools(&mut self, now: Instant) {
        let late = self.tools.expire(now);
        self.parts.metrics.tools("timed_out", late);
    }

    /// What a turn may use.
    pub(super) fn tools_of_turn(&self) -> Option<Tools> {
        let known = self.tools.known().filter(|known| !known.is_empty())?;
        Some(Tools::new(known.clone(), self.asking.0.clone()))
    }

    fn send_to_tools(&mut self, request: Value) {
        if self.out.control(Message::Mcp(request), Asked::default()).is_err() {
            self.tools.gone();
        }
    }
}
