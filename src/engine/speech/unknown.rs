//! Words no dictionary has: a small network reads their letters.
//!
//! Input `chars` [1, L] (numbers of `oov.json`, from 1), output `ids` [1, T], several a letter: 0 is nothing,
//! a repeated number is one sound. It knows one word at a time and nothing of its sentence.

use std::collections::HashMap;
use std::path::Path;

use rten::{Model, Value};
use serde::Deserialize;

use super::acoustic::{load_model, node};
use super::{SpeechError, files};
use crate::engine::lanes::Lanes;

#[derive(Deserialize)]
struct Letters {
    #[serde(rename = "in")]
    known: Vec<char>,
    #[serde(rename = "out")]
    phonemes: Vec<char>,
    /// The longest word the network was taught with, letters.
    maxlen: usize,
}

pub(super) struct Unknown {
    model: Model,
    chars: rten::NodeId,
    ids: rten::NodeId,
    letters: HashMap<char, i32>,
    phonemes: Vec<char>,
    longest: usize,
    lanes: Lanes,
}

impl Unknown {
    pub(super) fn load(dir: &Path) -> Result<Self, SpeechError> {
        let Letters { known, phonemes, maxlen } = files::read_json(dir, files::UNKNOWN_LETTERS)?;
        let model = load_model(dir, files::UNKNOWN)?;
        let (chars, ids) = (node(&model, files::UNKNOWN, "chars")?, node(&model, files::UNKNOWN, "ids")?);
        Ok(Self {
            model,
            chars,
            ids,
            letters: (1..).zip(known).map(|(number, letter)| (letter, number)).collect(),
            phonemes,
            longest: maxlen.max(1),
            lanes: Lanes::of_this_machine(),
        })
    }

    /// The phonemes of a word; a longer one than the network knows is read in parts. None if it has no letter
    /// that the network knows, or the network fails: then the word is left out rather than the whole sentence.
    pub(super) fn word(&self, word: &str) -> Option<String> {
        let letters: Vec<i32> = word.chars().filter_map(|c| self.letters.get(&c).copied()).collect();
        if letters.is_empty() {
            return None;
        }
        let parts = letters.len().div_ceil(self.longest);
        let length = letters.len().div_ceil(parts);
        letters.chunks(length).map(|part| self.read(part)).collect()
    }

    fn read(&self, letters: &[i32]) -> Option<String> {
        let input = Value::from_shape([1, letters.len()], letters.to_vec()).ok()?;
        let answer = self.model.run_n(vec![(self.chars, input.into())], [self.ids], Some(self.lanes.options()));
        let [ids] = answer.ok()?;
        let (_, mut ids) = ids.into_shape_vec::<i32, 2>().ok()?;
        ids.dedup();
        let sound = |&id: &i32| self.phonemes.get(usize::try_from(id).ok()?.checked_sub(1)?);
        Some(ids.iter().filter_map(sound).collect())
    }
}
