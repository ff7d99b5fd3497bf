//! The architecture of Qwen 2 and 2.5, quantised: attention with biases and grouped heads.
//!
//! candle has one too, whose keys and values cannot be told from its weights; here clones share the weights, and each is a
//! conversation of its own. Source of the shapes: "Qwen2 Technical Report" (arXiv 2407.10671), and the names that llama.cpp's
//! converter gives the tensors.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::rotary_emb::rope;
use candle_transformers::quantized_nn::RmsNorm;
use candle_transformers::utils::repeat_kv;

/// Weights that conversations share, and the keys and values of one.
#[derive(Clone)]
pub struct Qwen2 {
    shared: Arc<Shared>,
    /// By layer; none before the first token.
    read: Vec<Option<(Tensor, Tensor)>>,
}

struct Shared {
    /// 16 bit: a row a token.
    words: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    output: QMatMul,
    cos: Tensor,
    sin: Tensor,
    heads: usize,
    key_heads: usize,
}

struct Layer {
    before_attention: RmsNorm,
    query: Biased,
    key: Biased,
    value: Biased,
    out: QMatMul,
    before_feed: RmsNorm,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

struct Biased {
    weight: QMatMul,
    bias: Tensor,
}

impl Biased {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.weight.forward(x)?.broadcast_add(&self.bias)
    }
}

/// A file whose tensors are taken out one by one.
struct Parts<'a> {
    content: &'a Content,
    reader: &'a mut BufReader<File>,
    epsilon: f64,
}

impl Parts<'_> {
    fn matrix(&mut self, name: &str) -> Result<QMatMul> {
        QMatMul::from_qtensor(self.content.tensor(self.reader, name, &Device::Cpu)?)
    }

    fn norm(&mut self, name: &str) -> Result<RmsNorm> {
        RmsNorm::from_qtensor(self.content.tensor(self.reader, name, &Device::Cpu)?, self.epsilon)
    }

    fn biased(&mut self, name: &str) -> Result<Biased> {
        let bias = self.content.tensor(self.reader, &format!("{name}.bias"), &Device::Cpu)?.dequantize(&Device::Cpu)?;
        Ok(Biased { weight: self.matrix(&format!("{name}.weight"))?, bias })
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

impl Qwen2 {
    /// Takes the weights out of a file; conversations are at most `longest` tokens.
    pub fn load(content: &Content, reader: &mut BufReader<File>, longest: usize) -> Result<Self> {
        let value = |key: &str| {
            let found = content.metadata.get(&format!("qwen2.{key}"));
            found.ok_or_else(|| candle_core::Error::Msg(format!("it has no qwen2.{key}")))
        };
        let number = |key: &str| value(key)?.to_u32().map(|number| number as usize);
        let (heads, key_heads) = (number("attention.head_count")?, number("attention.head_count_kv")?);
        let (wide, layers) = (number("embedding_length")?, number("block_count")?);
        let fits = heads > 0 && key_heads > 0 && heads % key_heads == 0 && wide % (2 * heads) == 0;
        if !fits || !(1..=512).contains(&layers) {
            let told =
                format!("its {layers} layers with {heads} and {key_heads} heads of a width of {wide} make no model");
            return Err(candle_core::Error::Msg(told));
        }
        let epsilon = f64::from(value("attention.layer_norm_rms_epsilon")?.to_f32()?);
        let base =
            value("rope.freq_base").and_then(candle_core::quantized::gguf_file::Value::to_f32).unwrap_or(10_000.0);
        let (cos, sin) = waves(wide / heads, base, longest)?;
        let words = content.tensor(reader, "token_embd.weight", &Device::Cpu)?;
        let mut parts = Parts { content, reader, epsilon };
        let output = if content.tensor_infos.contains_key("output.weight") {
            parts.matrix("output.weight")?
        } else {
            // the same matrix reads words and writes them
            parts.matrix("token_embd.weight")?
        };
        let shared = Shared {
            words: words.dequantize(&Device::Cpu)?.to_dtype(DType::F16)?,
            norm: parts.norm("output_norm.weight")?,
            layers: (0..layers).map(|at| parts.layer(at)).collect::<Result<_>>()?,
            output,
            cos,
            sin,
            heads,
            key_heads,
        };
        Ok(Self { shared: Arc::new(shared), read: vec![None; layers] })
    }

    /// Reads tokens (one row) behind `at` others; what it thinks comes next.
    pub fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor> {
        let (_, count) = tokens.dims2()?;
        let shared = Arc::clone(&self.shared);
        let words = shared.words.index_select(&tokens.flatten_all()?, 0)?;
        let mut x = words.to_dtype(DType::F32)?.unsqueeze(0)?;
        let mask = if count > 1 { Some(ahead(count, at)?) } else { None };
        for (layer, read) in shared.layers.iter().zip(&mut self.read) {
            let seen = shared.attend(layer, &layer.before_attention.forward(&x)?, at, mask.as_ref(), read)?;
            x = (x + seen)?;
            let fed = layer.before_feed.forward(&x)?;
            let gate = candle_nn::ops::silu(&layer.gate.forward(&fed)?)?;
            x = (x + layer.down.forward(&(gate * layer.up.forward(&fed)?)?)?)?;
        }
        let last = shared.norm.forward(&x)?.narrow(1, count - 1, 1)?.squeeze(1)?;
        shared.output.forward(&last.contiguous()?)
    }
}

impl Shared {
    fn attend(
        &self,
        layer: &Layer,
        x: &Tensor,
        at: usize,
        mask: Option<&Tensor>,
        read: &mut Option<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let (_, count, wide) = x.dims3()?;
        let by_head =
            |x: Tensor, heads: usize| x.reshape((1, count, heads, wide / self.heads))?.transpose(1, 2)?.contiguous();
        let (cos, sin) = (self.cos.narrow(0, at, count)?, self.sin.narrow(0, at, count)?);
        let query = rope(&by_head(layer.query.forward(x)?, self.heads)?, &cos, &sin)?;
        let key = rope(&by_head(layer.key.forward(x)?, self.key_heads)?, &cos, &sin)?;
        let value = by_head(layer.value.forward(x)?, self.key_heads)?;
        let (key, value) = match read.as_ref().filter(|_| at > 0) {
            Some((keys, values)) => (Tensor::cat(&[keys, &key], 2)?, Tensor::cat(&[values, &value], 2)?),
            None => (key, value),
        };
        *read = Some((key.clone(), value.clone()));
        let share = self.heads / self.key_heads;
        let (key, value) = (repeat_kv(key, share)?.contiguous()?, repeat_kv(value, share)?.contiguous()?);
        let scale = 1.0 / ((wide / self.heads) as f64).sqrt();
        let mut weights = (query.matmul(&key.transpose(D::Minus2, D::Minus1)?.contiguous()?)? * scale)?;
        if let Some(mask) = mask {
            weights = weights.broadcast_add(mask)?;
        }
        let seen = softmax_last_dim(&weights)?.matmul(&value)?.transpose(1, 2)?.reshape((1, count, wide))?;
        layer.out.forward(&seen)
    }
}

/// No token sees what comes after it.
fn ahead(count: usize, at: usize) -> Result<Tensor> {
    let row = |from: usize| (0..at + count).map(move |to| if to > at + from { f32::NEG_INFINITY } else { 0.0 });
    Tensor::from_vec((0..count).flat_map(row).collect::<Vec<f32>>(), (count, at + count), &Device::Cpu)
}

/// Cosines and sines of each place, by which heads know how far tokens are apart.
fn waves(wide: usize, base: f32, longest: usize) -> Result<(Tensor, Tensor)> {
    let speed = |pair: usize| 1.0 / base.powf(2.0 * pair as f32 / wide as f32);
    let angles: Vec<f32> = (0..longest).flat_map(|at| (0..wide / 2).map(move |pair| at as f32 * speed(pair))).collect();
    let angles = Tensor::from_vec(angles, (longest, wide / 2), &Device::Cpu)?;
    Ok((angles.cos()?, angles.sin()?))
}
