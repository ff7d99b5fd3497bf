//! Parts of speech: "I read it yesterday" or "read it to me".
//!
//! An averaged perceptron over the package's trained weights: a word with one dominant tag has it in a list;
//! for any other the weights of fifteen features (the word, its end and shape, two neighbours on either side,
//! the two tags before) are added up and the tag with the highest sum wins. Words and features are kept as
//! 64-bit hashes: 80,000 features in 3 MB. It knows nothing of sounds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize as DeriveDeserialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{SpeechError, files};

/// Part of speech as far as it changes a pronunciation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Adjective,
    Adverb,
    Determiner,
    Noun,
    Other,
    Participle,
    Past,
    Preposition,
    /// Present tense, not third person ("they read").
    Present,
    Pronoun,
    ProperNoun,
    /// The word "to" before a verb.
    To,
    /// Every other form of a verb.
    Verb,
}

impl Part {
    pub(super) fn is_noun(self) -> bool {
        matches!(self, Part::Noun | Part::ProperNoun)
    }

    /// From a tag of the Penn Treebank.
    fn of_tag(tag: &str) -> Self {
        match tag {
            "DT" => Part::Determiner,
            "IN" => Part::Preposition,
            "NN" | "NNS" => Part::Noun,
            "NNP" | "NNPS" => Part::ProperNoun,
            "PRP" => Part::Pronoun,
            "TO" => Part::To,
            "VBD" => Part::Past,
            "VBN" => Part::Participle,
            "VBP" => Part::Present,
            _ if tag.starts_with("VB") => Part::Verb,
            _ if tag.starts_with("RB") => Part::Adverb,
            _ if tag.starts_with("JJ") => Part::Adjective,
            _ => Part::Other,
        }
    }
}

/// The file.
#[derive(DeriveDeserialize)]
struct Trained {
    tags: Vec<String>,
    /// Words of one tag.
    tagdict: HashMap<String, String>,
    /// Words frequent enough to be features themselves; all others are features by their shape.
    vocab: Vec<String>,
    weights: Features,
}

/// Features with their weights by tag, read piece by piece: as maps of maps they would take 40 MB.
#[derive(Default)]
struct Features {
    /// Tags in the order in which they came.
    tags: Vec<String>,
    /// Feature, its first weight and the one behind its last.
    ranges: Vec<(u64, (u32, u32))>,
    weighted_tags: Vec<u8>,
    /// In tenths, as the file has them.
    weights: Vec<i16>,
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(FeatureReader)
    }
}

struct FeatureReader;

impl<'de> Visitor<'de> for FeatureReader {
    type Value = Features;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("weights by feature and tag")
    }

    #[allow(clippy::cast_possible_truncation, reason = "a file of at most 32 MB; weights are small")]
    fn visit_map<A: MapAccess<'de>>(self, mut file: A) -> Result<Features, A::Error> {
        let mut features = Features::default();
        while let Some((feature, weights)) = file.next_entry::<Cow<'de, str>, HashMap<String, f32>>()? {
            let first = features.weights.len() as u32;
            for (tag, weight) in weights {
                let known = features.tags.iter().position(|known| *known == tag);
                let number = known.unwrap_or_else(|| {
                    features.tags.push(tag);
                    features.tags.len() - 1
                });
                features.weighted_tags.push(u8::try_from(number).map_err(serde::de::Error::custom)?);
                features.weights.push((weight * 10.0).round() as i16);
            }
            features.ranges.push((Hash::of(&[&feature]), (first, features.weights.len() as u32)));
        }
        Ok(features)
    }
}

pub(super) struct Tagger {
    tags: Vec<String>,
    parts: Vec<Part>,
    sure: Sorted<u8>,
    frequent: Sorted<()>,
    /// Feature to its first and last weight.
    features: Sorted<(u32, u32)>,
    weighted_tags: Vec<u8>,
    weights: Vec<i16>,
}

/// Words before the first and behind the last.
const BEFORE: [&str; 2] = ["-START2-", "-START-"];
const BEHIND: [&str; 2] = ["-END-", "-END2-"];

impl Tagger {
    pub(super) fn load(dir: &Path) -> Result<Self, SpeechError> {
        let trained: Trained = files::read_json(dir, files::TAGGER)?;
        Self::compact(trained).map_err(|reason| SpeechError::Damaged { file: files::TAGGER, reason })
    }

    fn compact(trained: Trained) -> Result<Self, String> {
        let number = |tag: &String| -> Result<u8, String> {
            let at = trained.tags.iter().position(|known| known == tag).ok_or_else(|| format!("no tag {tag}"))?;
            u8::try_from(at).map_err(|_| "too many tags".to_owned())
        };
        let mut sure = Vec::with_capacity(trained.tagdict.len());
        for (word, tag) in &trained.tagdict {
            sure.push((Hash::of(&[word]), number(tag)?));
        }
        let Features { tags, ranges, mut weighted_tags, mut weights } = trained.weights;
        let numbers = tags.iter().map(number).collect::<Result<Vec<u8>, String>>()?;
        for tag in &mut weighted_tags {
            *tag = numbers[usize::from(*tag)];
        }
        weighted_tags.shrink_to_fit();
        weights.shrink_to_fit();
        Ok(Self {
            parts: trained.tags.iter().map(|tag| Part::of_tag(tag)).collect(),
            tags: trained.tags,
            sure: Sorted::new(sure),
            frequent: Sorted::new(trained.vocab.iter().map(|word| (Hash::of(&[word]), ())).collect()),
            features: Sorted::new(ranges),
            weighted_tags,
            weights,
        })
    }

    /// The part of speech of each word of a sentence; marks and clitics ("n't", "'s") are words here.
    pub(super) fn tag(&self, words: &[&str]) -> Vec<Part> {
        let context: Vec<String> = BEFORE
            .iter()
            .map(ToString::to_string)
            .chain(words.iter().map(|word| self.as_context(word)))
            .chain(BEHIND.iter().map(ToString::to_string))
            .collect();
        let mut before: [&str; 2] = BEFORE;
        let mut parts = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            let tag = match self.sure.get(Hash::of(&[word])) {
                Some(tag) => usize::from(tag),
                None => self.predict(at, word, &context, before),
            };
            parts.push(self.parts[tag]);
            before = [before[1], &self.tags[tag]];
        }
        parts
    }

    fn predict(&self, at: usize, word: &str, context: &[String], [tag2, tag1]: [&str; 2]) -> usize {
        let [left2, left, this, right, right2] =
            [&*context[at], &*context[at + 1], &*context[at + 2], &*context[at + 3], &*context[at + 4]];
        let first_letter = &word[..word.chars().next().map_or(0, char::len_utf8)];
        let features: [&[&str]; 15] = [
            &["b"],
            &["s3=", ending(word)],
            &["p1=", first_letter],
            &["w=", this],
            &["sh=", &shape(word)],
            &[if at == 0 { "i0" } else { "i+" }],
            &["t-1=", tag1],
            &["t-2=", tag2],
            &["t-12=", tag1, ",", tag2],
            &["w-1=", left],
            &["s3-1=", ending(left)],
            &["w-2=", left2],
            &["w+1=", right],
            &["s3+1=", ending(right)],
            &["w+2=", right2],
        ];
        let mut scores = vec![0_i32; self.tags.len()];
        for feature in features {
            let Some((from, to)) = self.features.get(Hash::of(feature)) else { continue };
            for at in from as usize..to as usize {
                scores[usize::from(self.weighted_tags[at])] += i32::from(self.weights[at]);
            }
        }
        // Of equal sums the later name wins, as it did in training.
        (0..scores.len()).max_by_key(|&tag| (scores[tag], &self.tags[tag])).unwrap_or_default()
    }

    /// A word as its neighbours see it.
    fn as_context(&self, word: &str) -> String {
        let digits = word.chars().all(|c| c.is_ascii_digit());
        let known = if word.contains('-') && !word.starts_with('-') {
            "!HYPHEN".to_owned()
        } else if digits && word.len() == 4 {
            "!YEAR".to_owned()
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            "!DIGITS".to_owned()
        } else {
            word.to_lowercase()
        };
        if self.frequent.get(Hash::of(&[&known])).is_some() { known } else { format!("<{}>", shape(word)) }
    }
}

/// The last three characters.
fn ending(word: &str) -> &str {
    let start = word.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    &word[start..]
}

/// How a word is written: `x` small, `Xx` capitalised, `XX` capitals, `X1` one capital, `d` digits, …
fn shape(word: &str) -> String {
    let mut letters = word.chars();
    let all = |test: fn(char) -> bool| !word.is_empty() && word.chars().all(test);
    let capital = letters.next().is_some_and(char::is_uppercase);
    let name = if all(char::is_alphabetic) {
        if all(char::is_lowercase) {
            "x"
        } else if all(char::is_uppercase) {
            if letters.as_str().is_empty() { "X1" } else { "XX" }
        } else if capital && letters.all(char::is_lowercase) {
            "Xx"
        } else {
            "xX"
        }
    } else if all(char::is_numeric) {
        "d"
    } else {
        let kind = |c: char| {
            if c.is_numeric() {
                'd'
            } else if c.is_alphabetic() {
                'x'
            } else {
                c
            }
        };
        return word.chars().take(4).map(kind).collect();
    };
    name.to_owned()
}

/// FNV-1a over pieces of text, as if they were written one behind the other.
struct Hash;

impl Hash {
    fn of(pieces: &[&str]) -> u64 {
        let bytes = pieces.iter().flat_map(|piece| piece.bytes());
        bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    }
}

/// A map from hashes that is two arrays.
struct Sorted<V> {
    keys: Vec<u64>,
    values: Vec<V>,
}

impl<V: Copy> Sorted<V> {
    fn new(mut entries: Vec<(u64, V)>) -> Self {
        entries.sort_unstable_by_key(|&(key, _)| key);
        let (keys, values) = entries.into_iter().unzip();
        Self { keys, values }
    }

    fn get(&self, key: u64) -> Option<V> {
        self.keys.binary_search(&key).ok().map(|at| self.values[at])
    }
}
