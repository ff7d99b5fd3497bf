//! The language model itself: weights, tokens, one step at a time.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::generation::LogitsProcessor;
use candle_transformers::utils::apply_repeat_penalty;
use tokenizers::Tokenizer;

use super::decoder::{self, Decoder};
use super::template::Form;
use super::tokens;
use crate::engine::EngineError;

/// Weights and words of a chat model, as a GGUF file has them.
pub struct Gguf {
    /// Has read nothing; what reads is a fork of it.
    decoder: Decoder,
    tokenizer: Tokenizer,
    form: Form,
    eos: Vec<u32>,
}

/// One conversation in the model's memory.
pub struct State(Decoder);

/// What the model thinks of each possible next token.
pub struct Logits(Tensor);

fn load_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Load(error.to_string())
}

/// What a file is refused for, without the words that come before each refusal.
fn reason(error: EngineError) -> String {
    match error {
        EngineError::Load(reason) => reason,
        other => other.to_string(),
    }
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Failed(error.to_string())
}

impl Gguf {
    /// Loads a GGUF file.
    pub fn load(file: &Path) -> Result<Self, EngineError> {
        Self::open(file).map_err(|error| EngineError::Load(format!("{}: {}", file.display(), reason(error))))
    }

    fn open(file: &Path) -> Result<Self, EngineError> {
        let mut reader = BufReader::new(File::open(file).map_err(load_error)?);
        let content = Content::read(&mut reader).map_err(load_error)?;
        let tokenizer = tokens::tokenizer(&content)?;
        let (form, mut eos) = Form::of(&content, &tokenizer)?;
        eos.extend(content.metadata.get("tokenizer.ggml.eos_token_id").and_then(|value| value.to_u32().ok()));
        let decoder = match tokens::text(&content, "general.architecture")?.as_str() {
            named @ ("llama" | "qwen2") => Decoder::load(&content, &mut reader, named, super::CONTEXT),
            other => {
                return Err(load_error(format!(
                    "its architecture is {other:?}, and llama and qwen2 are what runs here"
                )));
            }
        };
        Ok(Self { decoder: decoder.map_err(load_error)?, tokenizer, form, eos })
    }

    /// An empty conversation.
    pub fn fresh(&self) -> Result<State, EngineError> {
        self.decoder.fork(0, decoder::ROOM).map(State).map_err(failed)
    }

    /// Tokens of plain text; control tokens in it are only letters.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        Ok(self.tokenizer.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// The text of tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, EngineError> {
        self.tokenizer.decode(tokens, true).map_err(failed)
    }

    /// How conversations are written for it.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// This token ends an answer.
    pub fn ends(&self, token: u32) -> bool {
        self.eos.contains(&token)
    }
}

impl State {
    /// Tokens that it has read.
    pub fn length(&self) -> usize {
        self.0.length()
    }

    /// The same conversation up to `length` tokens, to read on from there.
    pub fn fork(&self, length: usize) -> Result<Self, EngineError> {
        self.0.fork(length, decoder::ROOM).map(Self).map_err(failed)
    }

    /// The same conversation up to `length` tokens, in no more memory than it takes.
    pub fn kept(&self, length: usize) -> Result<Self, EngineError> {
        self.0.fork(length, 0).map(Self).map_err(failed)
    }

    /// Reads on; what it thinks comes next. `wide`: on two cores, on a thread of one of rayon's pools.
    pub fn read(&mut self, tokens: &[u32], wide: bool) -> Result<Logits, EngineError> {
        let input = Tensor::new(tokens, &Device::Cpu).and_then(|t| t.unsqueeze(0)).map_err(failed)?;
        self.0.forward(&input, wide).and_then(|t| t.squeeze(0)).map(Logits).map_err(failed)
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
