//! Frames as FunASR's models take them: seven of the filterbank in one, every sixth, and each number brought to a mean of
//! zero and a spread of one by what the training saw.

use super::fbank::BINS;

/// What a model says of its frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Frames of the filterbank in one of the model's.
    window: usize,
    /// The next one begins so many later.
    step: usize,
    negative_mean: Vec<f32>,
    inverse_spread: Vec<f32>,
}

impl Shape {
    /// Reads what the notes of the network say; the error names the note.
    pub fn read<'a>(note: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let text = |key: &str| {
            note(key)
                .ok_or_else(|| format!("it has no note {key}: exports of sherpa-onnx carry it, FunASR's own do not"))
        };
        let whole = |key: &str| -> Result<usize, String> {
            let value = text(key)?.trim().parse().ok().filter(|value| (1..=32).contains(value));
            value.ok_or_else(|| format!("its note {key} is not 1 to 32"))
        };
        let (window, step) = (whole("lfr_window_size")?, whole("lfr_window_shift")?);
        let list = |key: &str| -> Result<Vec<f32>, String> {
            let numbers = text(key)?.split(',').map(|number| number.trim().parse::<f32>());
            let numbers: Vec<f32> = numbers.collect::<Result<_, _>>().map_err(|e| format!("its note {key}: {e}"))?;
            if numbers.len() == window * BINS && numbers.iter().all(|number| number.is_finite()) {
                Ok(numbers)
            } else {
                Err(format!("its note {key} has {} numbers, not {}", numbers.len(), window * BINS))
            }
        };
        Ok(Self { window, step, negative_mean: list("neg_mean")?, inverse_spread: list("inv_stddev")? })
    }

    /// Numbers in a frame.
    pub fn width(&self) -> usize {
        self.window * BINS
    }

    /// The model's frames, one after the other. The first frame of the filterbank stands three times more before itself
    /// (half a window) and the last fills the last window, as in training.
    pub fn frames(&self, bank: &[f32]) -> Vec<f32> {
        let rows: Vec<&[f32]> = bank.chunks_exact(BINS).collect();
        let Some(last) = rows.len().checked_sub(1) else { return Vec::new() };
        let before = (self.window - 1) / 2;
        let mut frames = Vec::with_capacity(rows.len().div_ceil(self.step) * self.width());
        for begin in (0..rows.len()).step_by(self.step) {
            for n in begin..begin + self.window {
                frames.extend_from_slice(rows[n.saturating_sub(before).min(last)]);
            }
        }
        for frame in frames.chunks_exact_mut(self.width()) {
            for ((value, mean), spread) in frame.iter_mut().zip(&self.negative_mean).zip(&self.inverse_spread) {
                *value = (*value + mean) * spread;
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn notes(window: &str, step: &str, mean: String, spread: String) -> Result<Shape, String> {
        let (mean, spread) = (mean.leak() as &str, spread.leak() as &str);
        let (window, step) = (window.to_owned().leak() as &str, step.to_owned().leak() as &str);
        Shape::read(move |key| match key {
            "lfr_window_size" => Some(window),
            "lfr_window_shift" => Some(step),
            "neg_mean" => Some(mean).filter(|text| !text.is_empty()),
            "inv_stddev" => Some(spread),
            _ => None,
        })
    }

    fn list(value: &str, count: usize) -> String {
        vec![value; count].join(",")
    }

    #[test]
    fn seven_frames_are_one_and_the_ends_are_filled_with_the_first_and_the_last() {
        let shape = notes("7", "6", list("1", 560), list("2", 560)).unwrap();
        // frame n of the bank is all n
        let bank: Vec<f32> = (0..10_u8).flat_map(|n| vec![f32::from(n); BINS]).collect();
        let frames = shape.frames(&bank);
        let first: Vec<f32> = frames.chunks(BINS).map(|row| row[0] / 2.0 - 1.0).collect();
        assert_eq!(first, [0., 0., 0., 0., 1., 2., 3., 3., 4., 5., 6., 7., 8., 9.]);
        let more: Vec<f32> = shape.frames(&bank[..BINS]).chunks(BINS).map(|row| row[0] / 2.0 - 1.0).collect();
        assert_eq!(more, [0.0; 7]);
        assert!(shape.frames(&[]).is_empty());
    }

    #[test]
    fn notes_that_are_missing_or_wrong_are_named() {
        let good = || list("0.5", 560);
        for (told, key) in [
            (notes("0", "6", good(), good()), "lfr_window_size"),
            (notes("7", "99", good(), good()), "lfr_window_shift"),
            (notes("7", "6", list("0.5", 80), good()), "neg_mean"),
            (notes("7", "6", String::new(), good()), "neg_mean"),
            (notes("7", "6", good(), list("x", 560)), "inv_stddev"),
            (notes("7", "6", good(), list("inf", 560)), "inv_stddev"),
        ] {
            assert!(told.unwrap_err().contains(key), "{key}");
        }
    }
}
