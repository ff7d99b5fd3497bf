//! The voice as a whole: text to samples.

use std::path::Path;

use super::acoustic::Acoustic;
use super::lexicon::Lexicon;
use super::pronounce::Pronouncer;
use super::tagger::Tagger;
use super::unknown::Unknown;
use super::vocode::Vocoder;
use super::{RATE, SpeechError, normalise, sounds, token};
use crate::engine::level::Track;

/// Characters of a text that are read; the rest is left out. Some three minutes of speech.
pub const MAX_TEXT: usize = 3_000;
/// Phonemes of a text that are said, because digits and addresses are longer said than written: six minutes.
const MAX_SPEECH: usize = 5_000;
/// Phonemes that the acoustic network gets at once: memory and delay grow with them.
const MAX_PHONEMES: usize = 400;
/// Start of the noise: the same text always makes the same samples, so speech can be cached and compared.
const NOISE: u64 = 0x0056_6F78_6761_7465;

/// The voice, loaded. Calls from several threads run side by side, each on one core.
pub struct Voice {
    pronouncer: Pronouncer,
    acoustic: Acoustic,
    vocoder: Vocoder,
}

impl Voice {
    /// Loads the files of [`super::FILES`] from `dir`.
    pub fn load(dir: &Path) -> Result<Self, SpeechError> {
        Ok(Self {
            pronouncer: Pronouncer {
                lexicon: Lexicon::load(dir)?,
                tagger: Tagger::load(dir)?,
                unknown: Unknown::load(dir)?,
            },
            acoustic: Acoustic::load(dir)?,
            vocoder: Vocoder::new(),
        })
    }

    /// Samples a second of what [`Voice::synthesize`] makes.
    pub fn rate() -> u32 {
        RATE
    }

    /// The speech of an English text: mono, 16 bit, [`Voice::rate`] samples a second, without a click at the
    /// ends and of even loudness. What cannot be said (emoji, other scripts, control characters) is left out;
    /// of a text longer than [`MAX_TEXT`] characters the beginning is read (six minutes at most). Takes about a hundredth of the
    /// speech's duration, on one core: for a thread that may be blocked.
    pub fn synthesize(&self, text: &str) -> Result<Vec<i16>, SpeechError> {
        let mut track = Track::new(RATE);
        for phonemes in self.phonemes(text) {
            if let Some(spectrum) = self.acoustic.spectrum(&phonemes)? {
                track.add(&self.vocoder.sound(&spectrum, NOISE));
            }
        }
        let samples = track.finish();
        if samples.is_empty() { Err(SpeechError::Unspeakable) } else { Ok(samples) }
    }

    /// How a text would be said, in the signs of misaki's American English: one string for each stretch that
    /// is made at once. For tests, and for the curious who hear something wrong.
    pub fn phonemes(&self, text: &str) -> Vec<String> {
        let text: String = text.chars().take(MAX_TEXT).collect();
        let tokens = normalise::normalise(&text);
        let sentences = token::sentences(&tokens).into_iter();
        let mut left = MAX_SPEECH;
        sentences
            .map(|sentence| sounds::as_network_writes(&self.pronouncer.sentence(sentence)))
            .filter(|phonemes| phonemes.chars().any(char::is_alphabetic))
            .flat_map(|phonemes| stretches(&phonemes))
            .take_while(|stretch| {
                let enough = left > 0;
                left = left.saturating_sub(stretch.chars().count());
                enough
            })
            .collect()
    }
}

/// Cuts what is too long for the network: behind a mark if there is one in the second half, else between
/// words, else anywhere.
fn stretches(phonemes: &str) -> Vec<String> {
    let mut rest: Vec<char> = phonemes.chars().collect();
    let mut parts = Vec::new();
    while rest.len() > MAX_PHONEMES {
        let window = &rest[..MAX_PHONEMES];
        let mark = window.iter().rposition(|c| ",;:—.!?".contains(*c)).filter(|&at| at >= MAX_PHONEMES / 2);
        let cut = mark.or_else(|| window.iter().rposition(|&c| c == ' ')).map_or(MAX_PHONEMES, |at| at + 1);
        parts.push(rest.drain(..cut).collect::<String>().trim().to_owned());
    }
    parts.push(rest.into_iter().collect::<String>().trim().to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut_at_marks_then_spaces_then_anywhere() {
        let clause = "wˈɜɹd ".repeat(50);
        let marked = format!("{clause}, {clause}, {clause}");
        for text in [marked.clone(), clause.repeat(5), "ə".repeat(1_500)] {
            let parts = stretches(&text);
            assert!(parts.len() > 1);
            assert!(parts.iter().all(|part| !part.is_empty() && part.chars().count() <= MAX_PHONEMES));
            let squeeze = |text: &str| text.replace(' ', "");
            assert_eq!(squeeze(&parts.concat()), squeeze(&text), "nothing is lost");
        }
        assert!(stretches(&marked)[0].ends_with(','));
        assert!(stretches("").is_empty());
    }
}
