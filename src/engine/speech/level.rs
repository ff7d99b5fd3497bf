//! The finish: silence cut off, loudness made even, ends made soft, floats made 16 bit.

use super::RATE;

/// Loudness of the spoken parts, root mean square of full scale (-20 dB): leaves room for peaks.
const TARGET: f32 = 0.1;
/// No louder or quieter than this factor (6 dB) whatever the target asks for: a whispered word stays one.
const MOST_GAIN: f32 = 2.0;
/// The highest sample after all (-1 dB of full scale).
const CEILING: f32 = 0.89;
/// A piece of 10 ms counts as silence when it is so far (40 dB) below the loudest one.
const SILENCE: f32 = 0.01;
const PIECE: usize = RATE as usize / 100;
/// Silence kept before the first sound: an onset is not cut (pieces of 10 ms).
const KEEP_BEFORE: usize = 4;
/// Silence kept after the last sound: sentences are played one after the other (pieces of 10 ms).
const KEEP_AFTER: usize = 12;
/// Samples of fading in and out (5 ms).
const FADE: usize = RATE as usize / 200;

/// The samples as they go out. Nothing but silence in: nothing out.
pub(super) fn finish(sound: &[f32]) -> Vec<i16> {
    let loudness: Vec<f32> = sound.chunks(PIECE).map(root_mean_square).collect();
    let loudest = loudness.iter().copied().fold(0.0, f32::max);
    let spoken = |level: &f32| *level > loudest * SILENCE;
    let (Some(first), Some(last)) = (loudness.iter().position(spoken), loudness.iter().rposition(spoken)) else {
        return Vec::new();
    };
    let start = first.saturating_sub(KEEP_BEFORE) * PIECE;
    let end = ((last + 1 + KEEP_AFTER) * PIECE).min(sound.len());
    let gain = gain(sound, &loudness, loudest);
    let count = end - start;
    let sample = |(n, value): (usize, &f32)| {
        let edge = (n + 1).min(count - n).min(FADE) as f32 / FADE as f32;
        // In range by the ceiling; `as` saturates and makes zero of what is no number.
        (value * gain * edge * 32_767.0) as i16
    };
    sound[start..end].iter().enumerate().map(sample).collect()
}

/// What brings the spoken pieces (those within 20 dB of the loudest) to the target.
fn gain(sound: &[f32], loudness: &[f32], loudest: f32) -> f32 {
    let active: Vec<f32> = loudness.iter().copied().filter(|level| *level > loudest * 0.1).collect();
    let level = root_mean_square(&active);
    let peak = sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    (TARGET / level).clamp(1.0 / MOST_GAIN, MOST_GAIN).min(CEILING / peak)
}

fn root_mean_square(values: &[f32]) -> f32 {
    let sum: f32 = values.iter().map(|value| value * value).sum();
    (sum / values.len().max(1) as f32).sqrt()
}
