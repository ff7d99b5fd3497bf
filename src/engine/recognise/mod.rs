//! Speech to text by ONNX models of FunASR's kind: SenseVoice and Paraformer, as sherpa-onnx exports them.
//!
//! A folder with one `*.onnx` (or `model.int8.onnx` beside others) and `tokens.txt`. Both take frames of [`fbank`] and
//! [`frames`]; SenseVoice answers each frame by a piece of a word, a tag or nothing (CTC), Paraformer each word by a piece.
//! It knows samples and words, no protocol.

mod fbank;
mod frames;
mod tokens;

use std::path::{Path, PathBuf};

use rten::{NodeId, Value};

use super::EngineError;
use super::file;
use super::network::{self, Network};
use crate::domain::language::base;
use fbank::Filterbank;
use frames::Shape;
use tokens::Tokens;

/// The largest `tokens.txt`.
const MOST_BYTES: u64 = 8 << 20;
/// Samples a second.
const RATE: usize = 16_000;
/// Longer sound is heard in pieces: the models learnt from 30 s at most, and their memory grows with its square.
const LONGEST: usize = RATE * 30;
/// A piece is cut where it is quietest from here on.
const SHORTEST: usize = RATE * 20;
/// The length of a quiet place.
const QUIET: usize = RATE / 10;

/// A loaded model. Calls from several threads run side by side, each on one core.
pub struct Recogniser {
    network: Network,
    tokens: Tokens,
    bank: Filterbank,
    shape: Shape,
    kind: Kind,
    logits: NodeId,
}

enum Kind {
    SenseVoice(SenseVoice),
    Paraformer { sound: NodeId, length: NodeId, end: Option<usize> },
}

/// What SenseVoice is told besides the sound.
struct SenseVoice {
    sound: NodeId,
    length: NodeId,
    language: NodeId,
    manner: NodeId,
    /// The number of "find out yourself", and of each language.
    auto: i32,
    languages: Vec<(&'static str, i32)>,
    /// With marks, and numbers in digits.
    written: i32,
    blank: usize,
}

/// The languages that it can be told.
const LANGUAGES: [(&str, &str); 5] =
    [("zh", "lang_zh"), ("en", "lang_en"), ("yue", "lang_yue"), ("ja", "lang_ja"), ("ko", "lang_ko")];

/// The network of a folder that holds such a model; none where it holds none.
pub fn network_of(dir: &Path) -> Option<PathBuf> {
    if !dir.join("tokens.txt").is_file() {
        return None;
    }
    let mut found: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "onnx"));
    // the smaller one first
    found.sort_by_key(|path| !path.to_string_lossy().ends_with(".int8.onnx"));
    found.into_iter().next()
}

impl Recogniser {
    /// Loads the model of a folder.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let file = network_of(dir).ok_or_else(|| {
            EngineError::Load(format!("{} has no ONNX network with a tokens.txt beside it", dir.display()))
        })?;
        let list = dir.join("tokens.txt");
        let wrong = |what: String| EngineError::Load(format!("{}: {what}", list.display()));
        let tokens = read(&list).and_then(|text| Tokens::parse(&text)).map_err(wrong)?;
        let network = Network::load(&file)?;
        let shape = Shape::read(|key| network.note(key)).map_err(|what| network.wrong(&what))?;
        let kind = kind(&network, &tokens)?;
        let logits = network.output()?;
        Ok(Self { network, tokens, bank: Filterbank::new(), shape, kind, logits })
    }

    /// The languages that it hears.
    pub fn languages(&self) -> Vec<String> {
        match &self.kind {
            Kind::SenseVoice(_) => LANGUAGES.iter().map(|(language, _)| (*language).to_owned()).collect(),
            Kind::Paraformer { .. } => vec!["zh".into(), "en".into()],
        }
    }

    /// What a piece of sound says, and in which language where the model tells it. Blocks; uses one core.
    pub fn hear(&self, sound: &[i16], language: Option<&str>) -> Result<(String, Option<String>), EngineError> {
        let frames = self.shape.frames(&self.bank.frames(sound));
        let count = frames.len() / self.shape.width();
        if count == 0 {
            return Ok((String::new(), None));
        }
        let length = network::whole([1], vec![i32::try_from(count).unwrap_or(i32::MAX)])?;
        let frames = network::floats([1, count, self.shape.width()], frames)?;
        match &self.kind {
            Kind::SenseVoice(senses) => {
                let one = |number| network::whole([1], vec![number]);
                let inputs = vec![
                    (senses.sound, frames),
                    (senses.length, length),
                    (senses.language, one(senses.number(language))?),
                    (senses.manner, one(senses.written)?),
                ];
                let best = self.best(self.network.run(inputs, self.logits)?)?;
                Ok(self.told(&collapsed(&best, senses.blank)))
            }
            Kind::Paraformer { sound, length: node, end } => {
                let mut best = self.best(self.network.run(vec![(*sound, frames), (*node, length)], self.logits)?)?;
                if let Some(at) = best.iter().position(|number| Some(*number) == *end) {
                    best.truncate(at);
                }
                Ok((self.tokens.words(&best), None))
            }
        }
    }

    /// The most likely number at each place.
    fn best(&self, logits: Value) -> Result<Vec<usize>, EngineError> {
        let odd = |what: String| self.network.failed(&format!("its answer is {what}"));
        let (shape, logits) = logits.into_shape_vec::<f32, 3>().map_err(|e| odd(e.to_string()))?;
        let [1, _, width] = shape else { return Err(odd(format!("{shape:?}, not of one sound"))) };
        if width == 0 {
            return Ok(Vec::new());
        }
        let highest = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(n, _)| n);
        Ok(logits.chunks_exact(width).map(highest).collect())
    }

    /// The words of SenseVoice's answer, and the language that it names. Its tag for "nobody spoke" is no words.
    fn told(&self, numbers: &[usize]) -> (String, Option<String>) {
        let (text, tags) = self.tokens.sentence(numbers);
        if tags.contains(&"nospeech") || !text.chars().any(char::is_alphanumeric) {
            return (String::new(), None);
        }
        let named = tags.iter().find(|tag| LANGUAGES.iter().any(|(language, _)| language == *tag));
        (text, named.map(|tag| (*tag).to_owned()))
    }
}

impl SenseVoice {
    /// `zh-CN` is `zh`; what it does not know it is left to find out.
    fn number(&self, language: Option<&str>) -> i32 {
        let short = language.map(base);
        let known = self.languages.iter().find(|(name, _)| Some(*name) == short.as_deref());
        known.map_or(self.auto, |(_, number)| *number)
    }
}

/// Pieces that long sound is heard in, each cut where it is quietest.
pub fn pieces(sound: &[i16]) -> Vec<&[i16]> {
    let mut pieces = Vec::new();
    let mut rest = sound;
    while rest.len() > LONGEST {
        let places = rest[SHORTEST..LONGEST].chunks_exact(QUIET).enumerate();
        let energy = |place: &[i16]| place.iter().map(|s| i64::from(*s).pow(2)).sum::<i64>();
        let quietest = places.min_by_key(|(_, place)| energy(place)).map_or(0, |(n, _)| n);
        let (piece, behind) = rest.split_at(SHORTEST + quietest * QUIET + QUIET / 2);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

/// A piece that stands in several frames in a row is one, and `blank` is none.
fn collapsed(best: &[usize], blank: usize) -> Vec<usize> {
    let runs = best.chunk_by(|a, b| a == b).filter_map(|run| run.first());
    runs.copied().filter(|number| *number != blank).collect()
}

fn kind(network: &Network, tokens: &Tokens) -> Result<Kind, EngineError> {
    if ["x", "x_length", "language", "text_norm"].iter().all(|name| network.takes(name)) {
        return sense_voice(network).map(Kind::SenseVoice);
    }
    if ["speech", "speech_lengths"].iter().all(|name| network.takes(name)) {
        let end = tokens.number("</s>");
        return Ok(Kind::Paraformer { sound: network.node("speech")?, length: network.node("speech_lengths")?, end });
    }
    let inputs = network.inputs().take(8).collect::<Vec<_>>().join(", ");
    let known = "SenseVoice takes x, x_length, language, text_norm; Paraformer takes speech, speech_lengths";
    Err(network.wrong(&format!("no speech model that is known here: it takes {inputs}. {known}")))
}

fn sense_voice(network: &Network) -> Result<SenseVoice, EngineError> {
    let optional = |key: &str| network.note(key).map(|text| text.trim().parse::<i32>()).transpose();
    let wrong = |key: &str| network.wrong(&format!("its note {key} is missing or no number"));
    let number = |key: &str| optional(key).ok().flatten().ok_or_else(|| wrong(key));
    let languages = LANGUAGES.iter().map(|(language, key)| Ok((*language, number(key)?)));
    Ok(SenseVoice {
        sound: network.node("x")?,
        length: network.node("x_length")?,
        language: network.node("language")?,
        manner: network.node("text_norm")?,
        auto: number("lang_auto")?,
        languages: languages.collect::<Result<_, EngineError>>()?,
        written: number("with_itn")?,
        blank: optional("blank_id").ok().flatten().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    })
}

fn read(list: &Path) -> Result<String, String> {
    String::from_utf8(file::read(list, MOST_BYTES, "a list of pieces")?).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
