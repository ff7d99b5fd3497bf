//! What a session tells of itself to whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::state::State;
use crate::domain::{DeviceId, ListenMode, SessionId, Wall};

/// A session at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub session: SessionId,
    /// What it does.
    pub state: State,
    /// What it speaks: [`crate::domain::dialect`].
    pub dialect: &'static str,
    /// Who ends a turn.
    pub mode: ListenMode,
    /// Silence that ends a turn of who speaks there, in ms, where the gateway says when: learnt from their pauses.
    pub silence_ms: u64,
    /// Turns so far.
    pub turns: u32,
    /// The device has a live link.
    pub online: bool,
    /// When it was opened.
    pub opened: Wall,
    /// When the device was last heard of.
    pub last_seen: Wall,
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
