//! `[session]`: lanes, timers, conversation.

use serde::{Deserialize, Serialize};

use super::turn::TtsMode;
use crate::domain::{ListenMode, Problem, Span};

/// `[session]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How a turn ends when the device does not say: "auto" (the gateway decides), "manual" (`listen_stop`) or "realtime".
    pub mode: ListenMode,
    /// How answers reach the device: "audio" (Opus frames) or "device_text" (the device speaks the text).
    pub tts_mode: TtsMode,
    /// Audio packets that wait for a session; the oldest is dropped when there are more.
    pub audio_lane: usize,
    /// Other messages that wait for a session; when there are more, that one socket is not read.
    pub control_lane: usize,
    /// Tokens of conversation that the chat model is given (4 letters, or 1 Chinese character, a token).
    pub history_tokens: usize,
    /// How often a device shall send a heartbeat, told in `hello_ack`.
    pub heartbeat: Span,
    /// When audio stops coming in mid-utterance for so long, without a `listen_stop`, the utterance is over: what was
    /// heard is answered. "0s" waits for ever. Default "5s".
    pub audio_stall: Span,
    /// A session without a link is put to rest after this; what is to be remembered is in the store.
    pub rest_after: Span,
    /// How soon a sequence mark that no durable message carries is written.
    pub mark_delay: Span,
    /// A typed turn that could not be answered within this is closed as interrupted.
    pub text_expires: Span,
    /// A reboot command that could not be delivered within this is dropped.
    pub reboot_expires: Span,
    /// What must reach a device is sent to it again when it stays connected and has not acknowledged it after so long; each
    /// time the wait doubles, up to five minutes. "0s" sends it again only after a reconnect. Default "20s".
    pub resend_after: Span,
    /// Conversations with stock xiaozhi firmware.
    pub xiaozhi: super::manners::Settings,
    /// Conversations with OpenCane's devices.
    pub opencane: OpenCane,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: ListenMode::Auto,
            tts_mode: TtsMode::Audio,
            audio_lane: 128,
            control_lane: 32,
            history_tokens: 512,
            heartbeat: Span::secs(30),
            audio_stall: Span::secs(5),
            rest_after: Span::secs(60),
            mark_delay: Span::secs(1),
            text_expires: Span::secs(60),
            reboot_expires: Span::secs(60),
            resend_after: Span::secs(20),
            xiaozhi: super::manners::Settings::default(),
            opencane: OpenCane::default(),
        }
    }
}

/// `[session.opencane]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenCane {
    /// The session of a device that says nothing for so long, not even a heartbeat, is closed, and the device is told. "0s"
    /// never closes it. Default "90s".
    pub silent_after: Span,
    /// What is asked about a photo that comes without a question.
    pub question: String,
}

impl Default for OpenCane {
    fn default() -> Self {
        Self { silent_after: Span::secs(90), question: "What is in front of me, and is anything in my way?".into() }
    }
}

impl OpenCane {
    fn check(&self, path: &str) -> Option<Problem> {
        let what = "a photo without a question would be asked nothing";
        self.question
            .trim()
            .is_empty()
            .then(|| Problem::new(format!("{path}.question"), what, "write what is asked about it"))
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value, least, most) in [
            ("audio_lane", self.audio_lane, 16, 4_096),
            ("control_lane", self.control_lane, 4, 1_024),
            ("history_tokens", self.history_tokens, 0, 1_000_000),
        ] {
            if !(least..=most).contains(&value) {
                let remedy = format!("use {least} to {most}");
                problems.push(Problem::new(format!("{path}.{key}"), format!("{value} is out of range"), remedy));
            }
        }
        problems.extend(self.xiaozhi.check(&format!("{path}.xiaozhi")));
        problems.extend(self.opencane.check(&format!("{path}.opencane")));
        problems
    }
}
