//! The mel filterbank of Whisper and of what hears as it does, computed instead of shipped.
//!
//! Triangles on Slaney's scale, each of area 1 (as librosa's `filters.mel(sr=16000, n_fft=400)`).

/// Samples a second.
const RATE: f64 = 16_000.0;
/// Length of the transform in samples.
const WINDOW: usize = 400;
/// Bins of the transform: half of it and the constant.
pub const BINS: usize = WINDOW / 2 + 1;

/// `mels` rows of [`BINS`] weights.
pub fn filterbank(mels: usize) -> Vec<f32> {
    let top = to_mel(RATE / 2.0);
    let edges: Vec<f64> = (0..mels + 2).map(|i| to_hertz(top * i as f64 / (mels + 1) as f64)).collect();
    let mut rows = Vec::with_capacity(mels * BINS);
    for corner in edges.windows(3) {
        let (low, peak, high) = (corner[0], corner[1], corner[2]);
        let area = 2.0 / (high - low);
        for bin in 0..BINS {
            let hertz = RATE * bin as f64 / WINDOW as f64;
            let weight = ((hertz - low) / (peak - low)).min((high - hertz) / (high - peak)).max(0.0) * area;
            #[allow(clippy::cast_possible_truncation, reason = "the file holds 32 bit floats")]
            rows.push(weight as f32);
        }
    }
    rows
}

/// Slaney's scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998).
const LINEAR: f64 = 200.0 / 3.0;
const KNEE_HERTZ: f64 = 1_000.0;
const KNEE_MEL: f64 = KNEE_HERTZ / LINEAR;

/// 27 steps from 1 kHz to 6.4 kHz.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn to_mel(hertz: f64) -> f64 {
    if hertz < KNEE_HERTZ { hertz / LINEAR } else { KNEE_MEL + (hertz / KNEE_HERTZ).ln() / log_step() }
}

fn to_hertz(mel: f64) -> f64 {
    if mel < KNEE_MEL { mel * LINEAR } else { KNEE_HERTZ * ((mel - KNEE_MEL) * log_step()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_has_area_one_and_they_cover_the_band() {
        let rows = filterbank(80);
        assert_eq!(rows.len(), 80 * BINS);
        // The high filters are wide enough for the sum over bins (40 Hz each) to be near the integral.
        for row in rows.chunks(BINS).skip(40) {
            let area: f32 = row.iter().sum::<f32>() * 40.0;
            assert!((area - 1.0).abs() < 0.1, "{area}");
        }
        let peaks: Vec<usize> = rows
            .chunks(BINS)
            .map(|row| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i))
            .collect();
        assert!(peaks.is_sorted() && peaks[79] > 180, "{peaks:?}");
    }

    #[test]
    fn the_known_first_weights_come_out() {
        // librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)[0, 1] and [1, 1], as in Whisper's mel_filters.npz.
        let rows = filterbank(80);
        assert!((rows[1] - 0.024_862_59).abs() < 1e-6, "{}", rows[1]);
        assert!((rows[BINS + 1] - 0.001_990_82).abs() < 1e-6, "{}", rows[BINS + 1]);
    }
}
