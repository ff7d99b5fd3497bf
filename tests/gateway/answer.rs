//! What a device is told of one turn.

use voxgate::domain::{ControlKind, Downlink, ListenMode, Message};
use voxgate::sim::device::Device;
use voxgate::sim::script::Script;

use super::PATIENCE;

/// A turn as the device sees it.
#[derive(Debug, Default)]
pub struct Answer {
    /// What was understood.
    pub heard: Option<String>,
    /// The reply as text.
    pub reply: String,
    /// Codes of errors.
    pub errors: Vec<String>,
    /// Frames of speech.
    pub frames: usize,
    /// Speech began and ended.
    pub spoken: bool,
}

impl Answer {
    /// Takes a downlink; true when the turn is over: speech has ended, or nothing was understood.
    pub fn take(&mut self, downlink: Downlink) -> bool {
        match downlink {
            Downlink::Audio(_) => self.frames += 1,
            Downlink::Control { message, .. } => match message {
                Message::Stt { text, .. } => {
                    let nothing = text.is_empty();
                    self.heard = Some(text);
                    return nothing;
                }
                Message::Reply { text } => self.reply = text,
                Message::Error { code, .. } => self.errors.push(code),
                Message::TtsStop { .. } => {
                    self.spoken = true;
                    return true;
                }
                _ => {}
            },
        }
        false
    }

    /// It was answered as it should be: with this text, spoken, without an error.
    #[track_caller]
    pub fn must_be(&self, reply: &str) {
        let good = self.reply == reply && self.spoken && self.frames > 0 && self.errors.is_empty();
        assert!(good, "not {reply:?}, but {self:?}");
    }
}

/// What a device is told until the turn is over.
pub async fn answer(device: &mut Device) -> Answer {
    let mut answer = Answer::default();
    while !answer.take(device.next(PATIENCE, "answer").await.unwrap().downlink) {}
    answer
}

/// Types a question.
pub async fn ask(device: &mut Device, text: &str) -> Answer {
    device.control(None, ControlKind::Text(text.to_owned())).await.unwrap();
    answer(device).await
}

/// Speaks a script as fast as the socket takes it: what it says is what counts, not when.
pub async fn speak(device: &mut Device, script: &Script, mode: ListenMode) {
    device.control(None, ControlKind::ListenStart { mode: Some(mode), n: None }).await.unwrap();
    // in auto mode a second of silence ends the turn
    let silence = if mode == ListenMode::Manual { 0 } else { 17 };
    for n in 0..script.frames.len() + silence {
        device.audio(script.frame(n)).await.unwrap();
    }
    if mode == ListenMode::Manual {
        device.control(None, ControlKind::ListenStop).await.unwrap();
    }
}
