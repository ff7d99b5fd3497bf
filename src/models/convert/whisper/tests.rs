//! A Whisper of 32 numbers a state and one layer a side, made up here, goes through the converter and is read back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;

use super::*;

const STATE: u32 = 32;
const WORDS: u32 = 40;
const MELS: u32 = 80;

/// CTranslate2's writer, as far as it is needed.
#[derive(Default)]
struct Binary {
    body: Vec<u8>,
    count: u32,
}

impl Binary {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend(u16::try_from(text.len() + 1).unwrap().to_le_bytes());
        out.extend(text.as_bytes());
        out.push(0);
    }

    fn variable(&mut self, name: &str, dims: &[u32], kind: u8, data: &[u8]) {
        Self::text(&mut self.body, name);
        self.body.push(u8::try_from(dims.len()).unwrap());
        self.body.extend(dims.iter().flat_map(|d| d.to_le_bytes()));
        self.body.push(kind);
        self.body.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.body.extend(data);
        self.count += 1;
    }

    /// A tensor whose numbers tell their place: `at(row, column)`.
    fn tensor(&mut self, name: &str, dims: &[u32]) {
        let row: u32 = dims[1..].iter().product();
        let data =
            (0..dims.iter().product()).flat_map(|i| half::f16::from_f32(at(name, i / row, i % row)).to_le_bytes());
        self.variable(name, dims, 4, &data.collect::<Vec<_>>());
    }

    fn finish(self, spec: &str) -> Vec<u8> {
        let mut file = 6_u32.to_le_bytes().to_vec();
        Self::text(&mut file, spec);
        file.extend(3_u32.to_le_bytes());
        file.extend(self.count.to_le_bytes());
        file.extend(self.body);
        file.extend(0_u32.to_le_bytes());
        file
    }
}

/// Differs by tensor and row, so that a mixed-up slice shows; rows are scaled to use all of the 8 bits.
fn at(name: &str, row: u32, column: u32) -> f32 {
    let seed: u32 = name.bytes().map(u32::from).sum();
    let sign = if (column + row + seed).is_multiple_of(3) { -1.0 } else { 1.0 };
    sign * ((row % 97 + 1) as f32 * 0.03 + (column % 5) as f32 * 0.01)
}

fn model() -> Vec<u8> {
    let mut b = Binary::default();
    for side in ["encoder", "decoder"] {
        b.variable(&format!("{side}/num_heads"), &[], 2, &2_u16.to_le_bytes());
        for end in ["gamma", "beta"] {
            b.tensor(&format!("{side}/layer_norm/{end}"), &[STATE]);
            b.tensor(&format!("{side}/layer_0/self_attention/layer_norm/{end}"), &[STATE]);
            b.tensor(&format!("{side}/layer_0/ffn/layer_norm/{end}"), &[STATE]);
        }
        let linear = |b: &mut Binary, name: &str, rows: u32, columns: u32| {
            b.tensor(&format!("{side}/layer_0/{name}/weight"), &[rows, columns]);
            b.tensor(&format!("{side}/layer_0/{name}/bias"), &[rows]);
        };
        linear(&mut b, "self_attention/linear_0", 3 * STATE, STATE);
        linear(&mut b, "self_attention/linear_1", STATE, STATE);
        linear(&mut b, "ffn/linear_0", 4 * STATE, STATE);
        linear(&mut b, "ffn/linear_1", STATE, 4 * STATE);
        if side == "decoder" {
            linear(&mut b, "attention/linear_0", STATE, STATE);
            linear(&mut b, "attention/linear_1", 2 * STATE, STATE);
            linear(&mut b, "attention/linear_2", STATE, STATE);
        }
    }
    b.tensor("decoder/layer_0/attention/layer_norm/gamma", &[STATE]);
    b.tensor("decoder/layer_0/attention/layer_norm/beta", &[STATE]);
    b.tensor("encoder/position_encodings/encodings", &[10, STATE]);
    b.tensor("decoder/position_encodings/encodings", &[6, STATE]);
    b.tensor("decoder/embeddings/weight", &[WORDS, STATE]);
    b.tensor("encoder/conv1/weight", &[STATE, MELS, 3]);
    b.tensor("encoder/conv1/bias", &[STATE]);
    b.tensor("encoder/conv2/weight", &[STATE, STATE, 3]);
    b.tensor("encoder/conv2/bias", &[STATE]);
    b.finish("WhisperSpec")
}

fn folder(model: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.bin"), model).unwrap();
    fs::write(dir.path().join("vocabulary.txt"), "a\nb\nĠc\n<|endoftext|>\n<|en|>\n").unwrap();
    dir
}

fn run(model: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let dir = folder(model);
    let out = dir.path().join("ggml.bin");
    convert(dir.path(), &out, &mut |_, _| true)?;
    Ok(fs::read(out).unwrap())
}

/// A reader of the GGML file: the eleven numbers, words, and tensors (dims innermost first, type, numbers).
struct Reader<'a>(&'a [u8]);

type Tensors = BTreeMap<String, (Vec<i32>, i32, Vec<f32>)>;

impl Reader<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn len(&mut self) -> usize {
        self.i32().try_into().unwrap()
    }

    fn head(&mut self) -> (Vec<i32>, usize) {
        assert_eq!(self.take(4), b"lmgg");
        let hyper = (0..11).map(|_| self.i32()).collect();
        let (mels, bins) = (self.len(), self.len());
        self.take(4 * mels * bins);
        let words = self.len();
        for _ in 0..words {
            let length = self.len();
            self.take(length);
        }
        (hyper, words)
    }

    fn tensors(&mut self) -> Tensors {
        let mut all = Tensors::new();
        while !self.0.is_empty() {
            let (rank, length, kind) = (self.len(), self.len(), self.i32());
            let dims: Vec<i32> = (0..rank).map(|_| self.i32()).collect();
            let name = String::from_utf8(self.take(length).to_vec()).unwrap();
            let count: usize = dims.iter().map(|&d| usize::try_from(d).unwrap()).product();
            let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
            let numbers = match kind {
                0 => self.take(4 * count).chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
                1 => self.take(2 * count).chunks(2).map(half).collect(),
                8 => {
                    let blocks = self.take(count / 32 * 34).chunks(34);
                    blocks
                        .flat_map(|b| b[2..].iter().map(|q| f32::from(q.cast_signed()) * half(b)).collect::<Vec<_>>())
                        .collect()
                }
                other => panic!("type {other}"),
            };
            all.insert(name, (dims, kind, numbers));
        }
        all
    }
}

#[test]
fn the_head_says_what_the_shapes_say() {
    let file = run(&model()).unwrap();
    let (hyper, words) = Reader(&file).head();
    assert_eq!(hyper, [40, 10, 32, 2, 1, 6, 32, 2, 1, 80, 2007]);
    assert_eq!(words, 3, "the words before <|endoftext|>");
}

#[test]
fn every_tensor_that_whisper_cpp_asks_for_is_there_and_no_other() {
    let file = run(&model()).unwrap();
    let mut reader = Reader(&file);
    reader.head();
    let tensors = reader.tensors();
    // whisper.cpp: 10 + 15 are its bound; 4 + 4 outside the layers and 3 of the decoder, 15 and 24 a layer.
    assert_eq!(tensors.len(), 7 + 15 + 4 + 24, "{:?}", tensors.keys());
    assert!(!tensors.keys().any(|name| name.ends_with("key.bias")));
    let of = |name: &str| (tensors[name].0.clone(), tensors[name].1);
    assert_eq!(of("encoder.conv1.weight"), (vec![3, 80, 32], 1));
    assert_eq!(of("encoder.conv1.bias"), (vec![1, 32], 0));
    assert_eq!(of("encoder.blocks.0.mlp.0.weight"), (vec![32, 128], 8));
    assert_eq!(of("decoder.token_embedding.weight"), (vec![32, 40], 8));
    assert_eq!(of("decoder.positional_embedding"), (vec![32, 6], 0));
    assert_eq!(of("decoder.blocks.0.cross_attn.value.bias"), (vec![32], 0));
}

#[test]
fn fused_projections_come_apart_at_the_right_rows() {
    let file = run(&model()).unwrap();
    let mut reader = Reader(&file);
    reader.head();
    let tensors = reader.tensors();
    let cases = [
        ("encoder.blocks.0.attn.query.weight", "encoder/layer_0/self_attention/linear_0/weight", 0),
        ("encoder.blocks.0.attn.key.weight", "encoder/layer_0/self_attention/linear_0/weight", 32),
        ("encoder.blocks.0.attn.value.weight", "encoder/layer_0/self_attention/linear_0/weight", 64),
        ("decoder.blocks.0.cross_attn.key.weight", "decoder/layer_0/attention/linear_1/weight", 0),
        ("decoder.blocks.0.cross_attn.value.weight", "decoder/layer_0/attention/linear_1/weight", 32),
    ];
    for (to, from, first) in cases {
        for (row, numbers) in tensors[to].2.chunks(32).enumerate() {
            for (column, got) in numbers.iter().enumerate() {
                let want = at(from, first + u32::try_from(row).unwrap(), u32::try_from(column).unwrap());
                assert!((got - want).abs() < 0.016, "{to} {row} {column}: {got} {want}");
            }
        }
    }
    let bias = &tensors["decoder.blocks.0.attn.value.bias"].2;
    let want: Vec<f32> = (64..96)
        .map(|row| half::f16::from_f32(at("decoder/layer_0/self_attention/linear_0/bias", row, 0)).to_f32())
        .collect();
    assert_eq!(*bias, want);
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_no_panic() {
    let whole = model();
    // The closing count of aliases is not needed, and not read.
    for cut in (0..whole.len() - 4).step_by(997).chain(0..200) {
        assert!(run(&whole[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn another_model_other_shapes_and_quantised_weights_are_refused() {
    let mut other = Binary::default();
    other.tensor("encoder/conv1/weight", &[1, 1, 1]);
    assert!(run(&other.finish("TransformerSpec")).unwrap_err().to_string().contains("TransformerSpec"));
    let whole = model();
    let find = |what: &str| whole.windows(what.len()).position(|w| w == what.as_bytes()).unwrap() + what.len() + 1;
    // An impossible dimension, a rank beyond any, a type that is no float.
    let mut bad = whole.clone();
    bad[find("encoder/conv1/weight") + 4] = 0xff;
    assert!(matches!(run(&bad), Err(ConvertError::Ct2(_))));
    let mut bad = whole.clone();
    bad[find("encoder/conv1/weight")] = 200;
    assert!(matches!(run(&bad), Err(ConvertError::Ct2(_))));
    let mut bad = whole.clone();
    bad[find("decoder/embeddings/weight") + 9] = 1;
    assert!(run(&bad).unwrap_err().to_string().contains("quantised"));
}

#[test]
fn a_stop_is_heard() {
    let dir = folder(&model());
    let mut steps = 0;
    let stopped = convert(dir.path(), &dir.path().join("ggml.bin"), &mut |_, _| {
        steps += 1;
        steps < 3
    });
    assert!(matches!(stopped, Err(ConvertError::Stopped)));
}
