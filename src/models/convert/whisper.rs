//! Whisper: CTranslate2's tensors under whisper.cpp's names.
//!
//! CTranslate2 fuses projections: in self-attention `linear_0` is query, key and value one below the
//! other, in attention to the encoder `linear_0` is the query and `linear_1` key and value. The key has
//! no bias in Whisper (the fused one is zero there). Matrices become Q8_0, convolutions F16, all else F32.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::ct2::Ct2;
use super::ggml::{BLOCK, Ggml, Hyper, Store};
use super::{ConvertError, Watch, vocabulary};
use crate::audio::mel;

/// Numbers held in memory at a time: 1 MB of f32. A multiple of the block.
const PIECE: usize = 1 << 18;

/// Which rows of a fused tensor: part `index` of `parts` equal ones.
#[derive(Debug, Clone, Copy)]
struct Part {
    index: u64,
    parts: u64,
}

const WHOLE: Part = Part { index: 0, parts: 1 };

/// Reads `model.bin` and the vocabulary in `from`, writes the GGML file `to`.
pub(super) fn convert(from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<(), ConvertError> {
    let mut source = Ct2::open(&from.join("model.bin"))?;
    if source.spec != "WhisperSpec" {
        return Err(ConvertError::Shape(format!("the weights are a {}, not Whisper", source.spec)));
    }
    let hyper = hyper(&mut source)?;
    let words = vocabulary::words(from)?;
    if words.len() >= usize::try_from(hyper.vocabulary).unwrap_or(0) {
        return Err(ConvertError::Shape(format!(
            "{} words in the vocabulary, {} in the weights",
            words.len(),
            hyper.vocabulary
        )));
    }
    let name = to.display().to_string();
    let file = File::create(to).map_err(ConvertError::io(&*name))?;
    let filters = mel::filterbank(usize::try_from(hyper.mels).unwrap_or(0));
    let bins = i32::try_from(mel::BINS).unwrap_or(i32::MAX);
    let out = Ggml::begin(BufWriter::with_capacity(1 << 18, file), &hyper, &filters, bins, &words)
        .map_err(ConvertError::io(&*name))?;
    let mut work = Work { total: source.length(), source, out, watch, done: 0, name: name.clone(), piece: Vec::new() };
    work.encoder(hyper.audio_layers)?;
    work.decoder(hyper.text_layers)?;
    let mut writer = work.out.finish();
    writer.flush().map_err(ConvertError::io(&*name))?;
    writer.get_ref().sync_all().map_err(ConvertError::io(name))
}

/// The model's numbers, from the shapes of its tensors.
fn hyper(source: &mut Ct2) -> Result<Hyper, ConvertError> {
    let audio_heads = i32::from(source.short("encoder/num_heads")?.cast_signed());
    let text_heads = i32::from(source.short("decoder/num_heads")?.cast_signed());
    let [audio_context, audio_state] = shape(source, "encoder/position_encodings/encodings")?;
    let [text_context, text_state] = shape(source, "decoder/position_encodings/encodings")?;
    let [vocabulary, embedded] = shape(source, "decoder/embeddings/weight")?;
    let [convolved, mels, width] = shape(source, "encoder/conv1/weight")?;
    if embedded != text_state || convolved != audio_state || width != 3 || audio_state != text_state {
        return Err(ConvertError::Shape("the tensors' shapes do not fit together".into()));
    }
    if mels != 80 && mels != 128 {
        return Err(ConvertError::Shape(format!("{mels} mel bands: whisper has 80 or 128")));
    }
    Ok(Hyper {
        vocabulary,
        audio_context,
        audio_state,
        audio_heads,
        audio_layers: layers(source, "encoder"),
        text_context,
        text_state,
        text_heads,
        text_layers: layers(source, "decoder"),
        mels,
    })
}

fn shape<const N: usize>(source: &Ct2, name: &str) -> Result<[i32; N], ConvertError> {
    let dims = &source.entry(name)?.dims;
    let wrong = || ConvertError::Shape(format!("{name} has the shape {dims:?}"));
    let small: Vec<i32> =
        dims.iter().map(|&d| i32::try_from(d).ok().filter(|d| *d > 0)).collect::<Option<_>>().ok_or_else(wrong)?;
    small.try_into().map_err(|_| wrong())
}

fn layers(source: &Ct2, side: &str) -> i32 {
    let mut count = 0;
    while source.has(&format!("{side}/layer_{count}/ffn/linear_0/weight")) {
        count += 1;
    }
    count
}

struct Work<'a, W: Write> {
    source: Ct2,
    out: Ggml<W>,
    watch: &'a mut dyn Watch,
    done: u64,
    total: u64,
    name: String,
    piece: Vec<f32>,
}

impl<W: Write> Work<'_, W> {
    fn encoder(&mut self, layers: i32) -> Result<(), ConvertError> {
        self.put("encoder.positional_embedding", "encoder/position_encodings/encodings", WHOLE, Store::F32)?;
        for conv in ["conv1", "conv2"] {
            self.put(&format!("encoder.{conv}.weight"), &format!("encoder/{conv}/weight"), WHOLE, Store::F16)?;
            self.column(&format!("encoder.{conv}.bias"), &format!("encoder/{conv}/bias"))?;
        }
        for layer in 0..layers {
            let (to, from) = (format!("encoder.blocks.{layer}"), format!("encoder/layer_{layer}"));
            self.block(&to, &from)?;
        }
        self.norm("encoder.ln_post", "encoder/layer_norm")
    }

    fn decoder(&mut self, layers: i32) -> Result<(), ConvertError> {
        self.put("decoder.positional_embedding", "decoder/position_encodings/encodings", WHOLE, Store::F32)?;
        self.put("decoder.token_embedding.weight", "decoder/embeddings/weight", WHOLE, Store::Q8_0)?;
        for layer in 0..layers {
            let (to, from) = (format!("decoder.blocks.{layer}"), format!("decoder/layer_{layer}"));
            self.block(&to, &from)?;
            self.norm(&format!("{to}.cross_attn_ln"), &format!("{from}/attention/layer_norm"))?;
            let (to, from) = (format!("{to}.cross_attn"), format!("{from}/attention"));
            self.linear(&format!("{to}.query"), &format!("{from}/linear_0"), WHOLE, true)?;
            self.linear(&format!("{to}.key"), &format!("{from}/linear_1"), Part { index: 0, parts: 2 }, false)?;
            self.linear(&format!("{to}.value"), &format!("{from}/linear_1"), Part { index: 1, parts: 2 }, true)?;
            self.linear(&format!("{to}.out"), &format!("{from}/linear_2"), WHOLE, true)?;
        }
        self.norm("decoder.ln", "decoder/layer_norm")
    }

    /// What the layers of both sides share: attention to themselves and the two dense layers.
    fn block(&mut self, to: &str, from: &str) -> Result<(), ConvertError> {
        self.norm(&format!("{to}.attn_ln"), &format!("{from}/self_attention/layer_norm"))?;
        for (index, (role, bias)) in [("query", true), ("key", false), ("value", true)].into_iter().enumerate() {
            let part = Part { index: index as u64, parts: 3 };
            self.linear(&format!("{to}.attn.{role}"), &format!("{from}/self_attention/linear_0"), part, bias)?;
        }
        self.linear(&format!("{to}.attn.out"), &format!("{from}/self_attention/linear_1"), WHOLE, true)?;
        self.norm(&format!("{to}.mlp_ln"), &format!("{from}/ffn/layer_norm"))?;
        self.linear(&format!("{to}.mlp.0"), &format!("{from}/ffn/linear_0"), WHOLE, true)?;
        self.linear(&format!("{to}.mlp.2"), &format!("{from}/ffn/linear_1"), WHOLE, true)
    }

    fn norm(&mut self, to: &str, from: &str) -> Result<(), ConvertError> {
        self.put(&format!("{to}.weight"), &format!("{from}/gamma"), WHOLE, Store::F32)?;
        self.put(&format!("{to}.bias"), &format!("{from}/beta"), WHOLE, Store::F32)
    }

    fn linear(&mut self, to: &str, from: &str, part: Part, bias: bool) -> Result<(), ConvertError> {
        self.put(&format!("{to}.weight"), &format!("{from}/weight"), part, Store::Q8_0)?;
        if bias {
            self.put(&format!("{to}.bias"), &format!("{from}/bias"), part, Store::F32)?;
        }
        Ok(())
    }

    /// A convolution's bias: whisper.cpp wants it as a column.
    fn column(&mut self, to: &str, from: &str) -> Result<(), ConvertError> {
        let mut dims = self.source.entry(from)?.dims.clone();
        dims.push(1);
        self.copy(to, from, &dims, 0, Store::F32)
    }

    fn put(&mut self, to: &str, from: &str, part: Part, store: Store) -> Result<(), ConvertError> {
        let mut dims = self.source.entry(from)?.dims.clone();
        let rows = dims.first_mut().ok_or_else(|| ConvertError::Shape(format!("{from} is a single number")))?;
        if *rows % part.parts != 0 {
            return Err(ConvertError::Shape(format!("{from} has {rows} rows, not {} equal parts", part.parts)));
        }
        *rows /= part.parts;
        let numbers: u64 = dims.iter().product();
        self.copy(to, from, &dims, part.index * numbers, store)
    }

    fn copy(&mut self, to: &str, from: &str, dims: &[u64], first: u64, store: Store) -> Result<(), ConvertError> {
        if store == Store::Q8_0 && dims.last().is_none_or(|row| row % BLOCK as u64 != 0) {
            return Err(ConvertError::Shape(format!("{from} has rows of {dims:?}, no multiple of {BLOCK}")));
        }
        self.out.tensor(to, dims, store).map_err(ConvertError::io(&*self.name))?;
        let end = first + dims.iter().product::<u64>();
        let mut at = first;
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            self.source.floats(from, at, count, &mut self.piece)?;
            self.out.numbers(&self.piece, store).map_err(ConvertError::io(&*self.name))?;
            at += count as u64;
            self.done += 2 * count as u64;
            if !self.watch.step(self.done.min(self.total), self.total) {
                return Err(ConvertError::Stopped);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
