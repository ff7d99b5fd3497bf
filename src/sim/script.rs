//! What a simulated person says: a WAV, encoded once to Opus frames, so that the load generator's own
//! encoder is not what is measured.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::audio::opus::{Encoder, Encoding};
use crate::audio::wav;
use crate::domain::{AudioPacket, Codec, UP_RATE};

/// Length of an uplink frame, unless a device wants another.
pub const FRAME_MS: u32 = 60;

/// Frames to play in real time.
#[derive(Debug, Clone)]
pub struct Script {
    /// Length of one frame, ms.
    pub frame_ms: u32,
    /// One Opus packet each.
    pub frames: Vec<Bytes>,
    /// Of these: how many until the last sound.
    pub voiced: usize,
    /// Frames of silence, to be sent after the speech for as long as the gateway listens.
    pub silence: Vec<Bytes>,
}

/// Why a script cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read as WAV.
    #[error("{0}: {1}")]
    Wav(String, String),
    /// There is nothing in it.
    #[error("{0}: no sound in it")]
    Silent(String),
    /// The codec refused.
    #[error("the Opus encoder failed: {0}")]
    Encoder(String),
}

impl Script {
    /// Reads a WAV of any rate and channel count.
    pub fn from_wav(path: &Path) -> Result<Self, ScriptError> {
        Self::from_wav_in(path, FRAME_MS)
    }

    /// The same in frames of 20, 40 or 60 ms.
    pub fn from_wav_in(path: &Path, frame_ms: u32) -> Result<Self, ScriptError> {
        let name = path.display().to_string();
        let pcm = wav::read(path).map_err(|error| ScriptError::Wav(name.clone(), error.to_string()))?;
        Self::in_frames(&pcm, &name, frame_ms)
    }

    /// From 16 kHz mono samples.
    pub fn from_pcm(pcm: &[i16], name: &str) -> Result<Self, ScriptError> {
        Self::in_frames(pcm, name, FRAME_MS)
    }

    /// The same in frames of 20, 40 or 60 ms.
    pub fn in_frames(pcm: &[i16], name: &str, frame_ms: u32) -> Result<Self, ScriptError> {
        let frame = (UP_RATE * frame_ms / 1000) as usize;
        let loudest = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        if loudest < 200 {
            return Err(ScriptError::Silent(name.to_owned()));
        }
        let last_sound = pcm.iter().rposition(|sample| sample.unsigned_abs() > loudest / 50).unwrap_or(0);
        let mut encoder =
            Encoder::new(Encoding { frame_ms, ..Encoding::up() }).map_err(|e| ScriptError::Encoder(e.to_string()))?;
        let mut encode =
            |samples: &[i16]| encoder.encode(samples).map(Bytes::from).map_err(|e| ScriptError::Encoder(e.to_string()));
        let mut frames = Vec::new();
        for chunk in pcm[..=last_sound].chunks(frame) {
            let mut samples = chunk.to_vec();
            samples.resize(frame, 0);
            frames.push(encode(&samples)?);
        }
        let voiced = frames.len();
        let silence = (0..16).map(|_| encode(&vec![0; frame])).collect::<Result<_, _>>()?;
        Ok(Self { frame_ms, frames, voiced, silence })
    }

    /// How long the question lasts.
    pub fn length(&self) -> Duration {
        Duration::from_millis(u64::from(self.frame_ms)) * u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    /// Frame `n` of the speech, or of the silence after it.
    pub fn frame(&self, n: usize) -> AudioPacket {
        let payload = match self.frames.get(n) {
            Some(frame) => frame.clone(),
            None => self.silence[(n - self.frames.len()) % self.silence.len()].clone(),
        };
        AudioPacket {
            codec: Codec::Opus,
            seq: 0,
            ts_ms: u32::try_from(n).unwrap_or(0).wrapping_mul(self.frame_ms),
            last: false,
            speech: None,
            listen: 0,
            payload,
        }
    }
}
