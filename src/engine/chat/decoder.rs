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
        if rows < 2 || columns == 0 || columns % whole.dtype().block_size() != 0 {
            return refused(format!("a matrix of {rows} rows of {columns} numbers cannot be halved"));
        }
        let bytes = whole.data()?;
        let half = rows / 2;
        let cut = bytes.len() / rows * half;
        let part = |bytes: &[u8], rows: usize| {
            let storage = QStorage::from_data(bytes.into(), &Device::Cpu, whole.dtype())?;
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
        if number("expert_count").is_ok_and(|experts| experts > 1) {
            return refused("it is a mixture of experts, which does not run here".into());
        }
        if number("rope.dimension_count").is_ok_and(|turned| turned != head) {
            return refused("only a part of each head turns, which does not run here".into());
        }
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

    /// Tokens that it has read.
    pub fn length(&self) -> usize {
        self.read.first().map_or(0, |read| read.k_cache().current_seq_len())
    }

    /// Reads on (one row of tokens); what it thinks comes next. `wide`: on two cores, in a pool of rayon's.
    pub fn forward(&mut self, tokens: &Tensor, wide: bool) -> Result<Tensor> {
        let (_, count) = tokens.dims2()?;
        let at = self.length();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Seek;

    use candle_core::quantized::GgmlDType;
    use candle_core::quantized::gguf_file::write;
    use candle_transformers::models::quantized_llama::ModelWeights;

    use super::*;

    /// A file of a tiny model of an architecture, whose numbers are chance. `more` replaces or adds to what it says.
    fn tiny(named: &str, more: &[(&str, u32)], extra: Option<(&str, Vec<f32>)>) -> (Content, BufReader<File>) {
        let mut seed = 7_u32;
        let mut chance = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(seed >> 16).unwrap()) / 65_536.0 - 0.5
        };
        let mut tensors = Vec::new();
        let mut put = |name: String, rows: usize, columns: usize, kind: GgmlDType| {
            let numbers: Vec<f32> = (0..rows * columns).map(|_| chance()).collect();
            let shape = if rows == 1 { vec![columns] } else { vec![rows, columns] };
            let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
            tensors.push((name, QTensor::quantize(&tensor, kind).unwrap()));
        };
        put("token_embd.weight".into(), 50, 64, GgmlDType::Q8_0);
        put("output_norm.weight".into(), 1, 64, GgmlDType::F32);
        for layer in 0..2 {
            for (part, rows, columns) in [
                ("attn_q", 64, 64),
                ("attn_k", 32, 64),
                ("attn_v", 32, 64),
                ("attn_output", 64, 64),
                ("ffn_gate", 95, 64),
                ("ffn_up", 95, 64),
                ("ffn_down", 64, 95),
            ] {
                let kind = if columns % 32 == 0 { GgmlDType::Q8_0 } else { GgmlDType::F32 };
                put(format!("blk.{layer}.{part}.weight"), rows, columns, kind);
            }
            for part in ["attn_norm", "ffn_norm"] {
                put(format!("blk.{layer}.{part}.weight"), 1, 64, GgmlDType::F32);
            }
        }
        if let Some((name, numbers)) = extra {
            let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
            tensors.push((name.to_owned(), QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
        }
        let mut said: Vec<(String, Value)> = [
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("embedding_length", 64),
            ("block_count", 2),
            ("rope.dimension_count", 16),
        ]
        .iter()
        .chain(more)
        .map(|(key, number)| (format!("{named}.{key}"), Value::U32(*number)))
        .collect();
        said.push((format!("{named}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5)));
        said.push(("general.architecture".into(), Value::String(named.into())));
        let said: Vec<_> = said.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &said, &tensors).unwrap();
        file.rewind().unwrap();
        let mut reader = BufReader::new(file);
        (Content::read(&mut reader).unwrap(), reader)
    }

    fn load(named: &str) -> Decoder {
        let (content, mut reader) = tiny(named, &[], None);
        Decoder::load(&content, &mut reader, named, 64).unwrap()
    }

    fn row(tokens: &[u32]) -> Tensor {
        Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
    }

    fn numbers(logits: Result<Tensor>) -> Vec<f32> {
        logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    const TOKENS: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 6];

    #[test]
    fn llama_thinks_what_candles_own_model_thinks() {
        let mut ours = load("llama");
        let (content, mut reader) = tiny("llama", &[], None);
        let mut theirs = ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
        for (tokens, at) in [(&TOKENS[..5], 0), (&TOKENS[5..6], 5), (&TOKENS[6..], 6)] {
            let ours = numbers(ours.forward(&row(tokens), false));
            let theirs = numbers(theirs.forward(&row(tokens), at));
            assert_eq!(ours.len(), 50);
            let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "{apart} apart behind {at}");
        }
    }

    #[test]
    fn on_two_cores_it_thinks_the_same_to_the_last_bit() {
        let crew = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for named in ["llama", "qwen2"] {
            let (mut one, mut two) = (load(named), load(named));
            for (tokens, at) in [(&TOKENS[..7], 0), (&TOKENS[7..], 7)] {
                let wide = crew.install(|| numbers(two.forward(&row(tokens), true)));
                assert_eq!(numbers(one.forward(&row(tokens), false)), wide, "{named} behind {at}");
            }
        }
    }

    #[test]
    fn a_fork_reads_on_as_if_it_had_read_all_itself_and_leaves_the_other_alone() {
        let mut whole = load("qwen2");
        let mut first = whole.fork(0, 4).unwrap();
        first.forward(&row(&TOKENS[..5]), false).unwrap();
        let (mut fork, mut bare) = (first.fork(3, 0).unwrap(), first.fork(0, 0).unwrap());
        fork.forward(&row(&[40, 41]), false).unwrap();
        bare.forward(&row(&[42]), false).unwrap();
        let read = numbers(first.forward(&row(&TOKENS[5..]), false));
        whole.forward(&row(&TOKENS[..5]), false).unwrap();
        assert_eq!(read, numbers(whole.forward(&row(&TOKENS[5..]), false)));
        let mut other = whole.fork(0, 4).unwrap();
        other.forward(&row(&TOKENS[..3]), false).unwrap();
        other.forward(&row(&[40, 41]), false).unwrap();
        let ends = [&mut fork, &mut other].map(|decoder| numbers(decoder.forward(&row(&[7]), false)));
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn what_makes_no_model_is_refused() {
        let refused = |more: &[(&str, u32)], extra| {
            let (content, mut reader) = tiny("llama", more, extra);
            Decoder::load(&content, &mut reader, "llama", 64).err().map(|error| error.to_string()).unwrap()
        };
        for wrong in [("attention.head_count", 0), ("attention.head_count_kv", 3), ("block_count", 1_000)] {
            assert!(refused(&[wrong], None).contains("make no model"), "{wrong:?}");
        }
        assert!(refused(&[], Some(("rope_freqs.weight", vec![1.0; 3]))).contains("rope_freqs has 3 numbers"));
        assert!(refused(&[("expert_count", 8)], None).contains("experts"));
    }

    #[test]
    fn a_matrix_is_halved_by_rows_and_what_has_none_to_halve_is_refused() {
        let of = |shape: (usize, usize)| {
            let tensor = Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
            Matrix::of(&QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
        };
        let y = of((3, 4)).unwrap().forward(&Tensor::new(&[[1_f32, 2.0, 3.0, 4.0]], &Device::Cpu).unwrap(), false);
        assert_eq!(numbers(y), [10.0; 3]);
        assert!(of((1, 4)).is_err());
    }

    #[test]
    fn pairs_turn_slower_where_the_file_says_so() {
        let turned = |by: f32| {
            let (content, mut reader) = tiny("llama", &[], Some(("rope_freqs.weight", vec![by; 8])));
            let mut decoder = Decoder::load(&content, &mut reader, "llama", 64).unwrap();
            numbers(decoder.forward(&row(&TOKENS), false))
        };
        assert_eq!(turned(1.0), numbers(load("llama").forward(&row(&TOKENS), false)));
        assert_ne!(turned(1.0), turned(8.0));
    }
}
