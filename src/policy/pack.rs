//! A language pack: what is grave in one language, and what is said about it. TOML, checked as a whole when it is read.
//!
//! `policy/*.toml` are built in; an operator's folder may add packs and replace those. It knows no matching: `index` does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::text::plain;
use crate::domain::Level;

/// The packs that come with the binary.
const BUILT_IN: [(&str, &str); 2] = [
    ("policy/en.toml", include_str!("../../policy/en.toml")),
    ("policy/zh.toml", include_str!("../../policy/zh.toml")),
];
/// Largest pack that is read, bytes.
const LARGEST: u64 = 1 << 20;
/// Most packs in a folder.
const MOST: usize = 64;
/// Longest hint, characters.
const HINT: usize = 72;

/// What is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct PackError {
    /// The file.
    pub file: String,
    /// What is wrong in it, and how to mend it.
    pub what: String,
}

/// One language.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// BCP 47, the first part: `en`, `zh`.
    pub language: String,
    /// Of the pack; written down with each decision.
    pub version: String,
    /// What is said.
    pub say: Say,
    /// Words that take back what follows them closely: `no`, `没有`.
    #[serde(default)]
    pub negations: Vec<String>,
    /// How closely: words, or characters where words have no spaces, between a negation and what it takes back.
    #[serde(default)]
    pub negation_gap: usize,
    /// Said in a question or a reply, it is a story: nothing in it happens here.
    #[serde(default)]
    pub fiction: Vec<String>,
    /// Ways to go.
    pub directions: Directions,
    /// What is grave.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
    /// What the pack makes of texts: played whenever it is read.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Before a risk.
    pub caution: String,
    /// Phrases that warn already: nothing is put before them.
    pub openers: Vec<String>,
    /// In the place of what may not be said, by level.
    pub stop: Stop,
    /// In the place of nothing.
    pub empty: String,
    /// After an answer about a picture, at most 72 characters; empty: nothing.
    #[serde(default)]
    pub hint: String,
}

/// Stop-and-check messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
pub struct Stop {
    p0: String,
    p1: String,
    p2: String,
    p3: String,
}

impl Stop {
    /// The message for a level.
    pub fn at(&self, level: Level) -> &str {
        match level {
            Level::P0 => &self.p0,
            Level::P1 => &self.p1,
            Level::P2 => &self.p2,
            Level::P3 => &self.p3,
        }
    }
}

/// Ways to go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directions {
    /// Tells somebody to go left.
    pub left: Vec<String>,
    /// Tells somebody to go right.
    pub right: Vec<String>,
    /// Says where something is, or to go on.
    #[serde(default)]
    pub words: Vec<String>,
    /// Between two ways they are steps of one, not a contradiction.
    #[serde(default)]
    pub then: Vec<String>,
    /// Before a way: it is not to be taken.
    #[serde(default)]
    pub not: Vec<String>,
}

/// Something grave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in records and metrics: `en.traffic`.
    pub id: String,
    /// How grave.
    pub level: Level,
    /// What it is about, for people.
    #[serde(default)]
    pub about: String,
    /// Any of these.
    pub phrases: Vec<String>,
    /// Not where one of these covers or touches it.
    #[serde(default)]
    pub unless: Vec<String>,
}

/// A text and what the pack makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What is said.
    pub text: String,
    /// What was asked.
    #[serde(default)]
    pub question: String,
    /// How grave it is.
    pub level: Level,
    /// It is replaced, because it contradicts itself.
    #[serde(default)]
    pub conflict: bool,
}

impl Pack {
    /// Reads a pack; `file` is for complaints. Its examples are not played here.
    pub fn parse(file: &str, text: &str) -> Result<Self, PackError> {
        let wrong = |what: String| PackError { file: file.to_owned(), what };
        let pack: Self = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        pack.check().map_err(wrong)?;
        Ok(pack)
    }

    fn check(&self) -> Result<(), String> {
        let fits = |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_lowercase());
        if !fits(&self.language) {
            return Err(format!("language {:?} is none: write it as in \"en\"", self.language));
        }
        self.check_words()?;
        self.check_phrases()?;
        let mut ids = BTreeSet::new();
        for rule in &self.rules {
            let id = &rule.id;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if id.is_empty() || id.len() > 64 || !id.bytes().all(plain) {
                return Err(format!("rule {id:?}: an id has 1 to 64 letters, digits and . _ -"));
            }
            if !ids.insert(id) {
                return Err(format!("rule {id:?} is there twice: give each an id of its own"));
            }
            if rule.level == Level::P3 {
                return Err(format!("rule {id:?}: P3 is what no rule speaks of: use P0, P1 or P2"));
            }
            if rule.phrases.is_empty() {
                return Err(format!("rule {id:?} has no phrases: give it one, or leave it out"));
            }
        }
        Ok(())
    }

    fn check_words(&self) -> Result<(), String> {
        let said = Level::ALL.map(|level| (format!("say.stop.{}", level.name()), self.say.stop.at(level)));
        let said = said.into_iter().chain([("say.empty".to_owned(), self.say.empty.as_str())]);
        let said = said.chain([("say.caution".to_owned(), self.say.caution.as_str())]);
        for (key, words) in said {
            if words.trim().is_empty() {
                return Err(format!("{key} is empty: something has to be said there"));
            }
        }
        if self.say.hint.chars().count() > HINT {
            return Err(format!("say.hint is longer than {HINT} characters: shorten it, or leave it out"));
        }
        Ok(())
    }

    fn check_phrases(&self) -> Result<(), String> {
        let directions = &self.directions;
        let lists = [
            ("say.openers", &self.say.openers),
            ("negations", &self.negations),
            ("fiction", &self.fiction),
            ("directions.left", &directions.left),
            ("directions.right", &directions.right),
            ("directions.words", &directions.words),
            ("directions.then", &directions.then),
            ("directions.not", &directions.not),
        ];
        let lists = lists.into_iter().map(|(key, list)| (key.to_owned(), list));
        let rules = self.rules.iter().flat_map(|rule| {
            let id = &rule.id;
            [(format!("rule {id:?} phrases"), &rule.phrases), (format!("rule {id:?} unless"), &rule.unless)]
        });
        for (key, list) in lists.chain(rules) {
            for phrase in list {
                if !plain(phrase).contains(char::is_alphanumeric) {
                    return Err(format!("{key}: {phrase:?} has no letter: it would be found nowhere or everywhere"));
                }
            }
        }
        Ok(())
    }
}

/// The built-in packs, and those of a folder, which replace the built-in ones of their language. Ordered by language.
pub fn load(folder: Option<&Path>) -> Result<Vec<(String, Pack)>, PackError> {
    let mut packs = Vec::new();
    for (file, text) in BUILT_IN {
        packs.push((file.to_owned(), Pack::parse(file, text)?));
    }
    let Some(folder) = folder else { return Ok(packs) };
    let mut own: Vec<(String, Pack)> = Vec::new();
    for path in files(folder)? {
        let file = path.display().to_string();
        let unreadable = |error: std::io::Error| PackError { file: file.clone(), what: error.to_string() };
        if std::fs::metadata(&path).map_err(unreadable)?.len() > LARGEST {
            return Err(PackError { file, what: format!("a pack has at most {LARGEST} bytes") });
        }
        let pack = Pack::parse(&file, &std::fs::read_to_string(&path).map_err(unreadable)?)?;
        if let Some((other, _)) = own.iter().find(|(_, known)| known.language == pack.language) {
            let what = format!("{other} is of the language {:?} too: make one pack of both", pack.language);
            return Err(PackError { file, what });
        }
        own.push((file, pack));
    }
    packs.retain(|(_, built_in)| !own.iter().any(|(_, pack)| pack.language == built_in.language));
    packs.extend(own);
    packs.sort_by(|(_, a), (_, b)| a.language.cmp(&b.language));
    let mut ids = BTreeSet::new();
    for (file, pack) in &packs {
        if let Some(rule) = pack.rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
            let what = format!("rule {:?} is in another pack too: begin ids with the language", rule.id);
            return Err(PackError { file: file.clone(), what });
        }
    }
    Ok(packs)
}

/// `*.toml` of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, PackError> {
    let wrong = |what: String| PackError { file: folder.display().to_string(), what };
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| wrong(error.to_string()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(wrong("there is no *.toml in it: put a pack there, or take policy.packs out".to_owned()));
    }
    if found.len() > MOST {
        return Err(wrong(format!("there are more than {MOST} packs in it")));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    const SMALL: &str = r#"
language = "de"
version = "1"
negations = ["kein"]
[say]
caution = "Vorsicht: "
openers = ["vorsicht"]
empty = "Dazu weiß ich nichts."
[say.stop]
P0 = "Bleib stehen."
P1 = "Bleib stehen."
P2 = "Das ist nicht sicher."
P3 = "Das weiß ich nicht."
[directions]
left = ["links abbiegen"]
right = ["rechts abbiegen"]
[[rule]]
id = "de.fire"
level = "P0"
phrases = ["es brennt"]
"#;

    fn complaint(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from}");
        Pack::parse("de.toml", &SMALL.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_pack_is_told_with_its_file_and_its_place() {
        for (from, to, told) in [
            ("language = \"de\"", "language = \"Deutsch\"", "language"),
            ("level = \"P0\"", "level = \"P3\"", "de.fire"),
            ("level = \"P0\"", "level = \"P9\"", "P9"),
            ("phrases = [\"es brennt\"]", "phrases = []", "no phrases"),
            ("phrases = [\"es brennt\"]", "phrases = [\"?!\"]", "no letter"),
            ("negations = [\"kein\"]", "negation = [\"kein\"]", "negation"),
            ("P2 = \"Das ist nicht sicher.\"", "P2 = \" \"", "say.stop.P2"),
            ("id = \"de.fire\"", "id = \"de fire\"", "id"),
            ("P3 = \"Das weiß ich nicht.\"\n", "", "P3"),
            ("language = \"de\"", "language = ", "line 2"),
        ] {
            let complaint = complaint(from, to);
            assert!(complaint.starts_with("de.toml: ") && complaint.contains(told), "{complaint}");
        }
    }

    #[test]
    fn a_folder_adds_languages_and_replaces_built_in_ones() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(Some(folder.path())).unwrap_err().what.contains("no *.toml"));
        std::fs::write(folder.path().join("de.toml"), SMALL).unwrap();
        let english = SMALL.replace("\"de\"", "\"en\"").replace("de.fire", "en.mine");
        std::fs::write(folder.path().join("mine.toml"), english).unwrap();
        let packs = load(Some(folder.path())).unwrap();
        let languages: Vec<&str> = packs.iter().map(|(_, pack)| pack.language.as_str()).collect();
        assert_eq!(languages, ["de", "en", "zh"]);
        assert_eq!(packs[1].1.rules[0].id, "en.mine");
        std::fs::write(folder.path().join("again.toml"), SMALL).unwrap();
        assert!(load(Some(folder.path())).unwrap_err().what.contains("make one pack"));
        assert!(load(Some(&folder.path().join("nowhere"))).is_err());
    }

    #[test]
    fn one_rule_id_in_two_packs_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("de.toml"), SMALL.replace("de.fire", "en.traffic")).unwrap();
        assert!(load(Some(folder.path())).unwrap_err().what.contains("another pack"));
    }
}
