//! English questions: which depend on nothing but their words, and what of their words decides the answer.

use super::question::{Kind, Traits};
use crate::domain::english::{ONES, TENS};

/// Whoever says one of these speaks of himself, of here, of now, of the device, of what was said before, or wants something done or made up.
const PERSONAL: &[&str] = &[
    "i",
    "me",
    "my",
    "mine",
    "myself",
    "we",
    "us",
    "our",
    "ours",
    "you",
    "your",
    "yours",
    "yourself",
    "he",
    "she",
    "him",
    "her",
    "they",
    "them",
    "their",
    "this",
    "that",
    "these",
    "those",
    "now",
    "today",
    "tonight",
    "tomorrow",
    "yesterday",
    "current",
    "currently",
    "latest",
    "recent",
    "recently",
    "newest",
    "news",
    "weather",
    "forecast",
    "rain",
    "snow",
    "outside",
    "temperature",
    "humidity",
    "time",
    "date",
    "day",
    "week",
    "weekend",
    "month",
    "year",
    "morning",
    "evening",
    "afternoon",
    "night",
    "hour",
    "minute",
    "next",
    "last",
    "ago",
    "still",
    "yet",
    "already",
    "again",
    "another",
    "more",
    "else",
    "other",
    "here",
    "there",
    "nearby",
    "near",
    "nearest",
    "closest",
    "local",
    "around",
    "home",
    "room",
    "kitchen",
    "house",
    "price",
    "cost",
    "stock",
    "score",
    "winning",
    "traffic",
    "open",
    "closed",
    "battery",
    "volume",
    "brightness",
    "wifi",
    "lights",
    "lamp",
    "alarm",
    "timer",
    "reminder",
    "music",
    "playing",
    "screen",
    "camera",
    "microphone",
    "speaker",
    "device",
    "joke",
    "story",
    "poem",
    "riddle",
    "song",
    "random",
    "guess",
    "pick",
    "choose",
    "surprise",
    "dice",
    "coin",
    "something",
    "anything",
    "someone",
    "name",
];

/// How a question begins, after what is left out.
const STARTS: &[(&str, Kind)] = &[
    ("what", Kind::What),
    ("which", Kind::What),
    ("who", Kind::Who),
    ("whose", Kind::Who),
    ("whom", Kind::Who),
    ("when", Kind::When),
    ("where", Kind::Where),
    ("why", Kind::Why),
    ("how", Kind::How),
    ("explain", Kind::What),
    ("describe", Kind::What),
    ("define", Kind::What),
    ("is", Kind::Whether),
    ("are", Kind::Whether),
    ("was", Kind::Whether),
    ("were", Kind::Whether),
    ("do", Kind::Whether),
    ("does", Kind::Whether),
    ("did", Kind::Whether),
    ("has", Kind::Whether),
    ("have", Kind::Whether),
    ("can", Kind::Whether),
    ("could", Kind::Whether),
    ("should", Kind::Whether),
    ("would", Kind::Whether),
    ("will", Kind::Whether),
];

/// Words that decide nothing.
const EMPTY: &[&str] = &[
    "a", "an", "the", "of", "is", "are", "be", "do", "does", "please", "exactly", "actually", "really", "just",
    "called", "kind", "sort", "it", "hey", "so", "ok", "okay", "well", "s", "in",
];

/// "How tall" asks for a height: then it is the same as "what is the height".
const MEASURES: &[(&str, &str)] = &[
    ("tall", "height"),
    ("high", "height"),
    ("old", "age"),
    ("far", "distance"),
    ("long", "length"),
    ("wide", "width"),
    ("big", "size"),
    ("large", "size"),
    ("deep", "depth"),
    ("heavy", "weight"),
    ("fast", "speed"),
    ("many", "number"),
];

/// Words for one and the same.
const SAME: &[(&str, &str)] = &[
    ("large", "big"),
    ("larger", "bigger"),
    ("largest", "biggest"),
    ("greatest", "biggest"),
    ("quick", "fast"),
    ("quickest", "fastest"),
    ("automobile", "car"),
    ("movie", "film"),
    ("begin", "start"),
    ("began", "started"),
    ("occur", "happen"),
    ("meaning", "mean"),
    ("definition", "mean"),
    ("author", "wrote"),
    ("writer", "wrote"),
    ("creator", "created"),
    ("inventor", "invented"),
    ("was", "were"),
    ("has", "have"),
];

/// They end like a plural and are none, or mean something else than one of it.
const NO_PLURALS: &[&str] = &[
    "aids",
    "mars",
    "customs",
    "goods",
    "arms",
    "physics",
    "economics",
    "politics",
    "athletics",
    "mathematics",
    "pants",
    "wales",
];

/// Words of numbers besides those of [`ONES`] and [`TENS`].
const NUMBERS: &[&str] = &[
    "hundred", "thousand", "million", "billion", "half", "third", "quarter", "first", "second", "fourth", "fifth",
    "double", "twice", "once",
];

fn is_number(word: &str) -> bool {
    word.bytes().any(|c| c.is_ascii_digit())
        || [&ONES[..], &TENS[2..], NUMBERS].iter().any(|words| words.contains(&word))
}

const NEGATIONS: &[&str] =
    &["not", "no", "never", "none", "nothing", "nobody", "without", "neither", "nor", "cannot", "except"];

/// The question, or none where it is no question, or its answer depends on more than its words.
pub(super) fn read(text: &str) -> Option<Traits> {
    let words = words(text);
    let asked = without_preface(&words);
    if words.len() > 40 || asked.iter().any(|word| PERSONAL.contains(&word.as_str())) || asked.len() < 2 {
        return None;
    }
    let first = asked.first()?;
    let mut kind = STARTS.iter().find(|(start, _)| start == first)?.1;
    let mut rest = asked[1..].to_vec();
    if *first == "how"
        && let Some((_, measure)) = MEASURES.iter().find(|(how, _)| Some(*how) == rest.first().map(String::as_str))
    {
        kind = Kind::What;
        (*measure).clone_into(&mut rest[0]);
    } else if kind == Kind::Whether && !matches!(first.as_str(), "is" | "are" | "do" | "does") {
        // "can", "should", "did": another of these is another question
        rest.insert(0, first.clone());
    }
    if first == "define" {
        rest.insert(0, "mean".to_owned());
    }
    let mut traits = Traits { kind, ..Traits::default() };
    for word in rest {
        if NEGATIONS.contains(&word.as_str()) {
            traits.negations += 1;
        }
        if is_number(&word) {
            traits.numbers.push(word.clone());
        }
        if !EMPTY.contains(&word.as_str()) {
            traits.content.push(stem(&word));
        }
    }
    if kind == Kind::What && traits.content.last().is_some_and(|last| last == "mean") {
        // "what does x mean" is "what is the meaning of x"
        traits.content.rotate_right(1);
    }
    // "how does it work": what "it" is was said before
    let points = asked.iter().any(|word| word == "it");
    (traits.content.len() > usize::from(points)).then_some(traits)
}

/// "Tell me", "do you know", "I want to know": a question may follow, and it is that which counts.
fn without_preface(words: &[String]) -> &[String] {
    const PREFACES: &[&[&str]] = &[
        &["please"],
        &["hey"],
        &["ok"],
        &["okay"],
        &["so"],
        &["can", "you"],
        &["could", "you"],
        &["tell", "me"],
        &["do", "you", "know"],
        &["to", "me"],
        &["explain", "to", "me"],
        &["i", "want", "to", "know"],
        &["i", "would", "like", "to", "know"],
    ];
    let mut rest = words;
    while let Some(preface) = PREFACES.iter().find(|preface| starts_with(rest, preface)) {
        rest = &rest[preface.len()..];
    }
    // "explain how it works" asks how it works
    match rest {
        [explain, question, ..] if explain == "explain" && matches!(question.as_str(), "how" | "why" | "what") => {
            &rest[1..]
        }
        _ => rest,
    }
}

fn starts_with(words: &[String], start: &[&str]) -> bool {
    words.len() > start.len() && start.iter().zip(words).all(|(want, word)| want == word)
}

/// Lower-case words, contractions written out: "what's" is "what is", "isn't" is "is not".
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(['’', '‘'], "'");
    let mut words = Vec::new();
    for raw in text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '.' | ',' | '%' | '+' | '-' | '/'))) {
        // a comma or a full stop belongs to a number, else to nobody
        let raw = raw.trim_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '+' && c != '%');
        for part in raw.split('/').filter(|part| !part.is_empty()) {
            let (word, tail) = part.split_once('\'').unwrap_or((part, ""));
            match (word, tail) {
                ("can", "t") => words.extend(["can", "not"].map(str::to_owned)),
                ("won", "t") => words.extend(["will", "not"].map(str::to_owned)),
                (_, "t") if word.ends_with('n') => {
                    words.extend([word[..word.len() - 1].to_owned(), "not".to_owned()]);
                }
                (_, "s") if STARTS.iter().any(|(start, _)| *start == word) => {
                    words.extend([word.to_owned(), "is".to_owned()]);
                }
                (_, "re") => words.extend([word.to_owned(), "are".to_owned()]),
                (_, "m") => words.extend([word.to_owned(), "am".to_owned()]),
                (_, "ve") => words.extend([word.to_owned(), "have".to_owned()]),
                (_, "ll") => words.extend([word.to_owned(), "will".to_owned()]),
                (_, "d") => words.extend([word.to_owned(), "would".to_owned()]),
                _ if !word.is_empty() => {
                    words.push(word.to_owned());
                    if !tail.is_empty() {
                        words.push(tail.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
    words
}

/// One word for all of its plainest forms.
fn stem(word: &str) -> String {
    let word = SAME.iter().find(|(other, _)| *other == word).map_or(word, |(_, same)| *same);
    let plural = |start: &str| {
        let vowel = start.contains(['a', 'e', 'i', 'o', 'u', 'y']);
        vowel && start.len() > 2 && !start.ends_with(['s', 'u', 'i', 'a']) && !NO_PLURALS.contains(&word)
    };
    if let Some(start) = word.strip_suffix("ies").filter(|start| start.len() > 2) {
        return format!("{start}y");
    }
    if let Some(start) = word.strip_suffix("oes").filter(|start| start.len() > 2) {
        return format!("{start}o");
    }
    word.strip_suffix('s').filter(|start| plural(start)).unwrap_or(word).to_owned()
}
