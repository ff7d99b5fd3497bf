//! WAV files: in as 16 kHz mono, out as they are.

#![allow(clippy::cast_possible_truncation, reason = "samples are computed as floats and are in range; `as` saturates")]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::resample::{ResampleError, resample};
use crate::domain::UP_RATE;

/// The longest file that is read, seconds.
const MAX_SECONDS: u32 = 1_800;

/// Why a WAV file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// No such file, or not readable.
    #[error("cannot open: {0}")]
    Open(#[from] std::io::Error),
    /// The file is not a WAV file that we know.
    #[error("no usable wav file: {0}")]
    Format(#[from] hound::Error),
    /// Its format is not PCM of 8 to 32 bit or 32-bit float.
    #[error("{bits}-bit samples in {channels} channels are not supported")]
    Unsupported {
        /// Bits a sample.
        bits: u16,
        /// Channels.
        channels: u16,
    },
    /// Longer than half an hour.
    #[error("longer than {MAX_SECONDS} s")]
    TooLong,
    /// Its rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// Reads a file of any rate and up to 16 channels as 16 kHz mono.
pub fn read(path: &Path) -> Result<Vec<i16>, WavError> {
    read_from(BufReader::new(File::open(path)?))
}

/// Reads WAV bytes as 16 kHz mono.
pub fn read_from(source: impl Read) -> Result<Vec<i16>, WavError> {
    let reader = WavReader::new(source)?;
    let spec = reader.spec();
    if spec.channels == 0 || spec.channels > 16 {
        return Err(WavError::Unsupported { bits: spec.bits_per_sample, channels: spec.channels });
    }
    let mono = match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Int, bits @ 8..=32) => {
            let scale = 2f32.powi(i32::from(bits) - 1);
            mix(reader.into_samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / scale)), spec)?
        }
        (SampleFormat::Float, 32) => mix(reader.into_samples::<f32>(), spec)?,
        (_, bits) => return Err(WavError::Unsupported { bits, channels: spec.channels }),
    };
    Ok(resample(spec.sample_rate, UP_RATE, &mono)?)
}

/// The mean of the channels. Grows with what is there, not with what the header claims.
fn mix(samples: impl Iterator<Item = Result<f32, hound::Error>>, spec: WavSpec) -> Result<Vec<i16>, WavError> {
    let channels = usize::from(spec.channels);
    let limit = spec.sample_rate as usize * MAX_SECONDS as usize;
    let mut mono = Vec::new();
    let (mut sum, mut seen) = (0.0f32, 0);
    for sample in samples {
        sum += sample?;
        seen += 1;
        if seen == channels {
            mono.push((sum / channels as f32 * 32_768.0).round() as i16);
            (sum, seen) = (0.0, 0);
        }
        if mono.len() > limit {
            return Err(WavError::TooLong);
        }
    }
    Ok(mono)
}

/// Writes mono 16-bit samples at `rate`.
pub fn write(path: &Path, rate: u32, samples: &[i16]) -> Result<(), WavError> {
    let spec = WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut writer = WavWriter::create(path, spec)?;
    for sample in samples {
        writer.write_sample(*sample)?;
    }
    Ok(writer.finalize()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use std::io::Cursor;

    use super::*;
    use crate::audio::testing::{Dice, snr_db};

    fn wave(n: u32, rate: u32) -> f32 {
        0.4 * (n as f32 * 500.0 * std::f32::consts::TAU / rate as f32).sin()
    }

    fn file(spec: WavSpec) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for n in 0..spec.sample_rate / 2 {
            for channel in 0..spec.channels {
                // The channels differ by a constant that their mean cancels.
                let sample = wave(n, spec.sample_rate) + if channel == 0 { 0.1 } else { -0.1 };
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(sample).unwrap(),
                    SampleFormat::Int => {
                        writer.write_sample((sample * 2f32.powi(i32::from(spec.bits_per_sample) - 1)) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_usual_format_becomes_16_khz_mono() {
        let want: Vec<i16> = (0..8_000).map(|n| (wave(n, 16_000) * 32_768.0) as i16).collect();
        for (rate, bits, sample_format) in [
            (16_000, 16, SampleFormat::Int),
            (44_100, 16, SampleFormat::Int),
            (48_000, 24, SampleFormat::Int),
            (22_050, 32, SampleFormat::Float),
            (16_000, 32, SampleFormat::Int),
        ] {
            let read =
                read_from(&file(WavSpec { channels: 2, sample_rate: rate, bits_per_sample: bits, sample_format })[..])
                    .unwrap();
            assert!(read.len().abs_diff(8_000) <= 1, "{rate} {bits}: {}", read.len());
            let fit = snr_db(&want[400..7_600], &read[400..7_600], 0);
            assert!(fit > 40.0, "{rate} {bits}: {fit:.1} dB");
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let samples: Vec<i16> = (0..1_000).map(|n| n * 3).collect();
        write(&path, 16_000, &samples).unwrap();
        assert_eq!(read(&path).unwrap(), samples);
        assert!(matches!(read(&folder.path().join("b.wav")), Err(WavError::Open(_))));
    }

    #[test]
    fn broken_files_are_errors() {
        let good =
            file(WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int });
        for cut in 0..good.len().min(200) {
            assert!(read_from(&good[..cut]).is_err() || cut >= 44, "cut at {cut}");
        }
        let mut dice = Dice(3);
        for _ in 0..2_000 {
            let mut bad = good[..400].to_vec();
            let at = dice.roll() as usize % 48;
            bad[at] = dice.roll() as u8;
            read_from(&bad[..]).ok();
        }
    }
}
