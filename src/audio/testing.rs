//! Sounds for the tests of this room: human speech where Debian's recordings are installed, and made-up noise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is what a panic is for")]
#![allow(clippy::cast_possible_truncation, reason = "made-up samples are in range")]

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::opus::{Encoder, Encoding};
use crate::domain::{AudioPacket, Codec};

/// Debian's `pocketsphinx-testdata`.
const RECORDINGS: &str = "/usr/share/pocketsphinx/test/data";

/// Five sentences read aloud, and a short command; 16 kHz. None, with a printed reason, where they are not installed.
pub fn human() -> Option<Vec<Vec<i16>>> {
    let folder = Path::new(RECORDINGS);
    if !folder.exists() {
        println!("skipped: no human speech here (apt-get install pocketsphinx-testdata)");
        return None;
    }
    let librivox = ["0870", "0880", "0890", "0920", "0930"]
        .map(|n| folder.join(format!("librivox/sense_and_sensibility_01_austen_64kb-{n}.wav")));
    let mut clips: Vec<Vec<i16>> = librivox
        .iter()
        .map(|path| hound::WavReader::open(path).unwrap().samples::<i16>().map(Result::unwrap).collect())
        .collect();
    let raw = std::fs::read(folder.join("goforward.raw")).unwrap();
    clips.push(raw.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect());
    Some(clips)
}

/// Silero's file: where `VOXGATE_SILERO` says, else under `target/models`. None, with a printed reason, without it.
pub fn silero_file() -> Option<PathBuf> {
    let named = std::env::var_os("VOXGATE_SILERO").map(PathBuf::from);
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/target/models/silero-vad/silero_vad_16k_sequence.onnx");
    let file = named.unwrap_or_else(|| usual.into());
    if file.exists() {
        return Some(file);
    }
    println!("skipped: no silero file (set VOXGATE_SILERO to silero_vad_16k_sequence.onnx)");
    None
}

/// Smart Turn's file: where `VOXGATE_SMART_TURN` says, else under `target/models`. None, with a printed reason, without it.
pub fn smart_turn_file() -> Option<PathBuf> {
    let named = std::env::var_os("VOXGATE_SMART_TURN").map(PathBuf::from);
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/target/models/smart-turn-v3.2/smart-turn-v3.2-cpu.onnx");
    let file = named.unwrap_or_else(|| usual.into());
    if file.exists() {
        return Some(file);
    }
    println!("skipped: no end-of-turn model (set VOXGATE_SMART_TURN to smart-turn-v3.2-cpu.onnx)");
    None
}

/// A generator that is the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between -1 and 1.
    pub fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// White noise at `rms`.
pub fn noise(samples: usize, rms: f64) -> Vec<i16> {
    let mut dice = Dice(7);
    (0..samples).map(|_| (dice.unit() * rms * 1.732) as i16).collect()
}

/// Mains hum with harmonics, as of a fan or a transformer.
pub fn hum(samples: usize, amplitude: f64) -> Vec<i16> {
    let wave = |n: usize, hz: f64| (n as f64 * hz * std::f64::consts::TAU / 16_000.0).sin();
    (0..samples)
        .map(|n| {
            (amplitude * (wave(n, 100.0) + 0.5 * wave(n, 200.0) + 0.3 * wave(n, 300.0) + 0.1 * wave(n, 1_200.0))) as i16
        })
        .collect()
}

/// Encodes 16 kHz samples as a device does; the tail is padded with silence.
pub fn encode(pcm: &[i16], encoding: Encoding) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(encoding).unwrap();
    pcm.chunks(encoding.frame_samples())
        .map(|chunk| {
            let mut frame = chunk.to_vec();
            frame.resize(encoding.frame_samples(), 0);
            encoder.encode(&frame).unwrap()
        })
        .collect()
}

/// A packet as the router hands it on.
pub fn packet(seq: u32, payload: impl Into<Bytes>) -> AudioPacket {
    AudioPacket {
        codec: Codec::Opus,
        seq,
        ts_ms: seq.wrapping_mul(60),
        last: false,
        speech: None,
        listen: 0,
        payload: payload.into(),
    }
}

/// Samples as numbered packets, from `first` on.
pub fn packets(first: u32, pcm: &[i16]) -> Vec<AudioPacket> {
    encode(pcm, Encoding::up()).into_iter().zip(first..).map(|(payload, seq)| packet(seq, payload)).collect()
}

/// How well `got` follows `want`, in dB, at the best shift of up to `shift` samples.
pub fn snr_db(want: &[i16], got: &[i16], shift: usize) -> f64 {
    let at = |delay: usize| {
        let pairs = want.iter().zip(got.iter().skip(delay));
        let (mut signal, mut error) = (0.0, 1e-9);
        for (a, b) in pairs {
            let (a, b) = (f64::from(*a), f64::from(*b));
            signal += a * a;
            error += (a - b) * (a - b);
        }
        10.0 * f64::log10(signal / error)
    };
    (0..=shift).map(at).fold(f64::NEG_INFINITY, f64::max)
}
