//! Calls for help: confirmed by the gateway itself, at once, whatever else works; durable, and told to others.
//!
//! No provider is asked. Who is told outside of the gateway, and how often it is tried, is behind a trait.

use serde_json::json;
use tokio::time::Instant;

use super::actor::Actor;
use super::outgoing::Asked;
use super::settle::Owed;
use super::turn::Input;
use crate::domain::{EventKind, HapticPattern, Level, Message};
use crate::lifelog::Kind;

/// Longest kind that is written down, characters.
const KIND: usize = 64;
/// Longest text that is written down, characters.
const TEXT: usize = 1_000;

/// Who tells others of calls for help.
pub trait Alarm: Send + Sync {
    /// One more is in the inbox, durable.
    fn raised(&self);
}

impl Actor {
    /// The device trembles and says that it was heard, before anything is written or anybody is asked. Then the call is
    /// written down, together with what is still to be told to others.
    pub(super) fn take_sos(&mut self, kind: &str, text: Option<&str>, owed: Owed) {
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let kind = cut(kind, KIND);
        tracing::warn!(device = %self.device, kind, "sos");
        // a device without a link feels nothing: it will be told when it sends the call again
        let _ = self.out.control(Message::Haptic { pattern: HapticPattern::Sos, times: 1 }, Asked::default());
        self.start_turn(Input::Sos, Instant::now(), None);
        let mut body = json!({"sos": kind, "text": text.map(|text| cut(text, TEXT)), "level": Level::P0.name()});
        if let Some((at, location)) = self.telemetry.location() {
            body["location"] = location.clone();
            body["location_at"] = json!(at.0);
        }
        self.tell(EventKind::Alert, body.clone());
        let alarm = self.parts.alarm.clone();
        let mut batch = self.book.entry(Kind::Alert, &self.live, body.clone());
        if alarm.is_some() {
            body["session_id"] = json!(self.live.id);
            batch.extend(self.book.inbox_sos(body));
        }
        self.commit_and_raise(batch, owed, alarm);
    }
}
