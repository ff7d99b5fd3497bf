//! Words of a byte-level BPE vocabulary, back as bytes.
//!
//! GPT-2's vocabularies write each byte as one printable character; this undoes it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::ConvertError;

/// The first special token: what stands before it are words.
const END: &str = "<|endoftext|>";
/// The vocabulary's file is at most so long.
const MAX_BYTES: u64 = 16 << 20;

/// The words before `<|endoftext|>` in the order of their numbers, from `vocabulary.json` or
/// `vocabulary.txt` in `folder`.
pub(super) fn words(folder: &Path) -> Result<Vec<Vec<u8>>, ConvertError> {
    let json = folder.join("vocabulary.json");
    let tokens: Vec<String> = if json.is_file() {
        serde_json::from_slice(&read(&json)?)
            .map_err(|e| ConvertError::Shape(format!("vocabulary.json is no list of words: {e}")))?
    } else {
        let text = String::from_utf8(read(&folder.join("vocabulary.txt"))?)
            .map_err(|_| ConvertError::Shape("vocabulary.txt is not UTF-8".into()))?;
        text.split('\n').map(str::to_owned).collect()
    };
    let end = tokens
        .iter()
        .position(|token| token == END)
        .ok_or_else(|| ConvertError::Shape(format!("the vocabulary has no {END}")))?;
    let bytes = alphabet();
    tokens[..end].iter().map(|token| decode(token, &bytes)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ConvertError> {
    let what = path.display().to_string();
    let length = fs::metadata(path).map_err(ConvertError::io(&*what))?.len();
    if length > MAX_BYTES {
        return Err(ConvertError::Shape(format!("{what} has {length} bytes, more than any vocabulary")));
    }
    fs::read(path).map_err(ConvertError::io(what))
}

fn decode(token: &str, bytes: &HashMap<char, u8>) -> Result<Vec<u8>, ConvertError> {
    token
        .chars()
        .map(|c| bytes.get(&c).copied())
        .collect::<Option<_>>()
        .ok_or_else(|| ConvertError::Shape(format!("{token:?} is no byte-level token")))
}

/// Printable Latin-1 stands for itself; the other 68 bytes, in order, for the characters from U+0100 on.
fn alphabet() -> HashMap<char, u8> {
    let mut odd = 0;
    (0..=255_u8)
        .map(|byte| {
            let itself = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let c = if itself {
                char::from(byte)
            } else {
                odd += 1;
                char::from_u32(0xff + odd).unwrap_or(char::REPLACEMENT_CHARACTER)
            };
            (c, byte)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        assert_eq!(alphabet().len(), 256);
    }

    #[test]
    fn words_come_back_as_bytes_and_stop_before_the_specials() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vocabulary.txt"), "a\nĠthe\nåľ\n\n<|endoftext|>\n<|en|>\n").unwrap();
        let want = vec![b"a".to_vec(), b" the".to_vec(), vec![0xe5, 0x9c], Vec::new()];
        assert_eq!(words(folder.path()).unwrap(), want);
        fs::write(folder.path().join("vocabulary.json"), r#"["Ċ", "<|endoftext|>"]"#).unwrap();
        assert_eq!(words(folder.path()).unwrap(), vec![b"\n".to_vec()]);
    }

    #[test]
    fn a_vocabulary_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(words(folder.path()).is_err());
        fs::write(folder.path().join("vocabulary.txt"), "a\nb\n").unwrap();
        assert!(words(folder.path()).unwrap_err().to_string().contains("<|endoftext|>"));
        fs::write(folder.path().join("vocabulary.txt"), "a b\n<|endoftext|>").unwrap();
        assert!(words(folder.path()).is_err());
    }
}
