//! The pronouncing dictionary: 183,000 words in two sorted blocks of bytes.
//!
//! The files are JSON objects, word to phonemes, or for words with several readings word to an object by part
//! of speech (`DEFAULT`, `NOUN`, `VERB`, …, `None` for "last before a pause"; `null` means "spell it"). Here a
//! block holds the words in order, each as `word 0 phonemes`, a phoneme being one byte: 5 MB for what would be
//! 30 MB of strings. It knows which readings there are, not which one is right: that is `pronounce`.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{SpeechError, files};

/// What a word of several readings is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Use {
    /// Any verb form without an own entry.
    Verb = FIRST_USE,
    Noun,
    Adjective,
    Adverb,
    /// Past tense.
    Past,
    /// Past participle.
    Participle,
    /// Present, not third person.
    Present,
    /// Before a noun, as in "that house".
    Determiner,
    /// The last word before a pause.
    Final,
}

/// Bytes from here on begin another reading of the same word; below are phonemes.
const FIRST_USE: u8 = 0xF0;
/// In the place of phonemes: spell the word.
const SPELL: u8 = 0xEF;
/// Between a word and its phonemes.
const END_OF_WORD: u8 = 0;

impl Use {
    fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "VERB" => Use::Verb,
            "NOUN" => Use::Noun,
            "ADJ" => Use::Adjective,
            "ADV" => Use::Adverb,
            "VBD" => Use::Past,
            "VBN" => Use::Participle,
            "VBP" => Use::Present,
            "DT" => Use::Determiner,
            "None" => Use::Final,
            _ => return None,
        })
    }
}

/// How a word is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    Phonemes(String),
    /// Letter by letter.
    Spelled,
}

/// Where a reading was found: the hand-checked dictionary, or the large one made by machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Gold,
    Silver,
}

pub(super) struct Lexicon {
    gold: Block,
    silver: Block,
    alphabet: Alphabet,
}

impl Lexicon {
    pub(super) fn load(dir: &Path) -> Result<Self, SpeechError> {
        let gold = files::read(dir, files::GOLD)?;
        let silver = files::read(dir, files::SILVER)?;
        Self::parse(&gold, &silver)
    }

    /// From the text of the two JSON files.
    pub(super) fn parse(gold: &[u8], silver: &[u8]) -> Result<Self, SpeechError> {
        let mut alphabet = Alphabet::default();
        let mut block = |file, json| {
            Block::parse(json, &mut alphabet).map_err(|error| SpeechError::Damaged { file, reason: error.to_string() })
        };
        let gold = block(files::GOLD, gold)?;
        let silver = block(files::SILVER, silver)?;
        Ok(Self { gold, silver, alphabet })
    }

    /// Where `word` is found. A word at the start of a sentence and a name in lower case are found too:
    /// "house" answers to "House" and the other way round, unless that has its own entry.
    pub(super) fn source(&self, word: &str) -> Option<Source> {
        if self.gold.find(word).is_some() { Some(Source::Gold) } else { self.silver.find(word).map(|_| Source::Silver) }
    }

    /// The reading for the first of `uses` that the word distinguishes, else the usual one.
    pub(super) fn read(&self, word: &str, source: Source, uses: &[Use]) -> Option<Reading> {
        let block = match source {
            Source::Gold => &self.gold,
            Source::Silver => &self.silver,
        };
        let codes = choose(block.find(word)?, uses);
        if codes == [SPELL] {
            return Some(Reading::Spelled);
        }
        Some(Reading::Phonemes(codes.iter().filter_map(|&code| self.alphabet.phoneme(code)).collect()))
    }
}

/// The codes of the wanted reading out of all readings of a word.
fn choose<'a>(readings: &'a [u8], uses: &[Use]) -> &'a [u8] {
    for &wanted in uses {
        if let Some(at) = readings.iter().position(|&byte| byte == wanted as u8) {
            return until_next_use(&readings[at + 1..]);
        }
    }
    until_next_use(readings)
}

fn until_next_use(codes: &[u8]) -> &[u8] {
    let end = codes.iter().position(|&byte| byte >= FIRST_USE).unwrap_or(codes.len());
    &codes[..end]
}

/// Phonemes as bytes, numbered as they come.
#[derive(Default)]
struct Alphabet(Vec<char>);

impl Alphabet {
    fn code<E: serde::de::Error>(&mut self, phoneme: char) -> Result<u8, E> {
        let at = self.0.iter().position(|&known| known == phoneme).unwrap_or_else(|| {
            self.0.push(phoneme);
            self.0.len() - 1
        });
        u8::try_from(at + 1).ok().filter(|&code| code < SPELL).ok_or_else(|| E::custom("too many kinds of phonemes"))
    }

    fn phoneme(&self, code: u8) -> Option<char> {
        self.0.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// One dictionary file.
struct Block {
    bytes: Vec<u8>,
    /// Where each word starts, in the order of the words' bytes.
    starts: Vec<u32>,
}

impl Block {
    fn parse(json: &[u8], alphabet: &mut Alphabet) -> Result<Self, serde_json::Error> {
        let mut block = Self { bytes: Vec::with_capacity(json.len()), starts: Vec::new() };
        let mut json = serde_json::Deserializer::from_slice(json);
        Words { block: &mut block, alphabet }.deserialize(&mut json)?;
        json.end()?;
        block.bytes.shrink_to_fit();
        let Self { bytes, starts } = &mut block;
        starts.sort_unstable_by(|&a, &b| word_at(bytes, a).cmp(word_at(bytes, b)));
        starts.shrink_to_fit();
        Ok(block)
    }

    fn find(&self, word: &str) -> Option<&[u8]> {
        self.exact(word).or_else(|| self.exact(&other_case(word)?))
    }

    fn exact(&self, word: &str) -> Option<&[u8]> {
        let place = self.starts.binary_search_by(|&start| word_at(&self.bytes, start).cmp(word.as_bytes())).ok()?;
        let after = &self.bytes[self.starts[place] as usize + word.len() + 1..];
        let end = after.iter().position(|&byte| byte == END_OF_WORD)?;
        Some(&after[..end])
    }
}

/// The word that starts at `start`.
fn word_at(bytes: &[u8], start: u32) -> &[u8] {
    let word = &bytes[start as usize..];
    &word[..word.iter().position(|&byte| byte == END_OF_WORD).unwrap_or(0)]
}

/// "house" for "House", "House" for "house", nothing for "HOUSE" and "iPhone".
fn other_case(word: &str) -> Option<String> {
    let mut chars = word.chars();
    let first = chars.next()?;
    let rest = chars.as_str();
    if rest.is_empty() || rest.chars().any(char::is_uppercase) {
        return None;
    }
    let turned: String =
        if first.is_uppercase() { first.to_lowercase().collect() } else { first.to_uppercase().collect() };
    let turned = turned + rest;
    (turned != word).then_some(turned)
}

/// Reads the object of a file straight into a block.
struct Words<'a> {
    block: &'a mut Block,
    alphabet: &'a mut Alphabet,
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object of words")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut words: A) -> Result<(), A::Error> {
        while let Some(word) = words.next_key::<String>()? {
            if word.contains('\0') {
                words.next_value::<IgnoredAny>()?;
                continue;
            }
            let start = u32::try_from(self.block.bytes.len()).map_err(serde::de::Error::custom)?;
            self.block.starts.push(start);
            self.block.bytes.extend_from_slice(word.as_bytes());
            self.block.bytes.push(END_OF_WORD);
            words.next_value_seed(Readings { bytes: &mut self.block.bytes, alphabet: self.alphabet })?;
            self.block.bytes.push(END_OF_WORD);
        }
        Ok(())
    }
}

/// Reads the value of one word: a string, or an object by use.
struct Readings<'a> {
    bytes: &'a mut Vec<u8>,
    alphabet: &'a mut Alphabet,
}

impl Readings<'_> {
    fn push<E: serde::de::Error>(&mut self, phonemes: &str) -> Result<(), E> {
        for phoneme in phonemes.chars() {
            let code = self.alphabet.code(phoneme)?;
            self.bytes.push(code);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Readings<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readings<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("phonemes, or phonemes by part of speech")
    }

    fn visit_str<E: serde::de::Error>(mut self, phonemes: &str) -> Result<(), E> {
        self.push(phonemes)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut uses: A) -> Result<(), A::Error> {
        let mut others = Vec::new();
        while let Some((key, phonemes)) = uses.next_entry::<String, Option<String>>()? {
            match (Use::of_key(&key), phonemes) {
                (Some(kind), phonemes) => others.push((kind, phonemes)),
                (None, Some(phonemes)) if key == "DEFAULT" => self.push(&phonemes)?,
                (None, _) => {}
            }
        }
        for (kind, phonemes) in others {
            self.bytes.push(kind as u8);
            match phonemes {
                Some(phonemes) => self.push(&phonemes)?,
                None => self.bytes.push(SPELL),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const GOLD: &str =
        r#"{"zoo":"zˈu","used":{"DEFAULT":"jˈuzd","VBD":"jˈust","NOUN":null},"Polish":"pˈOlɪʃ","polish":"pˈɑlɪʃ"}"#;

    fn lexicon() -> Lexicon {
        Lexicon::parse(GOLD.as_bytes(), br#"{"aaron":"\u02c8\u025b\u0279\u0259n"}"#).unwrap()
    }

    fn read(word: &str, uses: &[Use]) -> Option<Reading> {
        let lexicon = lexicon();
        lexicon.read(word, lexicon.source(word)?, uses)
    }

    #[allow(clippy::unnecessary_wraps, reason = "what it is compared with is an Option")]
    fn sound(phonemes: &str) -> Option<Reading> {
        Some(Reading::Phonemes(phonemes.to_owned()))
    }

    #[test]
    fn a_damaged_file_is_refused() {
        for json in ["", "[]", r#"{"a":5}"#, r#"{"a":"b""#, r#"{"a":"b"} x"#] {
            assert!(matches!(Lexicon::parse(json.as_bytes(), b"{}"), Err(SpeechError::Damaged { .. })), "{json}");
        }
    }

    #[test]
    fn unknown_words_are_not_found() {
        assert_eq!(read("zo", &[]), None);
        assert_eq!(read("zoos", &[]), None);
        assert_eq!(read("", &[]), None);
    }

    #[test]
    fn a_word_is_found_capitalised_unless_that_is_another_word() {
        assert_eq!(read("Zoo", &[]), sound("zˈu"));
        assert_eq!(read("Aaron", &[]), sound("ˈɛɹən"));
        assert_eq!(read("Polish", &[]), sound("pˈOlɪʃ"));
        assert_eq!(read("polish", &[]), sound("pˈɑlɪʃ"));
        assert_eq!(read("ZOO", &[]), None);
        assert_eq!(lexicon().source("aaron"), Some(Source::Silver));
    }

    #[test]
    fn the_first_use_that_the_word_knows_decides() {
        assert_eq!(read("used", &[Use::Final, Use::Past]), sound("jˈust"));
        assert_eq!(read("used", &[Use::Final]), sound("jˈuzd"));
        assert_eq!(read("used", &[Use::Noun]), Some(Reading::Spelled));
    }
}
