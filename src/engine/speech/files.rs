//! The voice's files: which they are, and reading them with a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::SpeechError;

pub(super) const ACOUSTIC: &str = "hibari.onnx";
pub(super) const PHONEMES: &str = "vocab.json";
pub(super) const GOLD: &str = "lexicon_us_gold.json.gz";
pub(super) const SILVER: &str = "lexicon_us_silver.json.gz";
pub(super) const TAGGER: &str = "tagger.json.gz";
pub(super) const UNKNOWN: &str = "oov.onnx";
pub(super) const UNKNOWN_LETTERS: &str = "oov.json";

/// What the voice needs: path in the wheel `hibari_tts-0.2.1-py3-none-any.whl`, file name in the voice's
/// folder. The last two are the licence and must stay beside the data.
pub const FILES: &[(&str, &str)] = &[
    ("hibari/assets/hibari.onnx", ACOUSTIC),
    ("hibari/assets/vocab.json", PHONEMES),
    ("hibari/assets/lexicon_us_gold.json.gz", GOLD),
    ("hibari/assets/lexicon_us_silver.json.gz", SILVER),
    ("hibari/assets/tagger.json.gz", TAGGER),
    ("hibari/assets/oov.onnx", UNKNOWN),
    ("hibari/assets/oov.json", UNKNOWN_LETTERS),
    ("hibari_tts-0.2.1.dist-info/licenses/LICENSE", "LICENSE"),
    ("hibari_tts-0.2.1.dist-info/licenses/NOTICE", "NOTICE"),
];

/// Four times the largest file in use: a wrong file may not fill the memory.
const MAX_BYTES: u64 = 32 << 20;

/// The whole file, unpacked when its name ends in `.gz`.
pub(super) fn read(dir: &Path, file: &'static str) -> Result<Vec<u8>, SpeechError> {
    let unreadable = |source| SpeechError::Unreadable { file, source };
    let raw = File::open(dir.join(file)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    if Path::new(file).extension().is_some_and(|end| end == "gz") {
        let unpacked = GzDecoder::new(raw).take(MAX_BYTES).read_to_end(&mut bytes);
        unpacked.map_err(|error| SpeechError::Damaged { file, reason: error.to_string() })?;
    } else {
        raw.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 == MAX_BYTES {
        return Err(SpeechError::Damaged { file, reason: format!("larger than {MAX_BYTES} bytes") });
    }
    Ok(bytes)
}

/// A JSON file as a value of its own type.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(dir: &Path, file: &'static str) -> Result<T, SpeechError> {
    serde_json::from_slice(&read(dir, file)?).map_err(|error| SpeechError::Damaged { file, reason: error.to_string() })
}
