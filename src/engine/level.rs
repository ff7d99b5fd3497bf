//! The finish: silence cut off, loudness made even, ends made soft, floats made 16 bit.

/// Loudness of the spoken parts, root mean square of full scale (-20 dB): leaves room for peaks.
const TARGET: f32 = 0.1;
/// No louder or quieter than this factor (6 dB) whatever the target asks for: a whispered word stays one.
const MOST_GAIN: f32 = 2.0;
/// The highest sample after all (-1 dB of full scale).
const CEILING: f32 = 0.89;
/// A piece counts as silence when it is so far (40 dB) below the loudest one.
const SILENCE: f32 = 0.01;
/// Pieces in a second: 10 ms each.
const PIECES: usize = 100;
/// Silence kept before the first sound: an onset is not cut (pieces of 10 ms).
const KEEP_BEFORE: usize = 4;
/// Silence kept after the last sound: sentences are played one after the other (pieces of 10 ms).
const KEEP_AFTER: usize = 12;
/// Fading in and out: 5 ms, as a part of a second.
const FADES: usize = 200;

/// Speech that is being put together.
pub(super) struct Track {
    rate: usize,
    sound: Vec<f32>,
}

impl Track {
    /// Speech of so many samples a second, at least 100.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.max(100) as usize, sound: Vec::new() }
    }

    /// Samples between two stretches of speech besides what is kept of their own silence (300 ms): with that,
    /// sentences are half a second apart.
    fn pause(&self) -> usize {
        self.rate * 3 / 10
    }

    /// One more stretch, without the silence around it. Nothing but silence adds nothing.
    pub(super) fn add(&mut self, sound: &[f32]) {
        let Some(spoken) = spoken(sound, self.rate / PIECES) else { return };
        if !self.sound.is_empty() {
            self.sound.resize(self.sound.len() + self.pause(), 0.0);
        }
        let (count, longest) = (spoken.len(), (self.rate / FADES).max(1));
        let fade = |n: usize| (n + 1).min(count - n).min(longest) as f32 / longest as f32;
        self.sound.extend(spoken.iter().enumerate().map(|(n, sample)| sample * fade(n)));
    }

    /// The samples as they go out.
    #[allow(clippy::cast_possible_truncation, reason = "saturation is what is wanted")]
    pub(super) fn finish(self) -> Vec<i16> {
        let gain = gain(&self.sound, self.rate / PIECES);
        // In range by the ceiling; `as` saturates and makes zero of what is no number.
        self.sound.iter().map(|sample| (sample * gain * 32_767.0) as i16).collect()
    }
}

/// The part in which something is heard, with a breath of silence around it.
fn spoken(sound: &[f32], piece: usize) -> Option<&[f32]> {
    let loudness = loudness(sound, piece);
    let loudest = loudness.iter().copied().fold(0.0, f32::max);
    let heard = |level: &f32| *level > loudest * SILENCE;
    let first = loudness.iter().position(heard)?;
    let last = loudness.iter().rposition(heard)?;
    let start = first.saturating_sub(KEEP_BEFORE) * piece;
    sound.get(start..((last + 1 + KEEP_AFTER) * piece).min(sound.len()))
}

fn loudness(sound: &[f32], piece: usize) -> Vec<f32> {
    sound.chunks(piece).map(root_mean_square).collect()
}

/// What brings the spoken pieces (those within 20 dB of the loudest) to the target.
fn gain(sound: &[f32], piece: usize) -> f32 {
    let mut active = loudness(sound, piece);
    let loudest = active.iter().copied().fold(0.0, f32::max);
    active.retain(|level| *level > loudest * 0.1);
    let peak = sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    (TARGET / root_mean_square(&active)).clamp(1.0 / MOST_GAIN, MOST_GAIN).min(CEILING / peak)
}

fn root_mean_square(values: &[f32]) -> f32 {
    let sum: f32 = values.iter().map(|value| value * value).sum();
    (sum / values.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::large_stack_arrays,
        reason = "lengths of test tones are small and positive"
    )]

    use super::*;

    const RATE: u32 = 24_000;
    const PIECE: usize = 240;

    fn finish(sound: &[f32]) -> Vec<i16> {
        let mut track = Track::new(RATE);
        track.add(sound);
        track.finish()
    }

    fn tone(height: f32, seconds: f32) -> Vec<f32> {
        let count = (seconds * RATE as f32) as usize;
        (0..count).map(|n| height * (n as f32 * 0.05).sin()).collect()
    }

    fn loudness(samples: &[i16]) -> f32 {
        root_mean_square(&samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect::<Vec<_>>())
    }

    #[test]
    fn silence_and_nonsense_leave_nothing() {
        assert!(finish(&[]).is_empty());
        assert!(finish(&[0.0; 5000]).is_empty());
        assert!(finish(&[f32::NAN; 5000]).is_empty());
    }

    #[test]
    fn silence_around_speech_is_cut_to_a_breath() {
        let sound = [vec![0.0; 24_000], tone(0.2, 1.0), vec![0.0; 24_000]].concat();
        let samples = finish(&sound);
        let expected = 24_000 + (KEEP_BEFORE + KEEP_AFTER) * PIECE;
        assert!(samples.len().abs_diff(expected) <= PIECE, "{} samples, not {expected}", samples.len());
    }

    #[test]
    fn between_two_stretches_is_a_pause_and_silence_is_none_of_them() {
        let mut track = Track::new(RATE);
        for sound in [tone(0.2, 0.5), vec![0.0; 9_000], tone(0.2, 0.5)] {
            track.add(&sound);
        }
        assert_eq!(track.finish().len(), 24_000 + 7_200);
    }

    #[test]
    fn quiet_and_loud_voices_come_out_alike_within_the_limit() {
        let quiet = loudness(&finish(&tone(0.1, 1.0)));
        let loud = loudness(&finish(&tone(0.25, 1.0)));
        assert!((quiet / loud - 1.0).abs() < 0.02, "{quiet} and {loud}");
        let whisper = loudness(&finish(&tone(0.01, 1.0)));
        assert!(whisper < quiet / 4.0, "a whisper must stay one: {whisper}");
    }

    #[test]
    fn nothing_clips_and_the_ends_do_not_click() {
        let mut sound = tone(0.05, 1.0);
        sound[12_000] = 5.0;
        let samples = finish(&sound);
        assert!(samples.iter().all(|sample| sample.unsigned_abs() < 30_000));
        let steady = finish(&tone(0.3, 1.0));
        for edge in [&steady[..2], &steady[steady.len() - 2..]] {
            assert!(edge.iter().all(|sample| sample.unsigned_abs() < 200), "{edge:?}");
        }
    }
}
