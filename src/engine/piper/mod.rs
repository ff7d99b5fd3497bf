//! Piper's voices: text to phonemes, phonemes to samples by one network.
//!
//! A folder with `NAME.onnx` and `NAME.onnx.json`, as the project Piper gives them out. Text is read by the program espeak-ng, or
//! letter by letter where the voice was made so; `docs/decisions/06-onnx-speech.md` says why so. It knows no protocol.

mod clauses;
mod config;
mod espeak;

use std::path::{Path, PathBuf};

use rten::NodeId;
use unicode_normalization::UnicodeNormalization;

use super::EngineError;
use super::file;
use super::level::Track;
use super::network::{self, Network};
use super::speak::Speaker;
use clauses::Clause;
use config::{BEGIN, Config, END, GAP, Reading};
use espeak::Espeak;

/// The program that reads.
const PROGRAM: &str = "espeak-ng";
/// Phonemes that the network gets at once, some 20 s of speech: its memory grows with them.
const AT_ONCE: usize = 300;
/// Phonemes of a sentence that are said at all: digits are longer said than written.
const MOST: usize = 3_000;
/// The largest description.
const MOST_BYTES: u64 = 1 << 20;

/// A loaded voice. Calls from several threads run side by side, each on one core.
pub struct Piper {
    network: Network,
    config: Config,
    reader: Option<Espeak>,
    nodes: Nodes,
    speaker: i32,
}

struct Nodes {
    phonemes: NodeId,
    length: NodeId,
    scales: NodeId,
    speaker: Option<NodeId>,
    sound: NodeId,
}

/// The network and the description of a folder that holds a Piper voice; none where it holds none.
pub fn files(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut networks: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    networks.sort();
    networks.into_iter().filter(|path| path.extension().is_some_and(|end| end == "onnx")).find_map(|network| {
        let mut description = network.clone().into_os_string();
        description.push(".json");
        let description = PathBuf::from(description);
        description.is_file().then_some((network, description))
    })
}

impl Piper {
    /// Loads the voice of a folder; `speaker` is a name or a number of its description.
    pub fn load(dir: &Path, speaker: Option<&str>) -> Result<Self, EngineError> {
        Self::load_with(dir, speaker, PROGRAM)
    }

    fn load_with(dir: &Path, speaker: Option<&str>, program: &str) -> Result<Self, EngineError> {
        let (network, description) = files(dir)
            .ok_or_else(|| EngineError::Load(format!("{} has no NAME.onnx with a NAME.onnx.json", dir.display())))?;
        let wrong = |what: String| EngineError::Load(format!("{}: {what}", description.display()));
        let config = file::read(&description, MOST_BYTES, "a description").and_then(|bytes| Config::parse(&bytes));
        let config = config.map_err(wrong)?;
        let speaker = config.speaker(speaker).map_err(wrong)?;
        let reader = match &config.reading {
            Reading::Espeak(voice) => Some(Espeak::start(program, voice)?),
            Reading::Letters => None,
        };
        let network = Network::load(&network)?;
        let nodes = Nodes {
            phonemes: network.node("input")?,
            length: network.node("input_lengths")?,
            scales: network.node("scales")?,
            speaker: network.takes("sid").then(|| network.node("sid")).transpose()?,
            sound: network.output()?,
        };
        let speaker = i32::try_from(speaker).unwrap_or(0);
        Ok(Self { network, config, reader, nodes, speaker })
    }

    /// The numbers of a text's phonemes, one entry a phoneme, a list for each stretch that is made at once.
    fn stretches(&self, text: &str) -> Result<Vec<Vec<&[i32]>>, EngineError> {
        let mut all = Vec::new();
        let (mut open, mut left) = (Vec::new(), MOST);
        for clause in clauses::clauses(text) {
            let mut phonemes = self.clause(&clause)?;
            phonemes.truncate(left);
            left -= phonemes.len();
            if phonemes.is_empty() {
                continue;
            }
            if open.len() + phonemes.len() > AT_ONCE {
                all.push(std::mem::take(&mut open));
            }
            if !open.is_empty() {
                open.extend(self.numbers(' '));
            }
            open.append(&mut phonemes);
            while open.len() > AT_ONCE {
                let rest = open.split_off(AT_ONCE);
                all.push(std::mem::replace(&mut open, rest));
            }
        }
        all.push(open);
        all.retain(|stretch| !stretch.is_empty());
        Ok(all)
    }

    /// A clause's phonemes and its mark; nothing where the voice knows no phoneme of it.
    fn clause(&self, clause: &Clause) -> Result<Vec<&[i32]>, EngineError> {
        let phonemes = match &self.reader {
            Some(espeak) => espeak.read(&clause.text)?,
            None => clause.text.clone(),
        };
        let mut known = Vec::with_capacity(phonemes.len());
        let mut unknown = String::new();
        for phoneme in phonemes.chars() {
            let before = known.len();
            self.spell(phoneme, &mut known);
            if known.len() == before {
                unknown.push(phoneme);
            }
        }
        if !unknown.is_empty() {
            tracing::debug!(count = unknown.chars().count(), "phonemes that the voice does not know are left out");
        }
        let says_something = known.iter().any(|&ids| self.numbers(' ') != Some(ids));
        if !says_something {
            return Ok(Vec::new());
        }
        known.extend(clause.mark.and_then(|mark| self.numbers(mark)));
        Ok(known)
    }

    /// A phoneme's numbers: taken apart (`ç` is `c` and its hook) as the voices were trained, else as it is, else as a
    /// small letter; nothing where the voice knows none of them.
    fn spell<'a>(&'a self, phoneme: char, known: &mut Vec<&'a [i32]>) {
        let small = phoneme.to_lowercase().next().unwrap_or(phoneme);
        for form in [phoneme, small] {
            let parts: Option<Vec<_>> = form.nfd().map(|part| self.numbers(part)).collect();
            if let Some(parts) = parts {
                known.extend(parts);
                return;
            }
            if let Some(ids) = self.numbers(form) {
                known.push(ids);
                return;
            }
        }
    }

    fn numbers(&self, phoneme: char) -> Option<&[i32]> {
        self.config.numbers.get(&phoneme).map(Vec::as_slice)
    }

    /// The sound of a stretch.
    fn sound(&self, phonemes: &[&[i32]]) -> Result<Vec<f32>, EngineError> {
        let marker = |c| self.numbers(c).unwrap_or_default();
        let mut ids = [marker(BEGIN), marker(GAP)].concat();
        for phoneme in phonemes {
            ids.extend_from_slice(phoneme);
            ids.extend_from_slice(marker(GAP));
        }
        ids.extend_from_slice(marker(END));
        let length = i32::try_from(ids.len()).unwrap_or(i32::MAX);
        let mut inputs = vec![
            (self.nodes.phonemes, network::whole([1, ids.len()], ids)?),
            (self.nodes.length, network::whole([1], vec![length])?),
            (self.nodes.scales, network::floats([3], self.config.scales.to_vec())?),
        ];
        if let Some(node) = self.nodes.speaker {
            inputs.push((node, network::whole([1], vec![self.speaker])?));
        }
        let sound = self.network.run(inputs, self.nodes.sound)?;
        let sound = sound.into_tensor::<f32>().ok_or_else(|| self.network.failed("its sound is no floats"))?;
        Ok(sound.into_data())
    }
}

impl Speaker for Piper {
    fn rate(&self) -> u32 {
        self.config.rate
    }

    fn say(&self, text: &str) -> Result<Vec<i16>, EngineError> {
        let mut track = Track::new(self.config.rate);
        for stretch in self.stretches(text)? {
            track.add(&self.sound(&stretch)?);
        }
        Ok(track.finish())
    }

    fn languages(&self) -> Vec<String> {
        self.config.language.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
