//! ONNX networks that tests write themselves: tiny, with the inputs and outputs of the real ones.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, ValueInfoProto,
};

/// An operator.
pub fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (name, op_type) = (Some(output.to_owned()), Some(op.to_owned()));
    NodeProto { name, op_type, input: texts(inputs), output: texts(&[output]), ..NodeProto::default() }
}

/// An operator with a whole number.
pub fn node_with(op: &str, inputs: &[&str], output: &str, attribute: (&str, i64)) -> NodeProto {
    let (name, i, r#type) = (Some(attribute.0.to_owned()), Some(attribute.1), Some(AttributeType::INT));
    let mut node = node(op, inputs, output);
    node.attribute.push(AttributeProto { name, i, r#type, ..AttributeProto::default() });
    node
}

/// An operator with a list of whole numbers.
pub fn node_with_list(op: &str, inputs: &[&str], output: &str, attribute: (&str, Vec<i64>)) -> NodeProto {
    let (name, r#type) = (Some(attribute.0.to_owned()), Some(AttributeType::INTS));
    let mut node = node(op, inputs, output);
    node.attribute.push(AttributeProto { name, ints: attribute.1, r#type, ..AttributeProto::default() });
    node
}

/// A constant of floats.
pub fn floats(name: &str, dims: &[i64], data: Vec<f32>) -> TensorProto {
    let (name, data_type) = (Some(name.to_owned()), Some(DataType::FLOAT));
    TensorProto { name, data_type, dims: dims.to_vec(), float_data: data, ..TensorProto::default() }
}

/// A constant of whole numbers.
pub fn whole(name: &str, dims: &[i64], data: Vec<i64>) -> TensorProto {
    let (name, data_type) = (Some(name.to_owned()), Some(DataType::INT64));
    TensorProto { name, data_type, dims: dims.to_vec(), int64_data: data, ..TensorProto::default() }
}

/// A file.
pub fn network(
    inputs: &[&str],
    constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    output: &str,
    notes: &[(&str, &str)],
) -> Vec<u8> {
    let value = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), ..ValueInfoProto::default() };
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: inputs.iter().map(value).collect(),
        output: vec![value(&output)],
        ..GraphProto::default()
    };
    let note = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some((*value).to_owned()),
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(15) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        metadata_props: notes.iter().map(note).collect(),
        ..ModelProto::default()
    };
    model.write_buf().unwrap()
}

/// 200 samples a phoneme, as high as its number; noise and the speaker on top. Inputs and output as Piper's.
pub fn sounds(speakers: bool) -> Vec<u8> {
    let mut inputs = vec!["input", "input_lengths", "scales"];
    let mut nodes = vec![
        node_with("Cast", &["input"], "numbers", ("to", 1)),
        node("Mul", &["numbers", "hundredth"], "height"),
        node("RandomNormalLike", &["height"], "noise"),
        node("Gather", &["scales", "zero"], "share"),
        node("Mul", &["noise", "share"], "scaled"),
        node("Mul", &["scaled", "hundredth"], "little"),
        node("Add", &["height", "little"], "noisy"),
    ];
    let mut last = "noisy";
    if speakers {
        inputs.push("sid");
        nodes.push(node_with("Cast", &["sid"], "speaker", ("to", 1)));
        nodes.push(node("Mul", &["speaker", "hundredth"], "deeper"));
        nodes.push(node("Add", &["noisy", "deeper"], "spoken"));
        last = "spoken";
    }
    nodes.push(node("Unsqueeze", &[last, "axes"], "columns"));
    nodes.push(node("Tile", &["columns", "times"], "output"));
    let constants = vec![
        floats("hundredth", &[1], vec![0.01]),
        whole("zero", &[], vec![0]),
        whole("axes", &[1], vec![2]),
        whole("times", &[3], vec![1, 1, 200]),
    ];
    network(&inputs, constants, nodes, "output", &[])
}

/// The description of such a voice, which reads letters.
pub const LETTERS: &str = r#"{
    "audio": {"sample_rate": 16000}, "phoneme_type": "text", "language": {"code": "xx"},
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], " ": [3], ",": [8], ".": [10], "a": [14], "b": [15, 16],
                       "c": [17], "ç": [40], "̧": [41], "é": [42]},
    "num_speakers": 2, "speaker_id_map": {"ann": 0, "bob": 1}
}"#;

/// What [`sense_voice`] tells.
pub const PIECES: [&str; 14] = [
    "<unk>",
    "▁hello",
    "好",
    "<|zh|>",
    "<|en|>",
    "<|yue|>",
    "<|ja|>",
    "<|ko|>",
    "<|nospeech|>",
    "<|NEUTRAL|>",
    "<|Speech|>",
    "<|withitn|>",
    "<|woitn|>",
    "</s>",
];

/// Says "hello" wherever it is loud; before that the language that it is told, a mood, an event and the manner.
pub fn sense_voice(without: Option<&str>, auto: &str) -> Vec<u8> {
    let nodes = vec![
        node_with_list("ReduceMean", &["x"], "loudness", ("axes", vec![2])),
        node("Squeeze", &["loudness", "axis"], "levels"),
        node("Greater", &["levels", "threshold"], "loud"),
        node_with("Cast", &["loud"], "spoken", ("to", 7)),
        node_with("Cast", &["language"], "asked", ("to", 7)),
        node_with("Cast", &["text_norm"], "manner", ("to", 7)),
        node_with("Concat", &["asked", "mood", "manner"], "row", ("axis", 0)),
        node("Unsqueeze", &["row", "first"], "head"),
        node_with("Concat", &["head", "spoken"], "numbers", ("axis", 1)),
        node("OneHot", &["numbers", "depth", "values"], "logits"),
    ];
    let constants = vec![
        floats("threshold", &[1], vec![5.0]),
        whole("axis", &[1], vec![2]),
        whole("first", &[1], vec![0]),
        whole("mood", &[2], vec![9, 10]),
        whole("depth", &[], vec![14]),
        floats("values", &[2], vec![0.0, 1.0]),
    ];
    let (mean, spread) = (vec!["0.0"; 560].join(","), vec!["1.0"; 560].join(","));
    let mut notes = vec![
        ("model_type", "sense_voice_ctc"),
        ("lfr_window_size", "7"),
        ("lfr_window_shift", "6"),
        ("neg_mean", &mean),
        ("inv_stddev", &spread),
        ("lang_auto", auto),
        ("lang_zh", "3"),
        ("lang_en", "4"),
        ("lang_yue", "5"),
        ("lang_ja", "6"),
        ("lang_ko", "7"),
        ("with_itn", "11"),
        ("without_itn", "12"),
    ];
    notes.retain(|(key, _)| Some(*key) != without);
    network(&["x", "x_length", "language", "text_norm"], constants, nodes, "logits", &notes)
}

/// Says always the same, with something behind its end.
pub fn paraformer() -> Vec<u8> {
    let nodes = vec![
        node_with_list("ReduceMean", &["speech"], "level", ("axes", vec![1, 2])),
        node("Mul", &["level", "nothing"], "none"),
        node("Add", &["said", "none"], "chosen"),
        node_with("Cast", &["chosen"], "numbers", ("to", 7)),
        node("OneHot", &["numbers", "depth", "values"], "spread"),
        node("Squeeze", &["spread", "axis"], "logits"),
    ];
    let constants = vec![
        floats("nothing", &[1], vec![0.0]),
        floats("said", &[1, 1, 6], vec![1.0, 2.0, 3.0, 4.0, 5.0, 1.0]),
        whole("depth", &[], vec![6]),
        whole("axis", &[1], vec![1]),
        floats("values", &[2], vec![0.0, 1.0]),
    ];
    let (mean, spread) = (vec!["-1"; 560].join(","), vec!["0.1"; 560].join(","));
    let notes = [("lfr_window_size", "7"), ("lfr_window_shift", "6"), ("neg_mean", &mean), ("inv_stddev", &spread)];
    network(&["speech", "speech_lengths"], constants, nodes, "logits", &notes)
}
