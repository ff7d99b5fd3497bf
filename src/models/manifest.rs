//! The manifest: which models there are, where their bytes come from and what they must be.
//!
//! Built in is `config/models.toml`; a file of the same form may replace it. Reading is total: a
//! manifest is refused whole, with everything that is wrong in it. Nothing here touches network or disk.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::convert::Conversion;
use super::digest::Sha;

/// The manifest that is built in.
pub const BUILT_IN: &str = include_str!("../../config/models.toml");

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Voice activity.
    Vad,
    /// The end of a turn.
    Turn,
    /// Speech to text.
    Stt,
    /// Text to speech.
    Tts,
    /// Chat.
    Chat,
    /// Text to vectors.
    Embed,
}

impl Purpose {
    /// As written in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Vad => "vad",
            Purpose::Turn => "turn",
            Purpose::Stt => "stt",
            Purpose::Tts => "tts",
            Purpose::Chat => "chat",
            Purpose::Embed => "embed",
        }
    }
}

/// All models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models, in the order in which they are pulled.
    #[serde(rename = "model", default)]
    pub models: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its folder below the models' folder: lowercase letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// BCP 47 of each language that it is good at; empty when it has none.
    #[serde(default)]
    pub language: Vec<String>,
    /// SPDX, of the weights.
    pub licence: String,
    /// Whose copyright it is, where no file of the package says so.
    #[serde(default)]
    pub copyright: Option<String>,
    /// One line for a person.
    pub about: String,
    /// Pulled when nothing is named.
    #[serde(default)]
    pub default: bool,
    /// The languages for which it is pulled instead of all others of its purpose.
    #[serde(default)]
    pub best_for: Vec<String>,
    /// Where it is to be had, best first. Each gives all of it.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One way to get all of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What is fetched.
    pub downloads: Vec<Download>,
    /// What is taken out of it.
    pub take: Vec<Take>,
    /// What is made of that.
    #[serde(default)]
    pub convert: Option<Conversion>,
    /// The file that the conversion makes.
    #[serde(default)]
    pub make: Option<Make>,
}

/// The kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The Python package index, through pip.
    Pypi,
    /// An http(s) address.
    Url,
}

/// One file to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Download {
    /// A wheel of the Python package index.
    Pypi {
        /// The package's name.
        package: String,
        /// The exact version.
        version: String,
        /// The wheel's file name.
        file: String,
        /// The wheel's length in bytes.
        size: u64,
        /// The wheel's SHA-256.
        sha256: Sha,
    },
    /// A file behind an address.
    Url {
        /// http or https.
        url: String,
        /// Its name here; one that ends in `.whl` or `.zip` is an archive.
        file: String,
        /// Its length in bytes.
        size: u64,
        /// Its SHA-256.
        sha256: Sha,
    },
}

impl Download {
    /// The name that the file gets here.
    pub fn file(&self) -> &str {
        match self {
            Download::Pypi { file, .. } | Download::Url { file, .. } => file,
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Download::Pypi { size, .. } | Download::Url { size, .. } => *size,
        }
    }

    /// What its SHA-256 must be.
    pub fn sha256(&self) -> Sha {
        match self {
            Download::Pypi { sha256, .. } | Download::Url { sha256, .. } => *sha256,
        }
    }

    /// How it is fetched.
    pub fn via(&self) -> Via {
        match self {
            Download::Pypi { .. } => Via::Pypi,
            Download::Url { .. } => Via::Url,
        }
    }

    /// For a person: `pypi silero-vad 6.2.3`, or the address.
    pub fn label(&self) -> String {
        match self {
            Download::Pypi { package, version, .. } => format!("pypi {package} {version}"),
            Download::Url { url, .. } => url.clone(),
        }
    }

    /// Its members are in an archive (else it is its only member).
    pub fn archive(&self) -> bool {
        let end = std::path::Path::new(self.file()).extension();
        end.is_some_and(|end| end == "whl" || end == "zip")
    }
}

/// One file out of the downloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Members of the archives, joined in this order; a download that is no archive has one member, its name.
    pub from: Vec<String>,
    /// The file's name in the model's folder.
    pub to: String,
    /// Bytes: no more are unpacked.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Sha,
    /// Only for the conversion: not kept.
    #[serde(default)]
    pub input: bool,
}

/// The file that a conversion makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// Its name in the model's folder.
    pub name: String,
    /// Bytes, about: for the disk's space.
    pub size: u64,
    /// Its SHA-256, where the conversion gives the same bytes each time and everywhere.
    #[serde(default)]
    pub sha256: Option<Sha>,
}

impl Source {
    /// For a person.
    pub fn label(&self) -> String {
        self.downloads.iter().map(Download::label).collect::<Vec<_>>().join(" + ")
    }

    /// The files that stay: name, bytes, SHA-256 where it is known.
    pub fn kept(&self) -> impl Iterator<Item = (&str, u64, Option<Sha>)> {
        let taken = self.take.iter().filter(|take| !take.input).map(|t| (&*t.to, t.size, Some(t.sha256)));
        taken.chain(self.make.iter().map(|make| (&*make.name, make.size, make.sha256)))
    }

    /// Bytes that stay.
    pub fn size(&self) -> u64 {
        self.kept().map(|(_, size, _)| size).sum()
    }

    /// The same for the same files: changes when they change, not with the words about them.
    pub fn fingerprint(&self) -> Sha {
        let mut kept: Vec<_> = self.kept().collect();
        kept.sort_unstable();
        let mut hash = Sha256::new();
        for (name, size, sha) in kept {
            hash.update(format!("{name} {size} {}\n", sha.map_or_else(String::new, |sha| sha.to_string())));
        }
        Sha::of(hash)
    }

    /// Bytes on the disk at the worst moment: the downloads, what is taken out, what is made.
    pub fn peak(&self) -> u64 {
        let downloads: u64 = self.downloads.iter().map(Download::size).sum();
        downloads + self.take.iter().map(|t| t.size).sum::<u64>() + self.make.as_ref().map_or(0, |make| make.size)
    }
}

impl Model {
    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        self.sources.first().map_or(0, Source::size)
    }

    /// Bytes of the first source to fetch.
    pub fn download_size(&self) -> u64 {
        self.sources.first().map_or(0, |s| s.downloads.iter().map(Download::size).sum())
    }
}

/// A manifest that cannot be used: everything that is wrong with it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the models' manifest is refused: {}", .0.join("; "))]
pub struct ManifestError(pub Vec<String>);

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|e| ManifestError(vec![e.to_string().trim().to_owned()]))?;
        let problems = manifest.problems();
        if problems.is_empty() { Ok(manifest) } else { Err(ManifestError(problems)) }
    }

    /// The one that is built in.
    pub fn built_in() -> Result<Self, ManifestError> {
        Self::parse(BUILT_IN)
    }

    /// The model of that name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for model in &self.models {
            let name = &model.name;
            if !plain(name) || name.len() > 64 {
                problems.push(format!("{name:?} is no name for a folder: use lowercase letters, digits, ., - and _"));
            }
            if !names.insert(name) {
                problems.push(format!("{name} is there twice"));
            }
            if let Some(alien) = model.best_for.iter().find(|language| !model.language.contains(language)) {
                problems.push(format!("{name} is best for {alien}, and not good at it: name it in language too"));
            }
            if model.sources.is_empty() {
                problems.push(format!("{name} has no source"));
            }
            for source in &model.sources {
                source.problems(name, &mut problems);
            }
        }
        problems
    }
}

impl Source {
    fn problems(&self, model: &str, problems: &mut Vec<String>) {
        let label = self.label();
        let mut say = |what: String| problems.push(format!("{model}, {label}: {what}"));
        if self.downloads.is_empty() || self.take.is_empty() {
            say("nothing to download or nothing to take".into());
        }
        for download in &self.downloads {
            if !plain_file(download.file()) {
                say(format!("{:?} is no plain file name", download.file()));
            }
            match download {
                Download::Url { url, .. } if !(url.starts_with("https://") || url.starts_with("http://")) => {
                    say(format!("{url} is not http or https"));
                }
                Download::Pypi { package, version, .. } if !pypi(package) || !pypi(version) => {
                    say(format!("{package:?} {version:?} is no package and version of the index"));
                }
                _ => {}
            }
        }
        let mut files = BTreeSet::new();
        let made = self.make.iter().map(|make| &make.name);
        for file in self.take.iter().map(|take| &take.to).chain(made) {
            if !plain_file(file) || file == super::ready::READY || file == super::ready::SOURCE {
                say(format!("{file:?} is no name for a file of a model"));
            }
            if !files.insert(file) {
                say(format!("{file} is there twice"));
            }
        }
        if self.take.iter().any(|take| take.from.is_empty()) {
            say("a file is taken from nowhere".into());
        }
        if self.convert.is_some() != self.make.is_some() || self.convert.is_some() != self.take.iter().any(|t| t.input)
        {
            say("a conversion needs convert, make and an input, or none of them".into());
        }
    }
}

/// Lowercase letters, digits, `.`, `-`, `_`; no leading dot.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// A file name of one part: letters, digits, `.`, `-`, `_`; no leading dot or dash.
fn plain_file(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A name or version that pip cannot take for an option, an address or a path.
fn pypi(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+!".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_built_in_manifest_is_sound_and_covers_a_whole_turn() {
        let manifest = Manifest::built_in().unwrap();
        let defaults: Vec<_> = manifest.models.iter().filter(|m| m.default).map(|m| m.purpose).collect();
        assert_eq!(defaults, [Purpose::Vad, Purpose::Stt, Purpose::Chat, Purpose::Tts]);
        for model in &manifest.models {
            for source in &model.sources {
                assert!(source.downloads.iter().all(|d| d.size() > 0), "{}", model.name);
                // Mirrors give the same files.
                let names = |s: &Source| s.kept().filter(|k| k.0 != "LICENSE").map(|k| (k.0.to_owned(), k.2)).collect();
                let (one, first): (Vec<_>, Vec<_>) = (names(source), names(&model.sources[0]));
                assert_eq!(one, first, "{}", model.name);
            }
        }
    }

    const GOOD: &str = r#"
        [[model]]
        name = "m"
        purpose = "vad"
        licence = "MIT"
        about = "a model"
        [[model.source]]
        downloads = [{ type = "url", url = "http://h/f.bin", file = "f.bin", size = 3, sha256 = "SHA" }]
        take = [{ from = ["f.bin"], to = "f.bin", size = 3, sha256 = "SHA" }]
    "#;

    fn with(from: &str, to: &str) -> Result<Manifest, ManifestError> {
        let sha = "00".repeat(32);
        Manifest::parse(&GOOD.replace(from, to).replace("SHA", &sha))
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        with("-", "-").unwrap();
        for (from, to) in [
            ("name = \"m\"", "name = \"../m\""),
            ("name = \"m\"", "name = \".partial\""),
            ("to = \"f.bin\"", "to = \"../f.bin\""),
            ("to = \"f.bin\"", "to = \"/etc/passwd\""),
            ("to = \"f.bin\"", "to = \"READY\""),
            ("file = \"f.bin\"", "file = \"a/f.bin\""),
            ("http://h", "file:///h"),
            ("[\"f.bin\"]", "[]"),
            ("type = \"url\", url = \"http://h/f.bin\"", "type = \"pypi\", package = \"--index-url\", version = \"1\""),
            ("SHA", "00ff"),
            ("purpose = \"vad\"", "purpose = \"vad\"\nbest_for = [\"zh\"]"),
            ("purpose = \"vad\"", "purpose = \"vad\"\ncolour = \"red\""),
        ] {
            assert!(with(from, to).is_err(), "{to}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let ManifestError(told) = with("f.bin", "../f.bin").unwrap_err();
        assert!(told.len() >= 2, "{told:?}");
    }

    #[test]
    fn the_fingerprint_follows_the_files_and_not_the_words() {
        let one = with("-", "-").unwrap();
        let words = with("a model", "the model").unwrap();
        let other = with("size = 3, sha256 = \"SHA\" }]\n    ", "size = 4, sha256 = \"SHA\" }]\n    ").unwrap();
        assert_eq!(one.models[0].sources[0].fingerprint(), words.models[0].sources[0].fingerprint());
        assert_ne!(one.models[0].sources[0].fingerprint(), other.models[0].sources[0].fingerprint());
    }
}
