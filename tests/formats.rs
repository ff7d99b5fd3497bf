//! Weights of every form that a manifest entry may name, made here: tiny, by chance, and of the right shapes.
//!
//! What such a model says is nonsense; that it is loaded, asked and heard is what counts.
#![cfg(feature = "engine")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use voxgate::domain::SystemClock;
use voxgate::engine::{self, Engine};
use voxgate::models::{BUILT_IN, Manifest, Models, Purpose, Selection};
use voxgate::provider::http::{Client, Headers, Patience, Settings as HttpSettings};

const WIDE: usize = 64;
const HEADS: usize = 4;
const KEYS: usize = 2;
const LAYERS: usize = 2;

/// What byte-level BPE writes for a byte.
fn letter(byte: u8) -> char {
    let plain = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !plain(*b)).count();
    char::from_u32(256 + u32::try_from(before).unwrap()).unwrap()
}

fn spelled(text: &str) -> Vec<String> {
    text.bytes().map(|byte| letter(byte).to_string()).collect()
}

/// All bytes, 你 and 好 put together from theirs, and control tokens.
fn vocabulary(control: &[&str]) -> (Vec<String>, Vec<String>, Vec<Value>) {
    let mut tokens: Vec<String> = (0..=255).map(|byte| letter(byte).to_string()).collect();
    let mut merges = Vec::new();
    for word in ["你", "好"] {
        let [a, b, c] = spelled(word).try_into().unwrap();
        merges.extend([format!("{a} {b}"), format!("{a}{b} {c}")]);
        tokens.extend([format!("{a}{b}"), format!("{a}{b}{c}")]);
    }
    let mut kinds = vec![Value::I32(1); tokens.len()];
    tokens.extend(control.iter().map(|name| (*name).to_owned()));
    kinds.extend(control.iter().map(|_| Value::I32(3)));
    (tokens, merges, kinds)
}

struct Shape {
    architecture: &'static str,
    pre: &'static str,
    template: &'static str,
    control: &'static [&'static str],
}

const QWEN2: Shape = Shape {
    architecture: "qwen2",
    pre: "qwen2",
    template: "{% for message in messages %}<|im_start|>{{ message.role }}",
    control: &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
};
const LLAMA3: Shape = Shape {
    architecture: "llama",
    pre: "llama-bpe",
    template: "{{ bos_token }}<|start_header_id|>{{ role }}<|end_header_id|>",
    control: &["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"],
};

/// A file of this shape, filled by chance.
fn write(path: &Path, shape: &Shape, without: Option<&str>) {
    let (tokens, merges, kinds) = vocabulary(shape.control);
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let vocabulary = tokens.len();
    let key = |name: &str| format!("{}.{name}", shape.architecture);
    let number = |n: usize| Value::U32(u32::try_from(n).unwrap());
    let metadata: BTreeMap<String, Value> = [
        ("general.architecture".into(), Value::String(shape.architecture.into())),
        (key("attention.head_count"), number(HEADS)),
        (key("attention.head_count_kv"), number(KEYS)),
        (key("embedding_length"), number(WIDE)),
        (key("context_length"), number(2_048)),
        (key("block_count"), number(LAYERS)),
        (key("rope.dimension_count"), number(WIDE / HEADS)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
        (key("rope.freq_base"), Value::F32(10_000.0)),
        ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Value::String(shape.pre.into())),
        ("tokenizer.ggml.tokens".into(), texts(tokens)),
        ("tokenizer.ggml.merges".into(), texts(merges)),
        ("tokenizer.ggml.token_type".into(), Value::Array(kinds)),
        ("tokenizer.chat_template".into(), Value::String(shape.template.into())),
    ]
    .into_iter()
    .filter(|(name, _): &(String, Value)| Some(name.as_str()) != without)
    .collect();
    let mut weights: Vec<(String, Vec<usize>)> = vec![
        ("token_embd.weight".into(), vec![vocabulary, WIDE]),
        ("output_norm.weight".into(), vec![WIDE]),
        ("output.weight".into(), vec![vocabulary, WIDE]),
    ];
    for layer in 0..LAYERS {
        let own = |name: &str| format!("blk.{layer}.{name}");
        let keys = WIDE / HEADS * KEYS;
        for (name, dims) in [
            ("attn_q.weight", vec![WIDE, WIDE]),
            ("attn_k.weight", vec![keys, WIDE]),
            ("attn_v.weight", vec![keys, WIDE]),
            ("attn_output.weight", vec![WIDE, WIDE]),
            ("ffn_gate.weight", vec![2 * WIDE, WIDE]),
            ("ffn_up.weight", vec![2 * WIDE, WIDE]),
            ("ffn_down.weight", vec![WIDE, 2 * WIDE]),
            ("attn_norm.weight", vec![WIDE]),
            ("ffn_norm.weight", vec![WIDE]),
        ] {
            weights.push((own(name), dims));
        }
        if shape.architecture == "qwen2" {
            weights.extend(
                [("q", WIDE), ("k", keys), ("v", keys)]
                    .map(|(name, wide)| (own(&format!("attn_{name}.bias")), vec![wide])),
            );
        }
    }
    let made: Vec<(String, QTensor)> = weights
        .into_iter()
        .map(|(name, dims)| {
            let kind = if dims.len() == 2 { GgmlDType::Q8_0 } else { GgmlDType::F32 };
            let tensor = Tensor::randn(0.0_f32, 0.5, dims, &Device::Cpu).unwrap();
            (name, QTensor::quantize(&tensor, kind).unwrap())
        })
        .collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = made.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

/// What an engine with this model says of itself and, when it is ready, to a question.
async fn ask(shape: &Shape, without: Option<&str>) -> Result<Json, Json> {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("tiny");
    std::fs::create_dir(&folder).unwrap();
    write(&folder.join("model.gguf"), shape, without);
    std::fs::write(folder.join("READY"), "{}").unwrap();
    let settings = engine::Settings {
        listen_wyoming: ([127, 0, 0, 1], 0).into(),
        listen_http: ([127, 0, 0, 1], 0).into(),
        models_dir: Some(dir.path().into()),
        stt: "off".into(),
        chat: "tiny".into(),
        voice: "off".into(),
        ..engine::Settings::default()
    };
    let stop = CancellationToken::new();
    let engine = Engine::bind(&settings, Arc::new(SystemClock), stop.clone()).await.unwrap();
    let url = format!("http://{}", engine.addrs().http);
    let task = tokio::spawn(async move { engine.run().await.unwrap() });
    let client = Client::new(&HttpSettings::default()).unwrap();
    let health = loop {
        let health = client.get_json(&format!("{url}/health"), &Headers::new(), Patience::default()).await.unwrap();
        if health["status"] != "loading" {
            break health;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let body = json!({"messages": [{"role": "user", "content": "你好，<|im_end|> 3 plus 4?"}], "max_tokens": 12, "temperature": 1.0, "seed": 7});
    let answer =
        client.post_json(&format!("{url}/v1/chat/completions"), &Headers::new(), &body, Patience::default()).await;
    let result = answer.map_err(|_| health);
    stop.cancel();
    task.await.unwrap();
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_models_of_the_shapes_of_qwen_and_of_llama_3_are_loaded_and_answer() {
    for shape in [&QWEN2, &LLAMA3] {
        let answer = ask(shape, None).await.unwrap_or_else(|health| panic!("{}: {health}", shape.architecture));
        let choice = &answer["choices"][0];
        assert!(choice["message"]["content"].is_string(), "{}: {answer}", shape.architecture);
        assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 20, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_refused_with_the_reason() {
    let cases = [
        (Shape { architecture: "gemma3", ..QWEN2 }, "gemma3"),
        (Shape { pre: "tekken", ..QWEN2 }, "tekken"),
        (Shape { template: "<start_of_turn>", ..QWEN2 }, "chat template"),
        (Shape { control: &["<|endoftext|>"], ..QWEN2 }, "chat template"),
    ];
    for (shape, told) in cases {
        let health = ask(&shape, None).await.unwrap_err().to_string();
        assert!(health.contains(told), "{told}: {health}");
    }
    let health = ask(&QWEN2, Some("tokenizer.ggml.merges")).await.unwrap_err().to_string();
    assert!(health.contains("tokenizer.ggml.merges"), "{health}");
}

#[test]
fn one_command_brings_what_chinese_needs_one_model_a_purpose() {
    let manifest = Manifest::parse(BUILT_IN).unwrap();
    let models = Models::open(&voxgate::models::Settings::default(), Path::new("/nowhere")).unwrap();
    let chosen = |tag: &str| {
        let chosen = models.select(&Selection::Language(tag.into())).unwrap();
        chosen.iter().map(|model| model.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chosen("zh-CN"), ["silero-vad", "whisper-small", "qwen2.5-0.5b-instruct-q8_0", "piper-huayan"]);
    assert!(chosen("de").contains(&"whisper-base-q8_0".to_owned()), "where none is best all that speak it are taken");
    let qwen = manifest.get("qwen2.5-0.5b-instruct-q8_0").unwrap();
    assert_eq!((qwen.purpose, qwen.default), (Purpose::Chat, false));
}
