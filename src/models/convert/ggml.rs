//! whisper.cpp's model file (magic `ggml`), written tensor by tensor.
//!
//! The layout (little endian, from `whisper_model_load` of whisper.cpp 1.7): u32 magic, eleven i32 of
//! hyper-parameters, the mel filterbank (i32 mels, i32 bins, f32 each), the vocabulary (i32 count, each
//! u32 length and bytes), then tensors until the end: i32 rank, i32 length of the name, i32 type, i32 a
//! dimension (innermost first), the name, the data. Nothing here knows CTranslate2.

use std::io::{self, Write};

const MAGIC: u32 = 0x6767_6d6c;
/// `GGML_FTYPE_MOSTLY_Q8_0` and the version 2 of the quantised blocks, times 1,000.
const FTYPE_Q8_0: i32 = 7 + 2 * 1000;
/// Numbers that share one scale in Q8_0.
pub(super) const BLOCK: usize = 32;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    F32,
    F16,
    /// Blocks of 32: an f16 scale and 32 signed bytes.
    Q8_0,
}

impl Store {
    fn id(self) -> i32 {
        match self {
            Store::F32 => 0,
            Store::F16 => 1,
            Store::Q8_0 => 8,
        }
    }
}

/// The numbers in the head of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hyper {
    pub vocabulary: i32,
    pub audio_context: i32,
    pub audio_state: i32,
    pub audio_heads: i32,
    pub audio_layers: i32,
    pub text_context: i32,
    pub text_state: i32,
    pub text_heads: i32,
    pub text_layers: i32,
    pub mels: i32,
}

/// Writes the file, from front to back.
pub(super) struct Ggml<W> {
    out: W,
    raw: Vec<u8>,
}

impl<W: Write> Ggml<W> {
    /// Writes the head: hyper-parameters, filterbank (`mels` rows of `bins`), words.
    pub fn begin(mut out: W, hyper: &Hyper, filters: &[f32], bins: i32, words: &[Vec<u8>]) -> io::Result<Self> {
        out.write_all(&MAGIC.to_le_bytes())?;
        let h = hyper;
        let head = [
            h.vocabulary,
            h.audio_context,
            h.audio_state,
            h.audio_heads,
            h.audio_layers,
            h.text_context,
            h.text_state,
            h.text_heads,
            h.text_layers,
            h.mels,
            FTYPE_Q8_0,
            h.mels,
            bins,
        ];
        for number in head {
            out.write_all(&number.to_le_bytes())?;
        }
        for weight in filters {
            out.write_all(&weight.to_le_bytes())?;
        }
        out.write_all(&length(words.len())?.to_le_bytes())?;
        for word in words {
            out.write_all(&length(word.len())?.to_le_bytes())?;
            out.write_all(word)?;
        }
        Ok(Self { out, raw: Vec::new() })
    }

    /// Opens a tensor; `dims` outermost first. Its numbers follow by [`Ggml::numbers`].
    pub fn tensor(&mut self, name: &str, dims: &[u64], store: Store) -> io::Result<()> {
        for number in [length(dims.len())?, length(name.len())?, store.id()] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        for &dim in dims.iter().rev() {
            let dim = i32::try_from(dim).map_err(|_| io::Error::other("a dimension beyond 31 bits"))?;
            self.out.write_all(&dim.to_le_bytes())?;
        }
        self.out.write_all(name.as_bytes())
    }

    /// Numbers of the open tensor, in order. For Q8_0 a whole number of blocks.
    pub fn numbers(&mut self, numbers: &[f32], store: Store) -> io::Result<()> {
        self.raw.clear();
        match store {
            Store::F32 => numbers.iter().for_each(|n| self.raw.extend(n.to_le_bytes())),
            Store::F16 => numbers.iter().for_each(|n| self.raw.extend(half::f16::from_f32(*n).to_le_bytes())),
            Store::Q8_0 => {
                let (blocks, rest) = numbers.as_chunks::<BLOCK>();
                if !rest.is_empty() {
                    return Err(io::Error::other("a quantised row that is no multiple of 32"));
                }
                for block in blocks {
                    quantise(block, &mut self.raw);
                }
            }
        }
        self.out.write_all(&self.raw)
    }

    /// The writer back.
    pub fn finish(self) -> W {
        self.out
    }
}

/// One block: the scale maps the largest magnitude to 127.
fn quantise(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let largest = block.iter().fold(0_f32, |most, n| most.max(n.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out.extend(half::f16::from_f32(scale).to_le_bytes());
    #[allow(clippy::cast_possible_truncation, reason = "within ±127 by the choice of the scale; `as` saturates")]
    out.extend(block.iter().map(|n| ((n * inverse).round() as i8).to_le_bytes()[0]));
}

fn length(length: usize) -> io::Result<i32> {
    i32::try_from(length).map_err(|_| io::Error::other("a length beyond 31 bits"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_block_of_zeros_has_no_scale_and_no_nan() {
        let mut out = Vec::new();
        quantise(&[0.0; BLOCK], &mut out);
        assert_eq!(out, vec![0; 34]);
    }

    #[test]
    fn a_block_comes_back_within_half_a_step_of_its_scale() {
        let block: [f32; BLOCK] = std::array::from_fn(|i| ((i * 37 % 64) as f32 - 31.0) / 7.0);
        let mut out = Vec::new();
        quantise(&block, &mut out);
        let scale = half::f16::from_le_bytes([out[0], out[1]]).to_f32();
        for (want, got) in block.iter().zip(&out[2..]) {
            let got = f32::from(i8::from_le_bytes([*got])) * scale;
            // Half a step, and the error of the scale's own rounding to 11 bits.
            assert!((want - got).abs() <= scale * 0.5 + want.abs() / 2048.0, "{want} {got}");
        }
    }

    #[test]
    fn a_tensor_is_written_with_its_innermost_dimension_first() {
        let hyper = Hyper {
            vocabulary: 1,
            audio_context: 2,
            audio_state: 3,
            audio_heads: 4,
            audio_layers: 5,
            text_context: 6,
            text_state: 7,
            text_heads: 8,
            text_layers: 9,
            mels: 1,
        };
        let mut file = Ggml::begin(Vec::new(), &hyper, &[0.5], 1, &[b"a".to_vec(), Vec::new()]).unwrap();
        file.tensor("t", &[2, 1], Store::F32).unwrap();
        file.numbers(&[1.0, 2.0], Store::F32).unwrap();
        let bytes = file.finish();
        let mut want: Vec<u8> = b"lmgg".to_vec();
        for n in [1_i32, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2007, 1, 1] {
            want.extend(n.to_le_bytes());
        }
        want.extend(0.5_f32.to_le_bytes());
        for n in [2_i32, 1] {
            want.extend(n.to_le_bytes());
        }
        want.push(b'a');
        for n in [0_i32, 2, 1, 0, 1, 2] {
            want.extend(n.to_le_bytes());
        }
        want.push(b't');
        want.extend([1.0_f32, 2.0].iter().flat_map(|n| n.to_le_bytes()));
        assert_eq!(bytes, want);
    }
}
