//! Text to vectors with a BERT sentence model (MiniLM), by candle: mean of the tokens, length one.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Tokenizer, TruncationParams};

use super::EngineError;
use super::station::{Desk, Model};

/// Longer texts are cut.
const MOST_TOKENS: usize = 256;

/// A loaded sentence model.
pub struct Embedder {
    model: BertModel,
    tokenizer: Tokenizer,
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Failed(error.to_string())
}

impl Embedder {
    /// Loads `model.safetensors` and `tokenizer.json`.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let wrong = |e: &dyn std::fmt::Display| EngineError::Load(format!("{}: {e}", dir.display()));
        let mut tokenizer = Tokenizer::from_file(dir.join("tokenizer.json")).map_err(|e| wrong(&e))?;
        let cut = TruncationParams { max_length: MOST_TOKENS, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|e| wrong(&e))?;
        tokenizer.with_padding(None);
        // Read rather than mapped: mapping is unsafe (somebody may shorten the file), and the model is
        // loaded on demand and forgotten when idle.
        let weights = std::fs::read(dir.join("model.safetensors")).map_err(|e| wrong(&e))?;
        let config = match std::fs::read(dir.join("config.json")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| wrong(&e))?,
            Err(_) => minilm(),
        };
        let vars = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).map_err(|e| wrong(&e))?;
        let model = BertModel::load(vars, &config).map_err(|e| wrong(&e))?;
        Ok(Self { model, tokenizer })
    }

    /// One vector of length one a text.
    pub fn embed(&self, texts: &[String], desk: &Desk) -> Result<Vec<Vec<f32>>, EngineError> {
        texts
            .iter()
            .map(|text| {
                let _core = desk.core();
                self.one(text)
            })
            .collect()
    }

    fn one(&self, text: &str) -> Result<Vec<f32>, EngineError> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(failed)?;
        let vector = || -> candle_core::Result<Vec<f32>> {
            let ids = Tensor::new(encoding.get_ids(), &Device::Cpu)?.unsqueeze(0)?;
            let kinds = ids.zeros_like()?;
            let states = self.model.forward(&ids, &kinds, None)?;
            let mean = states.i(0)?.mean(0)?;
            let norm = mean.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?.max(f32::MIN_POSITIVE);
            (mean / f64::from(norm))?.to_vec1()
        };
        vector().map_err(failed)
    }
}

impl Model for Embedder {
    type Worker = Arc<Embedder>;

    fn worker(self: &Arc<Self>) -> Result<Arc<Embedder>, EngineError> {
        Ok(Arc::clone(self))
    }
}

/// The shape of all-MiniLM-L6-v2, for a folder without a `config.json`.
fn minilm() -> Config {
    Config {
        vocab_size: 30_522,
        hidden_size: 384,
        num_hidden_layers: 6,
        num_attention_heads: 12,
        intermediate_size: 1_536,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        ..Config::default()
    }
}
