//! What a session tells of itself to whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::domain::{DeviceId, ListenMode, SessionId, Wall};

/// The states of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is going on.
    Ready,
    /// The microphone is heard.
    Listening,
    /// A turn runs, nothing is spoken yet.
    Thinking,
    /// A turn is being spoken.
    Speaking,
    /// The session is over.
    Closed,
}

/// A session at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub session: SessionId,
    /// What it does.
    pub state: State,
    /// Who ends a turn.
    pub mode: ListenMode,
    /// Turns so far.
    pub turns: u32,
    /// The device has a live link.
    pub online: bool,
    /// When it was opened.
    pub opened: Wall,
}

/// An [`Info`] that the actor writes and others read.
#[derive(Debug, Clone)]
pub struct SharedInfo(Arc<Mutex<Info>>);

impl SharedInfo {
    /// Shares `info`.
    pub fn new(info: Info) -> Self {
        Self(Arc::new(Mutex::new(info)))
    }

    /// Reads it.
    pub fn read(&self) -> Info {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn write(&self, change: impl FnOnce(&mut Info)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
