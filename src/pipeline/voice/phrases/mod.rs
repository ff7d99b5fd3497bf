//! What is said again and again, made ahead and kept as Opus: the apology for a stage that failed, what is said to a person
//! who called for help, a greeting, a farewell, each in the languages of the devices.
//!
//! Each is synthesised when a synthesizer first answers and kept as a file, so that it is spoken at once, without any
//! provider, also after a restart with the engine gone. Until then the apology is the one that comes with the binary. A
//! language is made when a device that speaks it first talks; until then it hears the usual voice and reads its own words.

mod phrase;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

pub use phrase::Phrase;
pub use words::{Texts, Words};

/// What is made ahead.
pub struct Phrases {
    usual: Set,
    /// By language, small letters.
    others: BTreeMap<String, Set>,
    /// As the settings have them, and sessions ask for them.
    greeting: Option<String>,
    farewell: Option<String>,
    news: Notify,
}

/// All of one language.
struct Set {
    wanted: AtomicBool,
    apology: Phrase,
    busy: Option<Phrase>,
    help: Phrase,
    greeting: Option<Phrase>,
    farewell: Option<Phrase>,
}

impl Set {
    fn all(&self) -> impl Iterator<Item = &Phrase> {
        [&self.apology, &self.help].into_iter().chain(&self.busy).chain(&self.greeting).chain(&self.farewell)
    }
}

impl Phrases {
    /// `voice` is who speaks them, `dir` where they are kept.
    pub fn open(texts: &Texts, voice: &str, dir: &Path) -> Self {
        let of = |language: &str| names_in(language, texts).map_or_else(|| texts.all.clone(), |name| texts.of(&name));
        let open = |kind: &str, language: &str, text: Option<String>, built_in| {
            Phrase::open(kind, (language, text.as_deref().unwrap_or_default()), voice, dir, built_in)
        };
        let set = |language: &str, built_in: bool| {
            let words = of(language);
            let said = |text: &String| !text.trim().is_empty();
            Set {
                wanted: AtomicBool::new(built_in),
                apology: open("apology", language, words.apology, built_in.then_some(phrase::APOLOGY)),
                busy: words.busy.filter(said).map(|text| open("busy", language, Some(text), None)),
                help: open("sos", language, words.help, built_in.then_some(phrase::CALL_HEARD)),
                greeting: words.greeting.filter(said).map(|text| open("phrase", language, Some(text), None)),
                farewell: words.farewell.filter(said).map(|text| open("phrase", language, Some(text), None)),
            }
        };
        let others = texts.languages().into_iter().map(|language| (language.clone(), set(&language, false))).collect();
        let Words { greeting, farewell, .. } = texts.all.clone();
        Self { usual: set(&texts.language, true), others, greeting, farewell, news: Notify::new() }
    }

    /// That of a device's language, if it is another one than the usual.
    fn other(&self, language: Option<&str>) -> Option<&Set> {
        let found = words::names(language?).into_iter().find_map(|name| self.others.get(&name))?;
        (found.apology.text() != self.usual.apology.text() || found.help.text() != self.usual.help.text())
            .then_some(found)
    }

    /// A device speaks this language: it is made as well.
    pub fn want(&self, language: Option<&str>) {
        if let Some(set) = self.other(language)
            && !set.wanted.swap(true, Ordering::Relaxed)
        {
            self.news.notify_one();
        }
    }

    /// Waits for a language that is wanted for the first time.
    pub async fn another_is_wanted(&self) {
        self.news.notified().await;
    }

    /// What is said when a stage fails, and its frames.
    pub fn apology(&self, language: Option<&str>) -> (&str, Vec<Bytes>) {
        self.or_usual(language, |set| &set.apology)
    }

    /// What is said when too many talk at once, and its frames where they are made.
    pub fn busy(&self, language: Option<&str>) -> Option<(&str, Vec<Bytes>)> {
        let phrase = self.other(language).unwrap_or(&self.usual).busy.as_ref()?;
        Some((phrase.text(), phrase.frames()))
    }

    /// What is said to a person who called for help, and its frames.
    pub fn help(&self, language: Option<&str>) -> (&str, Vec<Bytes>) {
        self.or_usual(language, |set| &set.help)
    }

    /// The words of the language, in the usual voice as long as they are not made: any sound is better than none.
    fn or_usual(&self, language: Option<&str>, which: impl Fn(&Set) -> &Phrase) -> (&str, Vec<Bytes>) {
        let phrase = which(self.other(language).unwrap_or(&self.usual));
        let frames = Some(phrase.frames()).filter(|frames| !frames.is_empty());
        (phrase.text(), frames.unwrap_or_else(|| which(&self.usual).frames()))
    }

    /// What stands for a text of the gateway's own on a device of this language; none where the text is another's.
    pub fn own(&self, text: &str, language: Option<&str>) -> Option<&Phrase> {
        let set = self.other(language).unwrap_or(&self.usual);
        if self.greeting.as_deref() == Some(text) {
            return set.greeting.as_ref();
        }
        set.farewell.as_ref().filter(|_| self.farewell.as_deref() == Some(text))
    }

    /// The apology was made by this configuration's own synthesizer.
    pub fn made(&self) -> bool {
        self.usual.apology.made()
    }

    /// Those that this configuration's own synthesizer has not made yet, of the languages that are wanted.
    pub fn unmade(&self) -> impl Iterator<Item = &Phrase> {
        let wanted = self.others.values().filter(|set| set.wanted.load(Ordering::Relaxed));
        [&self.usual].into_iter().chain(wanted).flat_map(Set::all).filter(|phrase| !phrase.made())
    }
}

/// The name under which there is something for a language.
fn names_in(language: &str, texts: &Texts) -> Option<String> {
    let known = texts.languages();
    words::names(language).into_iter().find(|name| known.contains(name))
}
