//! How loud audio is, and whether it clips.

#![allow(clippy::cast_possible_truncation, reason = "samples are computed as floats and are in range; `as` saturates")]

/// Root mean square of 16-bit samples, 0 to 32,768; 0 of none.
pub fn rms(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let sum: u64 = samples.iter().map(|s| u64::from(i32::from(*s).unsigned_abs().pow(2))).sum();
    (sum as f64 / samples.len() as f64).sqrt() as f32
}

/// A level in dB relative to full scale (a full-scale square wave is 0); -100 of silence.
pub fn dbfs(rms: f32) -> f32 {
    (20.0 * (rms.max(f32::MIN_POSITIVE) / 32_768.0).log10()).max(-100.0)
}

/// The level of a stretch of audio, summed up piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    sum: u64,
    samples: u64,
    peak: u16,
    clipped: u64,
}

impl Level {
    /// Takes the next samples.
    pub fn add(&mut self, samples: &[i16]) {
        for sample in samples {
            let size = sample.unsigned_abs();
            self.sum = self.sum.saturating_add(u64::from(size) * u64::from(size));
            self.peak = self.peak.max(size);
            self.clipped += u64::from(size >= 32_767);
        }
        self.samples += samples.len() as u64;
    }

    /// Root mean square, dB relative to full scale.
    pub fn rms_db(&self) -> f32 {
        dbfs((self.sum as f64 / self.samples.max(1) as f64).sqrt() as f32)
    }

    /// Greatest sample, dB relative to full scale.
    pub fn peak_db(&self) -> f32 {
        dbfs(f32::from(self.peak))
    }

    /// Share of samples at full scale, 0 to 1: above a thousandth the microphone is too loud.
    pub fn clipping(&self) -> f32 {
        self.clipped as f32 / self.samples.max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_a_level_too() {
        assert!((rms(&[]) - 0.0).abs() < f32::EPSILON);
        assert!((dbfs(0.0) + 100.0).abs() < f32::EPSILON);
        assert!((Level::default().rms_db() + 100.0).abs() < f32::EPSILON);
    }

    #[test]
    fn a_sine_at_half_scale_is_9_db_down_and_does_not_clip() {
        let sine: Vec<i16> = (0..16_000).map(|n| (16_384.0 * (f64::from(n) * 0.1).sin()) as i16).collect();
        let mut level = Level::default();
        sine.chunks(960).for_each(|chunk| level.add(chunk));
        assert!((level.rms_db() + 9.03).abs() < 0.05, "{}", level.rms_db());
        assert!((level.peak_db() + 6.02).abs() < 0.05, "{}", level.peak_db());
        assert!(level.clipping() < f32::EPSILON);
    }

    #[test]
    fn clipping_is_the_share_at_either_end() {
        let mut level = Level::default();
        level.add(&[i16::MIN, i16::MAX, 0, 0]);
        assert!((level.clipping() - 0.5).abs() < f32::EPSILON);
        assert!(level.peak_db().abs() < 0.001);
    }
}
