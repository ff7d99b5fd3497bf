//! Speech to text with Whisper (whisper.cpp).
//!
//! Knows samples and words. Whisper makes words out of silence and falls into loops: what guards against both
//! is here. The figures behind the rules are in `docs/decisions` and `docs/BENCHMARKS.md`.

use std::path::Path;
use std::sync::Arc;

use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

use super::station::{Desk, Model};
use super::{EngineError, machine};
use crate::domain::language::base;

/// Samples a second.
const RATE: usize = 16_000;
/// Positions of the encoder in a second of sound.
const POSITIONS: usize = 50;
/// Fewer than these, and Whisper falls into loops (256: 20-70 % word errors).
const FEWEST_POSITIONS: usize = 512;
/// What it was trained with: 30 s.
const MOST_POSITIONS: usize = 1_500;
/// Whisper refuses less sound than this.
const SHORTEST: usize = RATE * 11 / 10;
/// Louder than this anywhere for 30 ms, or nobody spoke (-60 dBFS).
const AUDIBLE: f32 = 0.001;

/// Mean probability of the tokens, below which words are made up. Hissing noise gave 0.21 to 0.29 ("You", "I'm not
/// going to be able to do it."), the least sure true words of human clips 0.45 (tiny.en; its own probability of
/// no speech is near 0 for all of them).
const SURE: f32 = 0.33;

/// A loaded Whisper model.
pub struct Whisper {
    context: WhisperContext,
    multilingual: bool,
}

impl Whisper {
    /// Loads a GGML file.
    pub fn load(file: &Path) -> Result<Self, EngineError> {
        // Its own log lines go to where tracing or nothing takes them, not to stderr.
        whisper_rs::install_logging_hooks();
        let mut params = WhisperContextParameters::default();
        params.use_gpu(false);
        let context = WhisperContext::new_with_params(file, params)
            .map_err(|e| EngineError::Load(format!("{}: {e}", file.display())))?;
        let multilingual = context.is_multilingual();
        Ok(Self { context, multilingual })
    }

    /// Its languages, if it has but one.
    pub fn languages(&self) -> Vec<String> {
        if self.multilingual { Vec::new() } else { vec!["en".to_owned()] }
    }
}

impl Model for Whisper {
    type Worker = Ear;

    fn worker(self: &Arc<Self>) -> Result<Ear, EngineError> {
        let state = self.context.create_state().map_err(|e| EngineError::Load(e.to_string()))?;
        Ok(Ear { model: Arc::clone(self), state })
    }
}

/// One thread's Whisper state.
pub struct Ear {
    model: Arc<Whisper>,
    state: WhisperState,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// The words; empty when nobody spoke.
    pub text: String,
    /// BCP 47.
    pub language: Option<String>,
}

impl Ear {
    /// The words in 16 kHz mono samples.
    pub fn transcribe(&mut self, pcm: &[i16], language: Option<&str>, desk: &Desk) -> Result<Heard, EngineError> {
        let sound: Vec<f32> = pcm.iter().map(|s| f32::from(*s) / 32_768.0).collect();
        if !audible(&sound) {
            return Ok(Heard::default());
        }
        let positions = positions(sound.len());
        let (mut text, mut heard_language) = self.once(&sound, positions, language, desk)?;
        if looped(&text) && positions < MOST_POSITIONS {
            tracing::debug!("whisper fell into a loop, hearing it again with the full window");
            (text, heard_language) = self.once(&sound, MOST_POSITIONS, language, desk)?;
        }
        Ok(Heard { text: unloop(&text), language: heard_language })
    }

    fn once(
        &mut self,
        sound: &[f32],
        positions: usize,
        language: Option<&str>,
        desk: &Desk,
    ) -> Result<(String, Option<String>), EngineError> {
        let mut core = desk.core();
        // whisper.cpp's threads spin while they wait for each other: beside somebody else's they are ten times slower than one
        let most = core.most();
        let threads = if machine::has_nothing_else_to_do(most) { core.widen(most) } else { 1 };
        tracing::debug!(positions, threads, "hearing");
        let language = self.language(language);
        let mut params = params(sound.len(), positions, language.as_deref());
        params.set_n_threads(i32::try_from(threads).unwrap_or(1));
        let mut padded;
        let sound = if sound.len() < SHORTEST {
            padded = sound.to_vec();
            padded.resize(SHORTEST, 0.0);
            &padded
        } else {
            sound
        };
        self.state.full(params, sound).map_err(|e| EngineError::Failed(format!("whisper: {e}")))?;
        let detected = if self.model.multilingual {
            whisper_rs::get_lang_str(self.state.full_lang_id_from_state()).map(str::to_owned)
        } else {
            Some("en".to_owned())
        };
        Ok((self.words(), detected))
    }

    /// The language to ask for: `zh-CN` is `zh`; none lets a multilingual model guess.
    fn language(&self, asked: Option<&str>) -> Option<String> {
        if !self.model.multilingual {
            return Some("en".to_owned());
        }
        let short = base(asked?);
        whisper_rs::get_lang_id(&short).map(|_| short)
    }

    /// The text of the segments that hold speech.
    fn words(&self) -> String {
        let mut text = String::new();
        for segment in self.state.as_iter() {
            let Ok(words) = segment.to_str_lossy() else { continue };
            let tokens = (0..segment.n_tokens()).filter_map(|n| segment.get_token(n));
            let (sum, count) = tokens.fold((0.0, 0.0), |(sum, n), t| (sum + t.token_probability(), n + 1.0_f32));
            let sure = if count > 0.0 { sum / count } else { 0.0 };
            let silence = segment.no_speech_probability();
            tracing::trace!(silence, sure, "segment");
            if sure >= SURE && !(silence > 0.6 && sure < 0.5) {
                text.push_str(&words);
            }
        }
        spoken(&text)
    }
}

/// Somebody may have spoken in this.
pub(super) fn is_audible(pcm: &[i16]) -> bool {
    audible(&pcm.iter().map(|sample| f32::from(*sample) / 32_768.0).collect::<Vec<_>>())
}

/// The longest 30 ms are loud enough to be somebody.
fn audible(sound: &[f32]) -> bool {
    let frame = RATE * 30 / 1_000;
    sound.chunks(frame).any(|f| f.iter().map(|s| s * s).sum::<f32>() / f.len() as f32 > AUDIBLE * AUDIBLE)
}

/// Encoder positions that hold the sound, in steps of 64, with a second to spare.
fn positions(samples: usize) -> usize {
    let needed = (samples * POSITIONS).div_ceil(RATE) + POSITIONS;
    needed.next_multiple_of(64).clamp(FEWEST_POSITIONS, MOST_POSITIONS)
}

fn params(samples: usize, positions: usize, language: Option<&str>) -> FullParams<'_, '_> {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    let seconds = samples.div_ceil(RATE).min(30);
    params.set_audio_ctx(i32::try_from(positions).unwrap_or(0));
    // a Chinese character is up to three tokens, and people speak four to five a second
    let a_second = if language.is_some_and(|language| matches!(language, "zh" | "yue" | "ja" | "ko")) { 12 } else { 8 };
    params.set_max_tokens(i32::try_from(seconds * a_second + 12).unwrap_or(i32::MAX));
    params.set_language(language.or(Some("auto")));
    params.set_no_timestamps(true);
    params.set_no_context(true);
    params.set_suppress_blank(true);
    params.set_suppress_nst(true);
    // One pass: the guard against loops is ours, and costs at most one more.
    params.set_temperature_inc(0.0);
    params.set_print_special(false);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_timestamps(false);
    params
}

/// Without what Whisper writes of noises: `[BLANK_AUDIO]`, `(wind blowing)`, `*sigh*`, `♪`.
fn spoken(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut closing = None;
    for c in text.chars() {
        match (closing, c) {
            (Some(end), c) if c == end => closing = None,
            (Some(_), _) | (None, '♪' | '♫') => {}
            (None, '[') => closing = Some(']'),
            (None, '(') => closing = Some(')'),
            (None, '*') if kept.is_empty() || kept.ends_with(' ') => closing = Some('*'),
            (None, c) => kept.push(c),
        }
    }
    let words: Vec<_> = kept.split_whitespace().collect();
    if kept.chars().any(char::is_alphanumeric) { words.join(" ") } else { String::new() }
}

/// The length in words of a phrase that stands four times or more in a row, and where it begins and ends.
fn repetition(words: &[String]) -> Option<(usize, usize, usize)> {
    for length in 1..=8 {
        let mut run = 0;
        for at in length..words.len() {
            run = if words[at] == words[at - length] { run + 1 } else { 0 };
            if run >= length * 3 {
                let begin = at + 1 - run - length;
                let same = |n: &usize| words[*n] == words[*n - length];
                let end = (begin + length..words.len()).take_while(same).last().map_or(at + 1, |n| n + 1);
                return Some((length, begin, end));
            }
        }
    }
    None
}

/// Words with what stands behind them; a character that is written without spaces is a word.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut begin, mut before) = (0, ' ');
    for (at, c) in text.char_indices() {
        let begins =
            is_dense(c) || (before.is_whitespace() && !c.is_whitespace()) || (is_dense(before) && c.is_alphanumeric());
        if begins && at > begin {
            pieces.push(&text[begin..at]);
            begin = at;
        }
        before = c;
    }
    pieces.push(&text[begin..]);
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// Chinese, Japanese.
fn is_dense(c: char) -> bool {
    matches!(c as u32, 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF)
}

/// Where in the pieces a loop is: behind its first round, to its end. Eight words of it, or sixteen characters: people laugh.
fn loop_in(pieces: &[&str]) -> Option<(usize, usize)> {
    let letters = |piece: &&str| piece.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let (length, begin, end) = repetition(&pieces.iter().map(letters).collect::<Vec<String>>())?;
    let least = if pieces.get(begin).is_some_and(|piece| piece.starts_with(is_dense)) { 16 } else { 8 };
    (end - begin >= least).then_some((begin + length, end))
}

fn looped(text: &str) -> bool {
    loop_in(&pieces(text)).is_some()
}

/// A loop that remains is said once.
pub(super) fn unloop(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let pieces = pieces(&text);
        let Some((begin, end)) = loop_in(&pieces) else { return text };
        let left = [&pieces[..begin], &pieces[end..]].concat().concat();
        left.trim().clone_into(&mut text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noises_are_no_words() {
        for noise in ["[BLANK_AUDIO]", " (wind blowing) ", "*sigh*", "♪ ♪", "...", " - ", "[unclosed"] {
            assert_eq!(spoken(noise), "", "{noise}");
        }
        assert_eq!(spoken(" (coughs)  Turn it off. "), "Turn it off.");
        assert_eq!(spoken("2*3 is 6"), "2*3 is 6");
    }

    #[test]
    fn a_loop_is_noticed_and_said_once_and_emphasis_is_left_alone() {
        let looping = format!("I think {}that is all", "we should go ".repeat(9));
        assert!(looped(&looping));
        assert_eq!(unloop(&looping), "I think we should go that is all");
        assert_eq!(unloop(&"no ".repeat(40)), "no");
        assert_eq!(unloop(&format!("我觉得{}就这样", "我们应该走".repeat(9))), "我觉得我们应该走就这样");
        assert_eq!(unloop(&"谢谢观看，".repeat(30)), "谢谢观看，");
        for fine in ["no no no no", "one two three one two three", "", "a", "哈哈哈哈哈哈哈哈", "好的好的好的，再见"]
        {
            assert!(!looped(fine), "{fine}");
            assert_eq!(unloop(fine), fine);
        }
    }

    #[test]
    fn the_window_fits_the_sound_and_is_never_too_small() {
        assert_eq!(positions(RATE), 512);
        assert_eq!(positions(RATE * 15), 832);
        assert_eq!(positions(RATE * 60), 1_500);
    }

    #[test]
    fn silence_is_not_given_to_the_model() {
        assert!(!audible(&vec![0.0; RATE]));
        assert!(!audible(&[]));
        let mut knock = vec![0.0; RATE];
        knock[8_000..8_400].fill(0.2);
        assert!(audible(&knock));
    }
}
