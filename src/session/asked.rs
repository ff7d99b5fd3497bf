//! What a session does for its device's tools: asks for them, carries calls to them and answers back.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::actor::Actor;
use super::outgoing::Asked;
use super::things::Called;
use super::tools::{Asking, Call, CallError, Tool, Tools};
use crate::domain::Message;

/// What becomes of a command to a thing: all that is known of it.
const TOLD: &str = "the device was told to; it does not say whether it did";

impl Actor {
    /// Asks for the list, and tells the device's camera where to send its photos in this session.
    pub(super) fn ask_for_tools(&mut self) {
        let addresses = self.parts.sink.addresses(&self.device);
        let session = Some(&self.live.id).filter(|_| self.live.is_open());
        self.photos = self.parts.photos.as_ref().and_then(|door| door.open(&self.device, session, addresses));
        if let (Some(pass), Some(running)) = (&self.photos, &self.turn) {
            pass.in_turn(Some(running.id));
        }
        let vision = self.photos.as_ref().map(|pass| (pass.url(), pass.token()));
        let request = self.tools.begin(Instant::now(), vision);
        self.send_to_tools(request);
    }

    /// The camera's token of the session before is void: it is told another, unless that is being done.
    fn renew_photos(&mut self) {
        if self.photos.is_none() && self.parts.photos.is_some() && !self.tools.asking() {
            self.ask_for_tools();
        }
    }

    /// Somebody wants the list, or calls a tool.
    pub(super) fn asked(&mut self, asking: Asking) {
        match asking {
            Asking::List(answer) => {
                if let Some(known) = self.known_tools() {
                    // one that no longer waits is not told
                    return drop(answer.send(Ok(known.clone())));
                }
                self.tools.wait_for_list(answer);
                if !self.tools.asking() {
                    self.ask_for_tools();
                }
            }
            Asking::Call(call) => {
                self.parts.metrics.tools("call", 1);
                tracing::info!(device = %self.device, tool = call.name, "a tool of the device is called");
                if self.tools_are_things() {
                    return self.call_thing(call);
                }
                // what is asked of a device is done in order
                self.renew_photos();
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
        let known = self.known_tools().filter(|known| !known.is_empty())?;
        Some(Tools::new(known.clone(), self.asking.0.clone()))
    }

    /// What older firmware tells of its things.
    pub(super) fn things_told(&mut self, told: &Value) {
        let complaints = if self.has_mcp { vec!["beside_mcp"] } else { self.things.take(told) };
        for complaint in complaints {
            self.parts.metrics.tools(complaint, 1);
            tracing::debug!(device = %self.device, complaint, "what the device tells of its things is not as it should be");
        }
    }

    fn tools_are_things(&self) -> bool {
        !self.has_mcp && self.things.tools().is_some()
    }

    fn known_tools(&self) -> Option<&Arc<[Tool]>> {
        if self.tools_are_things() { self.things.tools() } else { self.tools.known() }
    }

    fn call_thing(&mut self, call: Call) {
        let Call { name, arguments, answer } = call;
        let answered = match self.things.call(&name, &arguments) {
            Err(error) => Err(error),
            Ok(Called::State(state)) => Ok(state),
            Ok(Called::Command(command)) => match self.out.control(command, Asked::default()) {
                Ok(_) => Ok(TOLD.to_owned()),
                Err(_) => Err(CallError::Gone),
            },
        };
        // one that no longer waits is not told
        drop(answer.send(answered));
    }

    fn send_to_tools(&mut self, request: Value) {
        if self.out.control(Message::Mcp(request), Asked::default()).is_err() {
            self.tools.gone();
        }
    }
}
