//! Whole turns through a whole gateway in this process, with test providers that answer at once: what is
//! left is what the gateway itself adds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::providers::{Delays, FixedChat, FixedTranscriber, ToneSynthesizer};
use super::script::{Script, ScriptError};
use crate::audio::wav::{self, WavError};
use crate::domain::UP_RATE;

/// The words that the test transcriber hears.
pub const WORDS: &str = "why is the sky blue";
/// What the test model answers: about two seconds of tone.
pub const REPLY: &str = "The sky is blue because air scatters blue light the most.";

/// The providers of a bench.
pub type Made = (Arc<FixedTranscriber>, Arc<FixedChat>, Arc<ToneSynthesizer>);

/// Those that take so long.
pub fn providers(delays: Delays) -> Made {
    (
        Arc::new(FixedTranscriber { words: WORDS.to_owned(), delay: delays.transcribe }),
        Arc::new(FixedChat { pieces: vec![REPLY.to_owned()], delay: delays.first_token }),
        Arc::new(ToneSynthesizer { delay: delays.first_audio, word_ms: 180 }),
    )
}

/// The question of a bench: the WAV, or two seconds of a made-up voice.
pub fn script(wav: Option<&Path>) -> Result<Script, ScriptError> {
    match wav {
        Some(wav) => Script::from_wav(wav),
        None => Script::from_pcm(&voice(Duration::from_secs(2)), "a made-up voice"),
    }
}

/// The made-up voice as a file.
pub fn write_voice(path: &Path, length: Duration) -> Result<(), WavError> {
    write(path, &voice(length))
}

/// What is said in a file, 16 kHz.
pub fn read(path: &Path) -> Result<Vec<i16>, WavError> {
    wav::read(path)
}

/// What is said in a bench as a file.
pub fn write(path: &Path, pcm: &[i16]) -> Result<(), WavError> {
    wav::write(path, UP_RATE, pcm)
}

/// A buzz with formants that comes and goes: every voice activity detector hears speech begin in it. Silero hears too
/// little of it for a barge-in; the built-in detector is content.
pub fn voice(length: Duration) -> Vec<i16> {
    let rate = f64::from(UP_RATE);
    let count = u32::try_from(length.as_millis()).unwrap_or(u32::MAX).saturating_mul(UP_RATE / 1_000);
    let sample = |n: u32| {
        let t = f64::from(n) / rate;
        let pitch = 120.0 + 20.0 * (t * 3.0).sin();
        let sung: f64 = (1..=24)
            .map(|harmonic| {
                let f = pitch * f64::from(harmonic);
                let formant = |centre: f64, width: f64| (-((f - centre) / width).powi(2)).exp();
                let gain = formant(600.0, 150.0) + 0.7 * formant(1_200.0, 200.0) + 0.4 * formant(2_500.0, 250.0);
                gain * (std::f64::consts::TAU * f * t).sin()
            })
            .sum();
        let syllable = 0.3 + 0.7 * (std::f64::consts::TAU * 2.0 * t).sin().abs();
        #[allow(clippy::cast_possible_truncation, reason = "the sum of gains stays below 3, 13,500 in all")]
        let sample = (sung * syllable * 4_500.0) as i16;
        sample
    };
    (0..count).map(sample).collect()
}
