//! The real weights, as `voxgate models pull` makes them: their sums, and what the engines' libraries make of them.
//!
//! Set VOXGATE_MODELS to a folder that was pulled into; without it these tests say that they are skipped, with
//! VOXGATE_REQUIRE_MODELS=1 they fail. The speech is human: Debian's pocketsphinx-testdata (LibriVox, public domain).

#![cfg(feature = "engine")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

use voxgate::models::{Models, Settings, State};

const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// What is missing is said; when it must not be, the test fails.
fn skipped(why: &str) {
    assert!(std::env::var_os("VOXGATE_REQUIRE_MODELS").is_none_or(|v| v != "1"), "{why}");
    println!("skipped: {why}");
}

fn models() -> Option<Models> {
    let Some(dir) = std::env::var_os("VOXGATE_MODELS") else {
        skipped("VOXGATE_MODELS names no folder of models (voxgate models pull)");
        return None;
    };
    let settings = Settings { dir: Some(dir.into()), ..Settings::default() };
    Some(Models::open(&settings, Path::new("/nowhere")).unwrap())
}

/// The model's folder when it is ready.
fn ready(name: &str) -> Option<PathBuf> {
    let models = models()?;
    let status = models.status().into_iter().find(|status| status.name == name).unwrap();
    if status.state == State::Ready {
        return Some(status.folder);
    }
    let why = format!("{name} in {} is {:?}", models.dir().display(), status.state);
    if status.default {
        skipped(&why);
    } else {
        println!("skipped: {why}, and is no default");
    }
    None
}

#[test]
fn every_pulled_model_has_the_sums_of_the_manifest() {
    let Some(models) = models() else { return };
    for status in models.status() {
        match status.state {
            State::Ready => {
                let verified = models.verify(&status.name, |_, _| true).unwrap();
                assert_eq!(verified.state, State::Ready, "{}", status.name);
            }
            State::Missing if !status.default => println!("skipped: {} was not pulled", status.name),
            other => skipped(&format!("{} is {other:?}", status.name)),
        }
    }
}

/// The five sentences: samples at 16 kHz, and what is said.
fn sentences() -> Option<Vec<(Vec<f32>, String)>> {
    let Ok(list) = std::fs::read_to_string(format!("{SPEECH}/transcription")) else {
        skipped("no human speech here: apt-get install pocketsphinx-testdata");
        return None;
    };
    let sentence = |line: &str| {
        let (words, file) = line.trim().strip_prefix("<s>")?.split_once("</s>")?;
        let file = file.trim().trim_matches(['(', ')']);
        let mut wav = hound::WavReader::open(format!("{SPEECH}/{file}.wav")).unwrap();
        assert_eq!((wav.spec().sample_rate, wav.spec().channels), (16_000, 1));
        Some((wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect(), words.to_owned()))
    };
    Some(list.lines().filter_map(sentence).collect())
}

fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace("mr.", "mister").replace('-', " ");
    plain.split_whitespace().map(|w| w.chars().filter(|c| c.is_alphanumeric()).collect()).collect()
}

/// Least number of words put in, left out or mistaken.
fn errors(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let kept = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[heard.len()]
}

/// Words mistaken, of all words.
fn word_errors(name: &str) -> Option<(usize, usize)> {
    let (folder, sentences) = (ready(name)?, sentences()?);
    whisper_rs::install_logging_hooks();
    let file = folder.join("ggml.bin");
    let context = WhisperContext::new_with_params(file.to_str().unwrap(), WhisperContextParameters::default()).unwrap();
    let mut state = context.create_state().unwrap();
    let (mut wrong, mut all) = (0, 0);
    for (samples, said) in sentences {
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        params.set_language(Some("en"));
        params.set_n_threads(1);
        params.set_audio_ctx(768);
        params.set_print_progress(false);
        params.set_print_realtime(false);
        state.full(params, &samples).unwrap();
        let heard: String = state.as_iter().map(|segment| segment.to_string()).collect();
        println!("{name}: {heard}");
        let said = words(&said);
        wrong += errors(&said, &words(&heard));
        all += said.len();
    }
    println!("{name}: {wrong} of {all} words wrong");
    Some((wrong, all))
}

#[test]
fn the_converted_whisper_tiny_understands_a_human() {
    if let Some((wrong, all)) = word_errors("whisper-tiny.en-q8_0") {
        assert!(all > 60 && wrong * 100 <= all * 12, "{wrong} of {all}");
    }
}

#[test]
fn the_converted_whisper_base_understands_a_human() {
    if let Some((wrong, all)) = word_errors("whisper-base-q8_0") {
        assert!(all > 60 && wrong * 100 <= all * 12, "{wrong} of {all}");
    }
}

/// The tokenizer that the GGUF file describes.
fn tokenizer(content: &gguf_file::Content) -> Tokenizer {
    let list = |key: &str| -> Vec<String> {
        let values = content.metadata[key].to_vec().unwrap();
        values.iter().map(|value| value.to_string().unwrap().clone()).collect()
    };
    let vocabulary: Vocab = list("tokenizer.ggml.tokens").into_iter().zip(0..).collect();
    let pair = |merge: &String| merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let merges = list("tokenizer.ggml.merges").iter().filter_map(pair).collect();
    let mut tokenizer = Tokenizer::new(BPE::builder().vocab_and_merges(vocabulary, merges).build().unwrap());
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(bytes),
    ])));
    tokenizer.with_decoder(Some(bytes));
    tokenizer.add_special_tokens(&["<|im_start|>", "<|im_end|>"].map(|token| AddedToken::from(token, true)));
    tokenizer
}

#[test]
fn the_requantised_chat_model_answers_sensibly() {
    let Some(folder) = ready("smollm2-135m-instruct-q8_0") else { return };
    let mut file = File::open(folder.join("model.gguf")).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    assert_eq!(content.metadata["general.file_type"].to_u32().unwrap(), 7);
    let tokenizer = tokenizer(&content);
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();

    let prompt = "<|im_start|>user\nWhat is the capital of Italy?<|im_end|>\n<|im_start|>assistant\nThe capital of \
                  Italy is Rome.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n\
                  <|im_start|>assistant\n";
    let mut next: Vec<u32> = tokenizer.encode(prompt, false).unwrap().get_ids().to_vec();
    let (mut at, mut answer) = (0, Vec::new());
    let end = tokenizer.token_to_id("<|im_end|>").unwrap();
    while answer.len() < 24 {
        let input = Tensor::new(&*next, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = model.forward(&input, at).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        at += next.len();
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        let token = u32::try_from(best).unwrap();
        if token == end {
            break;
        }
        answer.push(token);
        next = vec![token];
    }
    let answer = tokenizer.decode(&answer, true).unwrap();
    println!("the capital of France: {answer}");
    assert!(answer.contains("Paris"), "{answer}");
}
