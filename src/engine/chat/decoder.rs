//! The model itself: the decoder that Llama 2 and 3, SmolLM2, Mistral, Yi, Qwen 2 and 2.5 share, quantised.
//!
//! candle has decoders too. Here each matrix is in two halves, so that two cores can work on one token where both are free and
//! one can where they are not, with the same result; and what was read grows in place and is not copied for each head. Source of
//! the shapes: "Llama 2" (arXiv 2307.09288), "Qwen2 Technical Report" (arXiv 2407.10671), and the names that llama.cpp's converter
//! gives the tensors.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{QMatMul, QStorage, QTensor};
use candle_core::{D, Device, Module, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::{silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};
use candle_transformers::quantized_nn::RmsNorm;

/// Room for so many tokens is made at once.
pub const ROOM: usize = 128;

/// Weights that conversations share, and what one has read.
pub struct Decoder {
    shared: Arc<Shared>,
    /// Keys and values by layer.
    read: Vec<KvCache>,
}

struct Shared {
    /// A row a token.
    words: QTensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    output: Matrix,
    cos: Tensor,
    sin: Tensor,
    heads: usize,
    key_heads: usize,
    /// Neighbours turn together, as in Llama; else the two halves of a head do.
    neighbours: bool,
}

struct Layer {
    before_attention: RmsNorm,
    query: Biased,
    key: Biased,
    value: Biased,
    out: Matrix,
    before_feed: RmsNorm,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// A matrix as its upper and its lower rows.
struct Matrix([QMatMul; 2]);

/// Does two things that need nothing of each other.
fn both<A: Send, B: Send>(wide: bool, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if wide { rayon::join(a, b) } else { (a(), b()) }
}

impl Matrix {
    fn of(whole: &QTensor) -> Result<Self> {
        let (rows, columns) = whole.shape().dims2()?;
        let bytes = whole.data()?;
        let half = rows / 2;
        let cut = bytes.len() / rows.max(1) * half;
        let part = |bytes: &[u8], rows: usize| {
            let storage = QStorage::from_data(bytes.to_vec().into(), &Device::Cpu, whole.dtype())?;
            QMatMul::from_qtensor(QTensor::new(storage, (rows, columns))?)
        };
        let (upper, lower) = bytes.split_at(cut);
        Ok(Self([part(upper, half)?, part(lower, rows - half)?]))
    }

    fn forward(&self, x: &Tensor, wide: bool) -> Result<Tensor> {
        let [upper, lower] = &self.0;
        let (upper, lower) = both(wide, || upper.forward(x), || lower.forward(x));
        Tensor::cat(&[upper?, lower?], D::Minus1)
    }
}

struct Biased {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Biased {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.weight.forward(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// A file whose tensors are taken out one by one.
struct Parts<'a> {
    content: &'a Content,
    reader: &'a mut BufReader<File>,
    epsilon: f64,
}

impl Parts<'_> {
    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor> {
        self.content.tensor(self.reader, name, &Device::Cpu)
    }

    fn matrix(&mut self, name: &str) -> Result<Matrix> {
        Matrix::of(&self.tensor(name)?)
    }

    fn norm(&mut self, name: &str) -> Result<RmsNorm> {
        RmsNorm::from_qtensor(self.tensor(name)?, self.epsilon)
    }

    fn biased(&mut self, name: &str) -> Result<Biased> {
        let bias = format!("{name}.bias");
        let bias = if self.has(&bias) { Some(self.tensor(&bias)?.dequantize(&Device::Cpu)?) } else { None };
        Ok(Biased { weight: QMatMul::from_qtensor(self.tensor(&format!("{name}.weight"))?)?, bias })
    }

    fn layer(&mut self, at: usize) -> Result<Layer> {
        let name = |part: &str| format!("blk.{at}.{part}");
        Ok(Layer {
            before_attention: self.norm(&name("attn_norm.weight"))?,
            query: self.biased(&name("attn_q"))?,
            key: self.biased(&name("attn_k"))?,
            value: self.biased(&name("attn_v"))?,
            out: self.matrix(&name("attn_output.weight"))?,
            before_feed: self.norm(&name("ffn_norm.weight"))?,
            gate: self.matrix(&name("ffn_gate.weight"))?,
            up: self.matrix(&name("ffn_up.weight"))?,
            down: self.matrix(&name("ffn_down.weight"))?,
        })
    }
}

fn refused<T>(why: String) -> Result<T> {
    Err(candle_core::Error::Msg(why))
}

impl Decoder {
    /// Takes the weights out of a file of the architecture `named`; conversations are at most `longest` tokens.
    pub fn load(content: &Content, reader: &mut BufReader<File>, named: &str, longest: usize) -> Result<Self> {
        let value = |key: &str| {
            let found = content.metadata.get(&format!("{named}.{key}"));
            found.ok_or_else(|| candle_core::Error::Msg(format!("it has no {named}.{key}")))
        };
        let number = |key: &str| value(key)?.to_u32().map(|number| number as usize);
        let (heads, key_heads) = (number("attention.head_count")?, number("attention.head_count_kv")?);
        let (wide, layers) = (number("embedding_length")?, number("block_count")?);
        let fits = heads > 0 && key_heads > 0 && heads % key_heads == 0 && wide % (2 * heads) == 0;
        if !fits || !(1..=512).contains(&layers) {
            return refused(format!(
                "its {layers} layers with {heads} and {key_heads} heads of a width of {wide} make no model"
            ));
        }
        let head = wide / heads;
        let epsilon = f64::from(value("attention.layer_norm_rms_epsilon")?.to_f32()?);
        let base = value("rope.freq_base").and_then(Value::to_f32).unwrap_or(10_000.0);
        let mut parts = Parts { content, reader, epsilon };
        let slower = if parts.has("rope_freqs.weight") {
            parts.tensor("rope_freqs.weight")?.dequantize(&Device::Cpu)?.to_vec1::<f32>()?
        } else {
            vec![1.0; head / 2]
        };
        let (cos, sin) = waves(head, base, &slower, longest)?;
        let words = parts.tensor("token_embd.weight")?;
        // the same matrix reads words and writes them, where there is but one
        let output = if parts.has("output.weight") { parts.matrix("output.weight")? } else { Matrix::of(&words)? };
        let shared = Shared {
            words,
            norm: parts.norm("output_norm.weight")?,
            layers: (0..layers).map(|at| parts.layer(at)).collect::<Result<_>>()?,
            output,
            cos,
            sin,
            heads,
            key_heads,
            neighbours: named == "llama",
        };
        Ok(Self { shared: Arc::new(shared), read: vec![KvCache::new(0, ROOM); layers] })
    }

    /// The first `length` tokens of what was read, once more, with room for as many others at once: from here on each reads on
    /// its own.
    pub fn fork(&self, length: usize, room: usize) -> Result<Self> {
        let fork = |read: &KvCache| -> Result<KvCache> {
            let mut fork = KvCache::new(0, (length + room).max(1));
            if let (Some(keys), Some(values), 1..) = (read.k()?, read.v()?, length) {
                fork.append(&keys.narrow(0, 0, length)?, &values.narrow(0, 0, length)?)?;
            }
            Ok(fork)
        };
        Ok(Self { shared: Arc::clone(&self.shared), read: self.read.iter().map(fork).collect::<Result<_>>()? })
    }

    /// Reads tokens (one row) behind `at` others; what it thinks comes next. `wide`: on two cores, in a pool of rayon's.
    pub fn forward(&mut self, tokens: &Tensor, at: usize, wide: bool) -> Result<Tensor> {
        let (_, count) = tokens.dims2()?;
        let shared = Arc::clone(&self.shared);
        let mut x = shared.words.embedding(tokens)?;
        let mask = if count > 1 { Some(ahead(count, at, shared.heads / shared.key_heads)?) } else { None };
        for (layer, read) in shared.layers.iter().zip(&mut self.read) {
            let seen = shared.attend(layer, &layer.before_attention.forward(&x)?, at, mask.as_ref(), read, wide)?;
            x = (x + seen)?;
            x = (&x + layer.feed(&layer.before_feed.forward(&x)?, wide)?)?;
        }
        let last = shared.norm.forward(&x.narrow(1, count - 1, 1)?.contiguous()?)?.squeeze(1)?;
        shared.output.forward(&last, wide)
    }
}

impl Layer {
    fn feed(&self, x: &Tensor, wide: bool) -> Result<Tensor> {
        let half = |n: usize| silu(&self.gate.0[n].forward(x)?)? * self.up.0[n].forward(x)?;
        let (upper, lower) = both(wide, || half(0), || half(1));
        self.down.forward(&Tensor::cat(&[upper?, lower?], D::Minus1)?, wide)
    }
}

impl Shared {
    fn attend(
        &self,
        layer: &Layer,
        x: &Tensor,
        at: usize,
        mask: Option<&Tensor>,
        read: &mut KvCache,
        wide: bool,
    ) -> Result<Tensor> {
        let (_, count, width) = x.dims3()?;
        let (head, share) = (width / self.heads, self.heads / self.key_heads);
        let (cos, sin) = (self.cos.narrow(0, at, count)?, self.sin.narrow(0, at, count)?);
        let turned = |x: Tensor, heads: usize| {
            let x = x.reshape((1, count, heads, head))?.transpose(1, 2)?.contiguous()?;
            if self.neighbours { rope_i(&x, &cos, &sin) } else { rope(&x, &cos, &sin) }
        };
        let (query, kept) = both(
            wide,
            || turned(layer.query.forward(x)?, self.heads),
            || {
                let key = turned(layer.key.forward(x)?, self.key_heads)?.squeeze(0)?.transpose(0, 1)?.contiguous()?;
                read.append(&key, &layer.value.forward(x)?.reshape((count, self.key_heads, head))?)
            },
        );
        let (keys, values) = kept?;
        // heads that share their keys stand one after the other: no key is copied for each
        let query = query?.reshape((self.key_heads, share * count, head))?;
        let mut weights = (query.matmul(&keys.transpose(0, 1)?.t()?)? * (1.0 / (head as f64).sqrt()))?;
        if let Some(mask) = mask {
            weights = weights.broadcast_add(mask)?;
        }
        let seen = softmax_last_dim(&weights)?.matmul(&values.transpose(0, 1)?)?.reshape((self.heads, count, head))?;
        layer.out.forward(&seen.transpose(0, 1)?.reshape((1, count, width))?, wide)
    }
}

/// No token sees what comes after it; `share` times, one for each head that shares keys.
fn ahead(count: usize, at: usize, share: usize) -> Result<Tensor> {
    let row = |from: usize| (0..at + count).map(move |to| if to > at + from { f32::NEG_INFINITY } else { 0.0 });
    let rows = (0..share).flat_map(|_| (0..count).flat_map(row));
    Tensor::from_vec(rows.collect::<Vec<f32>>(), (share * count, at + count), &Device::Cpu)
}

/// Cosines and sines of each place, by which heads know how far tokens are apart. `slower`: by how much each pair turns slower.
fn waves(wide: usize, base: f32, slower: &[f32], longest: usize) -> Result<(Tensor, Tensor)> {
    if slower.len() != wide / 2 {
        return refused(format!("rope_freqs has {} numbers where a head has {} pairs", slower.len(), wide / 2));
    }
    let speed = |pair: usize| 1.0 / base.powf(2.0 * pair as f32 / wide as f32) / slower[pair];
    let angles: Vec<f32> = (0..longest).flat_map(|at| (0..wide / 2).map(move |pair| at as f32 * speed(pair))).collect();
    let angles = Tensor::from_vec(angles, (longest, wide / 2), &Device::Cpu)?;
    Ok((angles.cos()?, angles.sin()?))
}
