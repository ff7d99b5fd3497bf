//! An utterance as a file in a form, as services of transcription take it: as samples, or as Ogg Opus, which is a tenth of it.

use bytes::Bytes;

use crate::audio::opus::{Encoder, Encoding, OpusError};
use crate::domain::{OpusFrame, UP_RATE};
use crate::wire::ogg;

/// Separates the parts of a form; no sound and no name contains it.
const BOUNDARY: &str = "voxgate-6f1d2c8e4b7a4f0d9c55";
/// So many samples at 16 kHz a decoder is behind: what was said last must still come out of it.
const BEHIND: usize = 104;

/// The kind of a form.
pub(super) fn kind() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// A file of sound.
#[derive(Debug, Clone)]
pub(super) struct File {
    name: &'static str,
    mime: &'static str,
    bytes: Bytes,
}

impl File {
    /// RIFF, 16 kHz, mono, 16 bit.
    pub(super) fn wav(pcm: &[i16]) -> Self {
        let mut bytes = wav_header(pcm.len());
        bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
        Self { name: "speech.wav", mime: "audio/wav", bytes: bytes.into() }
    }

    /// Ogg Opus, 24 kbit/s. Milliseconds of work: for a codec thread.
    pub(super) fn ogg(pcm: &[i16]) -> Result<Self, OpusError> {
        let encoding = Encoding::up();
        let (mut encoder, length) = (Encoder::new(encoding)?, encoding.frame_samples());
        let mut frames = Vec::with_capacity(pcm.len() / length + 1);
        let mut padded = pcm.to_vec();
        padded.resize((pcm.len() + BEHIND).next_multiple_of(length), 0);
        for frame in padded.chunks_exact(length) {
            frames.push(OpusFrame { packet: encoder.encode(frame)?.into(), ms: encoding.frame_ms });
        }
        Ok(Self { name: "speech.ogg", mime: "audio/ogg", bytes: ogg::file(&frames, 1, UP_RATE) })
    }

    /// A form with it and these fields.
    pub(super) fn form(&self, fields: &[(&str, Option<&str>)]) -> Bytes {
        let mut form = Vec::with_capacity(self.bytes.len() + 1_024);
        for (name, value) in fields {
            // A line break in a value would end the field.
            if let Some(value) = value.filter(|value| !value.contains(['\r', '\n'])) {
                let part =
                    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
                form.extend_from_slice(part.as_bytes());
            }
        }
        let Self { name, mime, bytes } = self;
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {mime}\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(bytes);
        form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        form.into()
    }
}

fn wav_header(samples: usize) -> Vec<u8> {
    let bytes = u32::try_from(samples * 2).unwrap_or(u32::MAX - 36);
    let mut header = Vec::with_capacity(44 + samples * 2);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(bytes + 36).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend_from_slice(&UP_RATE.to_le_bytes());
    header.extend_from_slice(&(UP_RATE * 2).to_le_bytes());
    header.extend_from_slice(b"\x02\0\x10\0data");
    header.extend_from_slice(&bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_wav_that_is_sent_reads_back() {
        let pcm = [1_i16, -2, 3];
        let wav = File::wav(&pcm).bytes;
        let reader = hound::WavReader::new(std::io::Cursor::new(wav)).map_err(|e| e.to_string());
        let read = reader.map(|reader| (reader.spec(), reader.into_samples::<i16>().flatten().collect::<Vec<_>>()));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        assert_eq!(read, Ok((spec, pcm.to_vec())));
    }

    /// So many seconds of something that changes as speech does: a tone that glides, at the pace of syllables.
    fn voice(seconds: f64) -> Vec<i16> {
        let rate = f64::from(UP_RATE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the range by what it is made of"
        )]
        (0..(seconds * rate) as u32)
            .map(|n| {
                let t = f64::from(n) / rate;
                let tone = (t * 2.0 * std::f64::consts::PI * (180.0 + 60.0 * (t * 3.0).sin())).sin();
                (tone * (t * 13.0).sin().abs() * 12_000.0) as i16
            })
            .collect()
    }

    #[test]
    fn ogg_is_a_tenth_of_wav_and_holds_all_of_the_utterance() {
        for seconds in [0.0, 0.03, 1.0, 5.0] {
            let pcm = voice(seconds);
            let ogg = File::ogg(&pcm).unwrap().bytes;
            assert!(ogg.starts_with(b"OggS") && ogg.windows(8).any(|part| part == b"OpusHead"));
            // the position of the last page, at 48 kHz: not before the end of what was said, a packet behind it at most
            let last = ogg.windows(4).rposition(|part| part == b"OggS").unwrap();
            let end = u64::from_le_bytes(ogg[last + 6..last + 14].try_into().unwrap()) / 3;
            let said = pcm.len() as u64;
            assert!((said + BEHIND as u64..=said + 960 + BEHIND as u64).contains(&end), "{seconds} s: {end} of {said}");
        }
        let (wav, ogg) = (File::wav(&voice(5.0)).bytes.len(), File::ogg(&voice(5.0)).unwrap().bytes.len());
        assert!(ogg * 8 < wav, "{ogg} of {wav} bytes");
    }

    #[test]
    #[ignore = "measures: cargo nextest run --lib --run-ignored only --no-capture what_ogg_costs"]
    #[allow(clippy::print_stderr, clippy::disallowed_methods, reason = "it measures")]
    fn what_ogg_costs() {
        for seconds in [1.0, 3.0, 5.0, 15.0] {
            let pcm = voice(seconds);
            let (mut wav, mut ogg) = (Vec::new(), Vec::new());
            let (mut wav_size, mut ogg_size) = (0, 0);
            for _ in 0..21 {
                let begun = std::time::Instant::now();
                wav_size = File::wav(&pcm).bytes.len();
                wav.push(begun.elapsed());
                let begun = std::time::Instant::now();
                ogg_size = File::ogg(&pcm).unwrap().bytes.len();
                ogg.push(begun.elapsed());
            }
            wav.sort_unstable();
            ogg.sort_unstable();
            eprintln!(
                "{seconds} s: wav {wav_size} bytes in {:?}, ogg {ogg_size} bytes in {:?} (median)",
                wav[10], ogg[10]
            );
        }
    }
}
