//! Words in their sentence to phonemes.
//!
//! What a word sounds like depends on its part of speech (record, live, used), on its capitals (US, us), on
//! what follows ("the" before a vowel, "to" before a pause) and on its neighbours in a compound. The signs and
//! habits are those of misaki, which the acoustic network was taught with. It knows nothing of numbers and
//! symbols: by now all is words and marks.

use super::lexicon::{Lexicon, Reading, Source, Use};
use super::numbers;
use super::sounds::{self, Emphasis, Next, PRIMARY, SECONDARY, Sound};
use super::tagger::{Part, Tagger};
use super::token::{Kind, Token};
use super::unknown::Unknown;

pub(super) struct Pronouncer {
    pub lexicon: Lexicon,
    pub tagger: Tagger,
    pub unknown: Unknown,
}

/// A word with all that its sound depends on.
#[derive(Clone, Copy)]
struct Spot<'a> {
    word: &'a str,
    part: Part,
    emphasis: Option<Emphasis>,
    next: Next,
}

impl Pronouncer {
    /// The phonemes of one sentence.
    pub(super) fn sentence(&self, tokens: &[Token]) -> String {
        let parts = self.parts(tokens);
        let mut next = Next::PAUSE;
        let mut sounds = vec![String::new(); tokens.len()];
        // From the end, because a word sounds by what follows it.
        let mut end = tokens.len();
        while end > 0 {
            let start = compound_start(tokens, end);
            if tokens[start].kind == Kind::Mark {
                sounds[start].clone_from(&tokens[start].text);
                next = next.before(&tokens[start].text, &sounds[start]);
            } else if tokens[start].is_word() {
                self.compound(&tokens[start..end], &parts[start..end], next, &mut sounds[start..end]);
                next = next.before(&tokens[start].text, &sounds[start..end].concat());
            }
            end = start;
        }
        join(tokens, &sounds)
    }

    /// One word, or several written together with hyphens.
    fn compound(&self, tokens: &[Token], parts: &[Part], next: Next, sounds: &mut [String]) {
        if tokens.len() > 1 {
            let whole = tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join("-");
            if let Some(found) = self.known(Spot::new(&whole, parts[0], next)) {
                sounds[0] = found;
                return;
            }
        }
        let mut next = next;
        for at in (0..tokens.len()).rev() {
            sounds[at] = self.word(Spot::new(&tokens[at].text, parts[at], next));
            next = next.before(&tokens[at].text, &sounds[at]);
        }
        sounds::settle_compound(sounds, tokens[0].text.chars().count() == 1);
    }

    /// Any word at all: what no dictionary has, the network spells out.
    fn word(&self, spot: Spot<'_>) -> String {
        if let Some(known) = self.known(spot) {
            return known;
        }
        let plain = super::letters::without_accents(spot.word);
        if plain != spot.word
            && let Some(known) = self.known(Spot { word: &plain, ..spot })
        {
            return known;
        }
        if let Some(found) = self.with_clitic(spot) {
            return found;
        }
        if let Some((first, rest)) = split_inner_capital(spot.word) {
            let mut parts = [first, rest].map(|part| self.word(Spot::new(part, spot.part, spot.next)));
            sounds::settle_compound(&mut parts, first.len() == 1);
            return parts.concat();
        }
        self.unknown.word(spot.word).unwrap_or_default()
    }

    /// An unknown word with a known ending: "Zorblax's", "Zorblax'll".
    fn with_clitic(&self, spot: Spot<'_>) -> Option<String> {
        let (stem, clitic) = split_clitic(spot.word)?;
        let source = self.lexicon.source(clitic)?;
        let Reading::Phonemes(clitic) = self.lexicon.read(clitic, source, &[])? else { return None };
        let possessive = spot.word.ends_with("'s");
        let sound = self.word(Spot::new(stem, spot.part, spot.next.before("", &clitic)));
        if possessive { sounds::plural(sound) } else { Some(sound + &clitic) }
    }

    /// A word of the dictionary, of one of its forms, or a function word.
    fn known(&self, spot: Spot<'_>) -> Option<String> {
        if spot.word.contains('.') {
            return self.spelled(spot.word);
        }
        if let Some(found) = self.function_word(spot) {
            return Some(found);
        }
        let lower = spot.word.to_lowercase();
        let spot = if self.only_written_large(spot, &lower) { Spot { word: &lower, ..spot } } else { spot };
        if self.has(spot.word) {
            return self.dictionary(spot);
        }
        if let Some(stem) = spot.word.strip_suffix('\'').filter(|stem| self.has(stem)) {
            return self.dictionary(Spot { word: stem, ..spot });
        }
        self.inflected(spot)
    }

    /// Words whose sound is a matter of grammar, not of the dictionary.
    fn function_word(&self, spot: Spot<'_>) -> Option<String> {
        let Spot { word, part, next, .. } = spot;
        let small_or_capitalised = word.chars().skip(1).all(char::is_lowercase);
        let fixed = match word.to_lowercase().as_str() {
            "a" if part == Part::Determiner => "ɐ",
            "a" => "ˈA",
            "am" if word == "am" && next.sound != Sound::Pause && !part.is_noun() => "ɐm",
            "am" if !part.is_noun() => "æm",
            "an" if small_or_capitalised || !part.is_noun() => "ɐn",
            "by" if part == Part::Adverb => "bˈI",
            "i" if word == "I" && part == Part::Pronoun => "ˌI",
            "etcetera" => "ɛtsˈɛɾəɹə",
            "in" if small_or_capitalised || part != Part::ProperNoun => {
                if next.sound == Sound::Pause || part != Part::Preposition { "ˈɪn" } else { "ɪn" }
            }
            "the" if small_or_capitalised || part == Part::Determiner => {
                if next.sound == Sound::Vowel {
                    "ði"
                } else {
                    "ðə"
                }
            }
            "to" if small_or_capitalised || matches!(part, Part::To | Part::Preposition) => match next.sound {
                Sound::Pause => "tu",
                Sound::Vowel => "tʊ",
                Sound::Consonant => "tə",
            },
            "used" => {
                let habit = next.to && matches!(part, Part::Past | Part::Adjective);
                if habit { "jˈust" } else { "jˈuzd" }
            }
            "vs" if part == Part::Preposition => return self.dictionary(Spot { word: "versus", ..spot }),
            _ => return None,
        };
        Some(fixed.to_owned())
    }

    /// Capitals that mean nothing: the first word of a sentence, a heading, a shout. A short proper noun keeps
    /// them, because it may be an abbreviation.
    fn only_written_large(&self, spot: Spot<'_>, lower: &str) -> bool {
        let word = spot.word;
        let shout = all_capitals(word);
        let capitalised = word.chars().skip(1).all(|c| !c.is_uppercase());
        word != lower
            && word.chars().count() > 1
            && (spot.part != Part::ProperNoun || word.chars().count() > 7)
            && (shout || capitalised)
            && self.lexicon.source(word).is_none()
            && (self.lexicon.source(lower).is_some() || self.inflected(Spot { word: lower, ..spot }).is_some())
    }

    /// The dictionary has it, or it is one letter or an abbreviation in capitals, which can be spelled.
    fn has(&self, word: &str) -> bool {
        if self.lexicon.source(word).is_some() {
            return true;
        }
        let ascii = word.bytes().all(|byte| byte.is_ascii_alphabetic());
        ascii && !word.is_empty() && word.bytes().skip(1).all(|byte| byte.is_ascii_uppercase())
    }

    /// The dictionary's reading for this use, or the letters' names.
    fn dictionary(&self, spot: Spot<'_>) -> Option<String> {
        let abbreviation = all_capitals(spot.word) && self.lexicon.source(spot.word) != Some(Source::Gold);
        let lower = spot.word.to_lowercase();
        let name = abbreviation && spot.part == Part::ProperNoun;
        let key = if abbreviation { lower.as_str() } else { spot.word };
        let source = self.lexicon.source(key).filter(|source| !(name && *source == Source::Silver));
        let reading = source.and_then(|source| self.lexicon.read(key, source, &uses(spot)));
        match reading {
            Some(Reading::Phonemes(found)) if !name || found.contains(PRIMARY) => {
                Some(sounds::emphasise(found, spot.emphasis))
            }
            _ => self.spelled(spot.word),
        }
    }

    /// The names of the letters, the last one stressed.
    fn spelled(&self, word: &str) -> Option<String> {
        let mut names = String::new();
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            let capital: String = letter.to_uppercase().collect();
            match self.lexicon.read(&capital, Source::Gold, &[])? {
                Reading::Phonemes(name) => names += &name,
                Reading::Spelled => return None,
            }
        }
        let names = sounds::emphasise(names, Some(Emphasis::Weaker));
        Some(match names.rfind(SECONDARY) {
            Some(at) => format!("{}{PRIMARY}{}", &names[..at], &names[at + SECONDARY.len_utf8()..]),
            None => names,
        })
    }

    /// A known word with an ending: -s, -'s, -ed, -ing.
    fn inflected(&self, spot: Spot<'_>) -> Option<String> {
        let read = |stem: &str, emphasis| self.dictionary(Spot { word: stem, emphasis, ..spot });
        if let Some(stem) = self.stem(spot.word, sounds::PLURALS) {
            return sounds::plural(read(&stem, spot.emphasis)?);
        }
        if let Some(stem) = self.stem(spot.word, sounds::PASTS) {
            return sounds::past(read(&stem, spot.emphasis)?);
        }
        let stem = self.stem(spot.word, sounds::GERUNDS).or_else(|| self.undoubled(spot.word))?;
        sounds::gerund(read(&stem, spot.emphasis.or(Some(Emphasis::Some)))?)
    }

    /// The first of the written endings that leaves a known word.
    fn stem(&self, word: &str, endings: &[sounds::Ending]) -> Option<String> {
        endings.iter().filter_map(|ending| ending.cut(word)).find(|stem| self.has(stem))
    }

    /// "run" of "running".
    fn undoubled(&self, word: &str) -> Option<String> {
        let stem = word.strip_suffix("ing")?;
        let mut ends = stem.bytes().rev();
        let (last, before) = (ends.next()?, ends.next()?);
        let doubled = (last == before && b"bcdgklmnprstvxz".contains(&last)) || stem.ends_with("ck");
        let single = stem.get(..stem.len() - 1)?;
        (doubled && stem.len() > 2 && self.has(single)).then(|| single.to_owned())
    }

    /// The part of speech of each token, as the tagger sees the sentence: clitics and hyphens are words there.
    fn parts(&self, tokens: &[Token]) -> Vec<Part> {
        let mut words = Vec::new();
        let mut owner = Vec::new();
        // The tagger was taught without quotation marks: they would be odd words to it.
        let heard = tokens.iter().enumerate().filter(|(_, token)| !matches!(token.text.as_str(), "“" | "”"));
        for (at, token) in heard {
            let (stem, clitic) = split_clitic(&token.text).unwrap_or((&token.text, ""));
            if at > 0 && token.is_word() && !token.spaced && tokens[at - 1].is_word() {
                words.push("-");
                owner.push(None);
            }
            // It knows numbers as digits: a run of number words is one of them.
            if number_run(tokens, at) {
                if !number_run(tokens, at.wrapping_sub(1)) {
                    words.push("10");
                    owner.push(None);
                }
                continue;
            }
            words.push(stem);
            owner.push(Some(at));
            if !clitic.is_empty() {
                words.push(clitic);
                owner.push(None);
            }
        }
        let mut parts = vec![Part::Other; tokens.len()];
        for (part, owner) in self.tagger.tag(&words).into_iter().zip(owner) {
            if let Some(at) = owner {
                parts[at] = part;
            }
        }
        parts
    }
}

impl<'a> Spot<'a> {
    fn new(word: &'a str, part: Part, next: Next) -> Self {
        let emphasis = if word.chars().all(|c| !c.is_uppercase()) {
            None
        } else if all_capitals(word) {
            Some(Emphasis::Full)
        } else {
            Some(Emphasis::Some)
        };
        Self { word, part, emphasis, next }
    }
}

/// The readings to ask the dictionary for, best first.
fn uses(spot: Spot<'_>) -> Vec<Use> {
    let mut uses = Vec::with_capacity(3);
    if spot.next.sound == Sound::Pause {
        uses.push(Use::Final);
    }
    uses.extend_from_slice(match spot.part {
        Part::Adjective => &[Use::Adjective],
        Part::Adverb => &[Use::Adverb],
        Part::Determiner => &[Use::Determiner],
        Part::Noun | Part::ProperNoun => &[Use::Noun],
        Part::Participle => &[Use::Participle, Use::Verb],
        Part::Past => &[Use::Past, Use::Verb],
        Part::Present => &[Use::Present, Use::Verb],
        Part::Verb => &[Use::Verb],
        Part::Other | Part::Preposition | Part::Pronoun | Part::To => &[],
    });
    uses
}

/// Where the compound that ends before `end` begins.
fn compound_start(tokens: &[Token], end: usize) -> usize {
    let mut start = end - 1;
    while start > 0 && tokens[start].is_word() && !tokens[start].spaced && tokens[start - 1].is_word() {
        start -= 1;
    }
    start
}

/// The sounds with the spaces that the text has.
fn join(tokens: &[Token], sounds: &[String]) -> String {
    let mut text = String::new();
    for (token, sound) in tokens.iter().zip(sounds) {
        if token.spaced && !text.is_empty() && !sound.is_empty() {
            text.push(' ');
        }
        text.push_str(sound);
    }
    text
}

fn all_capitals(word: &str) -> bool {
    word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase)
}

/// "she" and "'ll" of "she'll", "do" and "n't" of "don't".
fn split_clitic(word: &str) -> Option<(&str, &str)> {
    const CLITICS: [&str; 7] = ["n't", "'ll", "'re", "'ve", "'s", "'d", "'m"];
    let clitic = CLITICS.iter().find(|clitic| word.len() > clitic.len() && word.ends_with(**clitic))?;
    Some(word.split_at(word.len() - clitic.len()))
}

/// "You" and "Tube" of "YouTube", "GPS" and "Tracker" of "GPSTracker".
fn split_inner_capital(word: &str) -> Option<(&str, &str)> {
    if word.starts_with("Mc") || word.starts_with("Mac") {
        return None;
    }
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let parts = letters.windows(2).enumerate().find_map(|(at, pair)| {
        let ([(_, left), (start, right)], after) = (pair, letters.get(at + 2)) else { return None };
        let inner = left.is_lowercase() && right.is_uppercase();
        let last_of_capitals =
            left.is_uppercase() && right.is_uppercase() && after.is_some_and(|(_, c)| c.is_lowercase());
        (inner || last_of_capitals).then_some(*start)
    });
    parts.map(|start| word.split_at(start))
}

/// Part of a number of several words, or one that is surely a number ("one" and "second" may not be).
fn number_run(tokens: &[Token], at: usize) -> bool {
    let number = |at: usize| tokens.get(at).is_some_and(|token| numbers::is_number_word(&token.text));
    number(at) && (tokens[at].text != "one" || number(at + 1) || number(at.wrapping_sub(1)))
}
