//! The language model itself: weights, tokens, one step at a time.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use candle_transformers::generation::LogitsProcessor;
use candle_transformers::models::quantized_llama::ModelWeights;
use candle_transformers::utils::apply_repeat_penalty;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

use crate::engine::EngineError;

/// A control token in the file's list of token kinds.
const CONTROL: i64 = 3;

/// Weights and words of a Llama model with the SmolLM2 template.
pub struct Llama {
    /// Never read with: its clones share the weights, and each has its own memory of the conversation.
    weights: ModelWeights,
    tokenizer: Tokenizer,
    begin: u32,
    end: u32,
    eos: Vec<u32>,
}

/// One conversation in the model's memory.
#[derive(Clone)]
pub struct State {
    weights: ModelWeights,
    length: usize,
}

/// What the model thinks of each possible next token.
pub struct Logits(Tensor);

fn load_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Load(error.to_string())
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Failed(error.to_string())
}

impl Llama {
    /// Loads a GGUF file.
    pub fn load(file: &Path) -> Result<Self, EngineError> {
        let wrong = |e: &dyn std::fmt::Display| EngineError::Load(format!("{}: {e}", file.display()));
        let mut reader = BufReader::new(File::open(file).map_err(|e| wrong(&e))?);
        let content = Content::read(&mut reader).map_err(|e| wrong(&e))?;
        let tokenizer = tokenizer(&content)?;
        let id = |name: &str| {
            tokenizer.token_to_id(name).ok_or_else(|| load_error(format!("the model has no token {name}")))
        };
        let (begin, end) = (id("<|im_start|>")?, id("<|im_end|>")?);
        let mut eos = vec![end, begin];
        eos.extend(tokenizer.token_to_id("<|endoftext|>"));
        eos.extend(content.metadata.get("tokenizer.ggml.eos_token_id").and_then(|v| v.to_u32().ok()));
        let weights = ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).map_err(|e| wrong(&e))?;
        Ok(Self { weights, tokenizer, begin, end, eos })
    }

    /// An empty conversation.
    pub fn fresh(&self) -> State {
        State { weights: self.weights.clone(), length: 0 }
    }

    /// Tokens of plain text; control tokens in it are only letters.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        Ok(self.tokenizer.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// The text of tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, EngineError> {
        self.tokenizer.decode(tokens, true).map_err(failed)
    }

    /// The token before a message.
    pub fn begin(&self) -> u32 {
        self.begin
    }

    /// The token after a message.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// This token ends an answer.
    pub fn ends(&self, token: u32) -> bool {
        self.eos.contains(&token)
    }
}

impl State {
    /// Reads on; what it thinks comes next.
    pub fn read(&mut self, tokens: &[u32]) -> Result<Logits, EngineError> {
        let input = Tensor::new(tokens, &Device::Cpu).and_then(|t| t.unsqueeze(0)).map_err(failed)?;
        let logits = self.weights.forward(&input, self.length).and_then(|t| t.squeeze(0)).map_err(failed)?;
        self.length += tokens.len();
        Ok(Logits(logits))
    }
}

/// Chooses tokens.
pub struct Sampler(LogitsProcessor);

impl Sampler {
    /// The same seed chooses the same tokens.
    pub fn new(seed: u64, temperature: f64, top_p: f64) -> Self {
        let top_p = Some(top_p).filter(|p| *p > 0.0 && *p < 1.0);
        Self(LogitsProcessor::new(seed, Some(temperature).filter(|t| *t > 0.0), top_p))
    }

    /// The next token; those of `late` are less likely by `penalty`.
    pub fn next(&mut self, logits: &Logits, late: &[u32], penalty: f32) -> Result<u32, EngineError> {
        let logits = apply_repeat_penalty(&logits.0, penalty, late).map_err(failed)?;
        self.0.sample(&logits).map_err(failed)
    }
}

/// The tokenizer that the file describes: byte-level BPE with single digits.
fn tokenizer(content: &Content) -> Result<Tokenizer, EngineError> {
    let list = |key: &str| -> Result<&Vec<Value>, EngineError> {
        let value = content.metadata.get(key).ok_or_else(|| load_error(format!("the model has no {key}")))?;
        value.to_vec().map_err(load_error)
    };
    let text = |value: &Value| value.to_string().cloned().map_err(load_error);
    let tokens: Vec<String> = list("tokenizer.ggml.tokens")?.iter().map(text).collect::<Result<_, _>>()?;
    let merges = list("tokenizer.ggml.merges")?.iter().map(|value| {
        let pair = text(value)?;
        let (left, right) = pair.split_once(' ').ok_or_else(|| load_error("a merge is no pair"))?;
        Ok((left.to_owned(), right.to_owned()))
    });
    let merges = merges.collect::<Result<Vec<_>, EngineError>>()?;
    let vocabulary: Vocab = tokens.iter().cloned().zip(0_u32..).collect();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(load_error)?;
    let mut tokenizer = Tokenizer::new(bpe);
    let steps = vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    let kinds = list("tokenizer.ggml.token_type")?;
    let control = tokens.iter().zip(kinds).filter(|(_, kind)| number(kind) == Some(CONTROL));
    let special: Vec<_> = control.map(|(token, _)| AddedToken::from(token.clone(), true)).collect();
    tokenizer.add_special_tokens(&special);
    // What a person types is text, even when it looks like a control token.
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

fn number(value: &Value) -> Option<i64> {
    value.to_i32().map(i64::from).or_else(|_| value.to_u32().map(i64::from)).ok()
}
