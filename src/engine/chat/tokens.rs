//! Text ↔ tokens, by what a GGUF file says of its vocabulary: byte-level BPE.

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::engine::EngineError;

/// A control token in the file's list of token kinds.
const CONTROL: i64 = 3;
/// How the words of Qwen 2 are told apart before they are cut into tokens; digits go one by one.
/// Source: `tokenizer.json` of Qwen2.5 (pre_tokenizer), which llama.cpp names "qwen2".
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same of Llama 3: up to three digits together. Source: its `tokenizer.json`, "llama-bpe" in llama.cpp.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn load_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Load(error.to_string())
}

/// A text of the file's metadata.
pub(super) fn text(content: &Content, key: &str) -> Result<String, EngineError> {
    let value = content.metadata.get(key).ok_or_else(|| load_error(format!("it has no {key}")))?;
    value.to_string().cloned().map_err(load_error)
}

/// The tokenizer that the file describes.
pub(super) fn tokenizer(content: &Content) -> Result<Tokenizer, EngineError> {
    let kind = text(content, "tokenizer.ggml.model")?;
    if kind != "gpt2" {
        return Err(load_error(format!(
            "its vocabulary is {kind:?}, and byte-level BPE (\"gpt2\") is what is read here"
        )));
    }
    let list = |key: &str| -> Result<&Vec<Value>, EngineError> {
        let value = content.metadata.get(key).ok_or_else(|| load_error(format!("it has no {key}")))?;
        value.to_vec().map_err(load_error)
    };
    let word = |value: &Value| value.to_string().cloned().map_err(load_error);
    let tokens: Vec<String> = list("tokenizer.ggml.tokens")?.iter().map(word).collect::<Result<_, _>>()?;
    let merges = list("tokenizer.ggml.merges")?.iter().map(|value| {
        let pair = word(value)?;
        let (left, right) = pair.split_once(' ').ok_or_else(|| load_error("a merge is no pair"))?;
        Ok((left.to_owned(), right.to_owned()))
    });
    let merges = merges.collect::<Result<Vec<_>, EngineError>>()?;
    let vocabulary: Vocab = tokens.iter().cloned().zip(0_u32..).collect();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(load_error)?;
    let mut tokenizer = Tokenizer::new(bpe);
    let pre = content.metadata.get("tokenizer.ggml.pre").and_then(|value| value.to_string().ok());
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps(pre.map(String::as_str))?)));
    if matches!(pre.map(String::as_str), Some("qwen2")) {
        tokenizer.with_normalizer(Some(NFC));
    }
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    let kinds = list("tokenizer.ggml.token_type")?;
    let control = tokens.iter().zip(kinds).filter(|(_, kind)| number(kind) == Some(CONTROL));
    let special: Vec<_> = control.map(|(token, _)| AddedToken::from(token.clone(), true)).collect();
    tokenizer.add_special_tokens(&special);
    // What a person types is text, even when it looks like a control token.
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// How words are told apart before they are cut into tokens.
fn steps(pre: Option<&str>) -> Result<Vec<PreTokenizerWrapper>, EngineError> {
    let words = |pattern: &str| {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(load_error)?;
        Ok(vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false))])
    };
    let common = PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true));
    match pre {
        None | Some("smollm") => Ok(vec![PreTokenizerWrapper::Digits(Digits::new(true)), common]),
        Some("gpt-2" | "default") => Ok(vec![common]),
        Some("qwen2") => words(QWEN2),
        Some("llama-bpe" | "llama3" | "llama-v3") => words(LLAMA3),
        Some(other) => Err(load_error(format!(
            "its words are told apart as {other:?}, and smollm, gpt-2, qwen2 and llama-bpe are what is known here"
        ))),
    }
}

fn number(value: &Value) -> Option<i64> {
    value.to_i32().map(i64::from).or_else(|_| value.to_u32().map(i64::from)).ok()
}
