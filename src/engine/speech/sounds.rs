//! Rules of sound: stress, endings, and what a word's neighbour needs to know of it.
//!
//! Phonemes are those of misaki's American English; capitals are diphthongs (`A` as in day, `I` my, `O` go,
//! `W` now, `Y` boy). It knows nothing of spelling but the endings' letters.

pub(super) const PRIMARY: char = 'ˈ';
pub(super) const SECONDARY: char = 'ˌ';
const VOWELS: &str = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ";
const CONSONANTS: &str = "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ";
const LONG: &str = "AIOQWYʤʧ";
/// Between one of these and an ending that starts with a vowel a `t` becomes a flap ("writing").
const FLAPPING: &str = "AIOWYiuæɑəɛɪɹʊʌ";
const FLAP: char = 'ɾ';
/// Marks at which the voice pauses.
const PAUSES: &str = ";:,.!?—…";

/// How a word begins, for the word before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sound {
    Consonant,
    /// Nothing follows before a pause.
    Pause,
    Vowel,
}

/// What follows a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub sound: Sound,
    /// The next word is "to" ("used to").
    pub to: bool,
}

impl Next {
    pub(super) const PAUSE: Self = Self { sound: Sound::Pause, to: false };

    /// What the word before `word` has to expect. Stress marks and quotes are not heard: then what
    /// follows them counts.
    pub(super) fn before(self, word: &str, phonemes: &str) -> Self {
        let heard = phonemes.chars().find_map(|c| {
            if VOWELS.contains(c) {
                Some(Sound::Vowel)
            } else if CONSONANTS.contains(c) {
                Some(Sound::Consonant)
            } else {
                PAUSES.contains(c).then_some(Sound::Pause)
            }
        });
        Self { sound: heard.unwrap_or(self.sound), to: word.eq_ignore_ascii_case("to") }
    }
}

/// A wish for stress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emphasis {
    /// What is primary becomes secondary.
    Weaker,
    /// A word without any stress gets a secondary one.
    Some,
    /// A word gets a primary stress.
    Full,
}

/// Moves the stress as wished.
pub(super) fn emphasise(phonemes: String, emphasis: Option<Emphasis>) -> String {
    let primary = phonemes.contains(PRIMARY);
    let unstressed = !primary && !phonemes.contains(SECONDARY);
    match emphasis {
        Some(Emphasis::Weaker) if primary => weaken(&phonemes),
        Some(Emphasis::Weaker | Emphasis::Some) if unstressed => stress(phonemes, SECONDARY),
        Some(Emphasis::Full) if unstressed => stress(phonemes, PRIMARY),
        Some(Emphasis::Full) if !primary => phonemes.replace(SECONDARY, "ˈ"),
        _ => phonemes,
    }
}

/// Old secondary stresses go, the primary one takes their place.
fn weaken(phonemes: &str) -> String {
    phonemes.replace(SECONDARY, "").replace(PRIMARY, "ˌ")
}

/// Puts a mark before the first vowel; a word without one has no stress.
fn stress(mut phonemes: String, mark: char) -> String {
    if let Some(at) = phonemes.find(|c| VOWELS.contains(c)) {
        phonemes.insert(at, mark);
    }
    phonemes
}

/// In a compound the weaker half of the parts loses its main stress; a single letter takes it from its
/// partner never ("T-shirt").
pub(super) fn settle_compound(parts: &mut [String], letter_first: bool) {
    let mut order: Vec<usize> = (0..parts.len()).filter(|&at| !parts[at].is_empty()).collect();
    if order.len() < 2 {
        return;
    }
    let stressed = order.iter().filter(|&&at| parts[at].contains(PRIMARY)).count();
    let weaker: Vec<usize> = if order.len() == 2 && letter_first {
        vec![order[1]]
    } else if stressed > order.len().div_ceil(2) {
        order.sort_by_key(|&at| (parts[at].contains(PRIMARY), weight(&parts[at]), at));
        order[..order.len() / 2].to_vec()
    } else {
        return;
    };
    for at in weaker {
        parts[at] = if parts[at].contains(PRIMARY) { weaken(&parts[at]) } else { parts[at].clone() };
    }
}

fn weight(phonemes: &str) -> usize {
    phonemes.chars().map(|c| if LONG.contains(c) { 2 } else { 1 }).sum()
}

/// A written ending and what stands in the stem instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// The word must end so and not with one of `not`.
    written: &'static str,
    not: &'static [&'static str],
    instead: &'static str,
    /// Bytes that must be left of the word.
    stem: usize,
}

impl Ending {
    const fn new(written: &'static str, not: &'static [&'static str], instead: &'static str, stem: usize) -> Self {
        Self { written, not, instead, stem }
    }

    /// The stem of `word`, if it has this ending.
    pub(super) fn cut(&self, word: &str) -> Option<String> {
        let stem = word.strip_suffix(self.written)?;
        let fits = stem.len() >= self.stem && !self.not.iter().any(|not| word.ends_with(not));
        fits.then(|| stem.to_owned() + self.instead)
    }
}

pub(super) const PLURALS: &[Ending] = &[
    Ending::new("s", &["ss"], "", 2),
    Ending::new("'s", &[], "", 1),
    Ending::new("es", &["ies"], "", 3),
    Ending::new("ies", &[], "y", 2),
];
pub(super) const PASTS: &[Ending] = &[Ending::new("d", &["dd"], "", 3), Ending::new("ed", &["eed"], "", 3)];
pub(super) const GERUNDS: &[Ending] = &[Ending::new("ing", &[], "", 3), Ending::new("ing", &[], "e", 2)];

/// The sound of -s and -'s.
pub(super) fn plural(stem: String) -> Option<String> {
    let last = stem.chars().last()?;
    Some(match last {
        'p' | 't' | 'k' | 'f' | 'θ' => stem + "s",
        's' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ' => stem + "ᵻz",
        _ => stem + "z",
    })
}

/// The sound of -ed.
pub(super) fn past(stem: String) -> Option<String> {
    let last = stem.chars().last()?;
    Some(match last {
        'p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ' => stem + "t",
        't' => flapped(stem) + "ᵻd",
        'd' => stem + "ᵻd",
        _ => stem + "d",
    })
}

/// The sound of -ing.
pub(super) fn gerund(stem: String) -> Option<String> {
    (!stem.is_empty()).then(|| flapped(stem) + "ɪŋ")
}

/// The stem with its last `t` as a flap where Americans make it one.
fn flapped(mut stem: String) -> String {
    let mut ends = stem.chars().rev();
    if ends.next() == Some('t') && ends.next().is_some_and(|c| FLAPPING.contains(c)) {
        stem.pop();
        stem.push(FLAP);
    }
    stem
}

/// The acoustic network writes a flap `T` and has no glottal stop.
pub(super) fn as_network_writes(phonemes: &str) -> String {
    phonemes.replace(FLAP, "T").replace('ʔ', "t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_sound_by_the_last_sound_of_the_stem() {
        let said = |rule: fn(String) -> Option<String>, stem: &str| rule(stem.to_owned()).unwrap_or_default();
        assert_eq!(said(plural, "kˈæt"), "kˈæts");
        assert_eq!(said(plural, "dˈɔɡ"), "dˈɔɡz");
        assert_eq!(said(plural, "bˈʌs"), "bˈʌsᵻz");
        assert_eq!(said(past, "wˈɔk"), "wˈɔkt");
        assert_eq!(said(past, "nˈid"), "nˈidᵻd");
        assert_eq!(said(past, "wˈAt"), "wˈAɾᵻd");
        assert_eq!(said(past, "ˈækt"), "ˈæktᵻd");
        assert_eq!(said(gerund, "ɹˈIt"), "ɹˈIɾɪŋ");
        assert_eq!(said(gerund, ""), "");
    }

    #[test]
    fn emphasis_adds_weakens_and_respects_stress() {
        let with = |phonemes: &str, emphasis| emphasise(phonemes.to_owned(), Some(emphasis));
        assert_eq!(with("hi", Emphasis::Some), "hˌi");
        assert_eq!(with("hi", Emphasis::Full), "hˈi");
        assert_eq!(with("nˌɑt", Emphasis::Full), "nˈɑt");
        assert_eq!(with("ˈɛniθˌɪŋ", Emphasis::Weaker), "ˌɛniθɪŋ");
        assert_eq!(with("ˈɛniθˌɪŋ", Emphasis::Some), "ˈɛniθˌɪŋ");
        assert_eq!(with("m", Emphasis::Full), "m");
    }

    #[test]
    fn in_a_compound_the_lighter_part_yields() {
        let mut parts = ["wˈɛl".to_owned(), "nˈOn".to_owned()];
        settle_compound(&mut parts, false);
        assert_eq!(parts, ["wˌɛl", "nˈOn"]);
        let mut shirt = ["tˈi".to_owned(), "ʃˈɜɹt".to_owned()];
        settle_compound(&mut shirt, true);
        assert_eq!(shirt, ["tˈi", "ʃˌɜɹt"]);
        settle_compound(&mut [], false);
    }

    #[test]
    fn a_word_hears_only_the_first_sound_behind_it() {
        let next = Next::PAUSE.before("apple", "ˈæpᵊl");
        assert_eq!(next.sound, Sound::Vowel);
        assert_eq!(next.before("”", "”").sound, Sound::Vowel, "quotes are not heard");
        assert_eq!(next.before(",", ",").sound, Sound::Pause);
        assert!(next.before("To", "tə").to);
    }

    #[test]
    fn a_stem_must_be_long_enough_to_be_one() {
        assert_eq!(PLURALS[3].cut("cities").as_deref(), Some("city"));
        assert_eq!(PLURALS[0].cut("is"), None);
        assert_eq!(PLURALS[0].cut("glass"), None);
        assert_eq!(PASTS[1].cut("agreed"), None);
    }
}
