//! What a Piper voice says of itself: the JSON file beside its network.
//!
//! The form is that of the files which Piper's training writes (`phoneme_type`, `phoneme_id_map`, `audio`, `inference`,
//! `espeak`, `language`). Keys that are not known are passed over, values that cannot be are refused by name.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// A voice's facts, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Samples a second.
    pub rate: u32,
    /// How text becomes phonemes.
    pub reading: Reading,
    /// The numbers of each phoneme.
    pub numbers: HashMap<char, Vec<i32>>,
    /// What it is varied by: noise of the sound, length, noise of the lengths.
    pub scales: [f32; 3],
    /// How many speakers there are.
    pub speakers: u32,
    /// Their names, where they have some.
    pub names: BTreeMap<String, u32>,
    /// BCP 47.
    pub language: Option<String>,
}

/// How text becomes phonemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The program espeak-ng with this voice of its own.
    Espeak(String),
    /// The letters are the phonemes.
    Letters,
}

#[derive(Deserialize)]
struct File {
    audio: Audio,
    #[serde(default)]
    espeak: Option<EspeakVoice>,
    #[serde(default)]
    language: Option<Language>,
    #[serde(default)]
    inference: Inference,
    #[serde(default)]
    phoneme_type: Option<String>,
    phoneme_id_map: BTreeMap<String, Vec<i64>>,
    #[serde(default)]
    num_speakers: Option<u32>,
    #[serde(default)]
    speaker_id_map: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct Audio {
    sample_rate: u32,
}

#[derive(Deserialize)]
struct EspeakVoice {
    voice: String,
}

#[derive(Deserialize)]
struct Language {
    code: String,
}

#[derive(Deserialize)]
#[serde(default)]
struct Inference {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

impl Default for Inference {
    fn default() -> Self {
        Self { noise_scale: 0.667, length_scale: 1.0, noise_w: 0.8 }
    }
}

/// Begins an utterance, fills the gaps, ends it.
pub(super) const BEGIN: char = '^';
pub(super) const GAP: char = '_';
pub(super) const END: char = '$';

impl Config {
    /// Reads it; the error says what is wrong with which key.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let file: File = serde_path_to_error::deserialize(&mut json).map_err(|e| e.to_string())?;
        let rate = file.audio.sample_rate;
        if !(8_000..=48_000).contains(&rate) {
            return Err(format!("audio.sample_rate is {rate}, and 8000 to 48000 can be played"));
        }
        let numbers = numbers(&file.phoneme_id_map)?;
        let Inference { noise_scale, length_scale, noise_w } = file.inference;
        within("inference.noise_scale", noise_scale, 0.0)?;
        within("inference.length_scale", length_scale, 0.1)?;
        within("inference.noise_w", noise_w, 0.0)?;
        let espeak = file.espeak.map(|espeak| espeak.voice);
        let language = file.language.map(|language| language.code.replace('_', "-"));
        Ok(Self {
            rate,
            numbers,
            scales: [noise_scale, length_scale, noise_w],
            speakers: file.num_speakers.unwrap_or(1).max(1),
            names: file.speaker_id_map,
            language: language.or_else(|| espeak.clone()),
            reading: reading(file.phoneme_type.as_deref(), espeak)?,
        })
    }

    /// The number of a speaker by name or number; the first when nobody is named.
    pub fn speaker(&self, asked: Option<&str>) -> Result<u32, String> {
        let Some(asked) = asked else { return Ok(0) };
        let number = self.names.get(asked).copied().or_else(|| asked.parse().ok());
        number.filter(|number| *number < self.speakers).ok_or_else(|| {
            let names: Vec<_> = self.names.keys().take(8).map(String::as_str).collect();
            let count = self.speakers;
            format!(
                "engine.speaker = {asked:?} is none of its {count} speakers (0 to {}) {}",
                count - 1,
                names.join(", ")
            )
        })
    }
}

fn within(key: &str, value: f32, least: f32) -> Result<(), String> {
    if (least..=10.0).contains(&value) { Ok(()) } else { Err(format!("{key} is {value}, not {least} to 10")) }
}

/// Phonemes of several characters are left out: nothing that reads text here gives any.
fn numbers(map: &BTreeMap<String, Vec<i64>>) -> Result<HashMap<char, Vec<i32>>, String> {
    let mut numbers = HashMap::with_capacity(map.len());
    for (phoneme, ids) in map {
        let fit = |id: &i64| u16::try_from(*id).ok().map(i32::from);
        let ids: Option<Vec<i32>> = ids.iter().map(fit).collect();
        let ids = ids.ok_or_else(|| format!("phoneme_id_map.{phoneme:?} is not a list of numbers from 0 to 65535"))?;
        let mut letters = phoneme.chars();
        if let (Some(letter), None) = (letters.next(), letters.next()) {
            numbers.insert(letter, ids);
        }
    }
    for needed in [BEGIN, GAP, END] {
        if !numbers.contains_key(&needed) {
            return Err(format!("phoneme_id_map has no {:?}", needed.to_string()));
        }
    }
    Ok(numbers)
}

fn reading(kind: Option<&str>, espeak: Option<String>) -> Result<Reading, String> {
    match kind.unwrap_or("espeak") {
        "text" => Ok(Reading::Letters),
        "espeak" => {
            let voice = espeak.ok_or("espeak.voice is missing, and phoneme_type is \"espeak\"")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+');
            if voice.starts_with(|c: char| c.is_ascii_alphanumeric()) && voice.chars().all(plain) {
                Ok(Reading::Espeak(voice))
            } else {
                Err(format!("espeak.voice is {voice:?}, which is no voice's name"))
            }
        }
        other => Err(format!("phoneme_type is {other:?}; \"espeak\" and \"text\" can be read here")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    const GOOD: &str = r#"{
        "audio": {"sample_rate": 22050, "quality": "medium"},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "inference": {"noise_scale": 0.6, "length_scale": 1.1, "noise_w": 0.7},
        "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [14], "aɪ": [161]},
        "num_speakers": 3, "speaker_id_map": {"ann": 0, "bob": 1, "cy": 2}, "piper_version": "1.0.0"
    }"#;

    fn with(from: &str, to: &str) -> Result<Config, String> {
        assert!(GOOD.contains(from), "{from}");
        Config::parse(GOOD.replace(from, to).as_bytes())
    }

    #[test]
    fn a_voice_is_what_its_file_says() {
        let config = Config::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((config.rate, config.scales, config.speakers), (22_050, [0.6, 1.1, 0.7], 3));
        assert_eq!(config.reading, Reading::Espeak("en-us".into()));
        assert_eq!(config.language.as_deref(), Some("en-US"));
        assert_eq!(config.numbers[&'a'], [14]);
        let letters = with("\"espeak\": {\"voice\": \"en-us\"},", "\"phoneme_type\": \"text\",").unwrap();
        assert_eq!(letters.reading, Reading::Letters);
    }

    #[test]
    fn a_speaker_is_chosen_by_name_or_number_and_a_stranger_refused_with_the_names() {
        let config = Config::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(config.speaker(None), Ok(0));
        assert_eq!((config.speaker(Some("cy")), config.speaker(Some("1"))), (Ok(2), Ok(1)));
        for stranger in ["dee", "3", "-1", ""] {
            assert!(config.speaker(Some(stranger)).unwrap_err().contains("ann, bob, cy"), "{stranger}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (from, to, key) in [
            ("22050", "0", "audio.sample_rate"),
            ("22050", "\"fast\"", "audio.sample_rate"),
            ("0.6", "1e9", "inference.noise_scale"),
            ("1.1", "0", "inference.length_scale"),
            ("0.7", "-1", "inference.noise_w"),
            ("[14]", "[-1]", "phoneme_id_map"),
            ("\"^\": [1],", "", "\"^\""),
            ("en-us", "--help", "espeak.voice"),
            ("{\"voice\": \"en-us\"}", "null", "espeak.voice"),
            ("\"audio\"", "\"phoneme_type\": \"pinyin\", \"audio\"", "phoneme_type"),
        ] {
            let error = with(from, to).unwrap_err();
            assert!(error.contains(key), "{to}: {error}");
        }
        for cut in 0..GOOD.len() {
            if GOOD.is_char_boundary(cut) {
                assert!(Config::parse(&GOOD.as_bytes()[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
