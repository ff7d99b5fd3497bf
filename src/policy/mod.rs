//! Safety and manners of what is said: how grave it is, whether it may be said so, whether now.
//!
//! Rules are data (`policy/*.toml`, or an operator's own packs); this room reads them and decides. It is pure: no clock, no
//! model, no voice; what it is asked about it is told. Keyword rules are no guarantee: `docs/policy.md` says what they miss.

mod guard;
mod index;
pub mod interaction;
mod metrics;
mod pack;
pub mod redact;
mod settings;
mod text;

use std::sync::Arc;

pub use guard::{Decision, Guard, Reason, Scene};
pub use interaction::{Moment, Priority, QuietHours, Verdict};
pub use metrics::Metrics;
pub use pack::PackError;
pub use settings::Settings;

use crate::domain::language::base;
use crate::domain::{Level, Profile};
use index::Index;
use pack::{Pack, Say};

/// Of the rules of this room; the packs have versions of their own.
const VERSION: &str = "1";

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Source {
    /// The answer of a turn.
    #[default]
    VoiceReply,
    /// The answer about a picture.
    VisionReply,
    /// How a task goes.
    TaskUpdate,
    /// An operator.
    Operator,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 4] = [Source::VoiceReply, Source::VisionReply, Source::TaskUpdate, Source::Operator];

    /// In settings, records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Source::VoiceReply => "voice_reply",
            Source::VisionReply => "vision_reply",
            Source::TaskUpdate => "task_update",
            Source::Operator => "operator",
        }
    }
}

/// Why there are no policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A pack is wrong.
    #[error("a policy pack cannot be used: {0}; see docs/policy.md")]
    Pack(#[from] PackError),
    /// The phrases are too many to be looked for.
    #[error("the phrases of the policy packs cannot be looked for together: {0}")]
    Index(String),
    /// A pack's own example does not hold.
    #[error("{file}: the example {text:?} {what}; mend the rules or the example")]
    Example {
        /// The file.
        file: String,
        /// The example.
        text: String,
        /// What came out instead.
        what: String,
    },
}

/// The rules, ready to be asked. Clones share them.
#[derive(Clone)]
pub struct Policies {
    engine: Arc<Engine>,
}

/// What guards share.
struct Engine {
    settings: Settings,
    packs: Vec<Pack>,
    index: Index,
    version: Arc<str>,
    metrics: Metrics,
}

impl Engine {
    /// The pack of a language; where there is none, English, or the first.
    fn pack_of(&self, language: Option<&str>) -> usize {
        let of = |wanted: &str| self.packs.iter().position(|pack| pack.language == wanted);
        let first = language.map(base);
        first.as_deref().and_then(of).or_else(|| of("en")).unwrap_or(0)
    }

    #[allow(clippy::expect_used, reason = "the number came from pack_of or from a rule of the pack")]
    fn say(&self, pack: usize) -> &Say {
        &self.packs.get(pack).or(self.packs.first()).expect("there is a pack").say
    }
}

impl Policies {
    /// Reads the packs, the operator's among them, and plays their examples. Reads files: not for a hot path.
    pub fn open(settings: &Settings, metrics: Metrics) -> Result<Self, PolicyError> {
        let (files, packs): (Vec<String>, Vec<Pack>) = pack::load(settings.packs.as_deref())?.into_iter().unzip();
        let index = Index::new(&packs.iter().collect::<Vec<_>>()).map_err(PolicyError::Index)?;
        let mut version = vec![VERSION.to_owned()];
        version.extend(packs.iter().map(|pack| format!("{}.{}", pack.language, pack.version)));
        let version = version.join("+").into();
        let engine = Engine { settings: settings.clone(), packs, index, version, metrics };
        let policies = Self { engine: Arc::new(engine) };
        policies.play_examples(&files)?;
        Ok(policies)
    }

    /// Watches over one reply that comes clause by clause.
    pub fn guard(&self, scene: Scene) -> Guard {
        Guard::new(Arc::clone(&self.engine), scene)
    }

    /// Judges a text that is whole already.
    pub fn judge(&self, scene: Scene, text: &str) -> Decision {
        let mut guard = self.guard(scene);
        let mut said = Vec::new();
        if text.trim().is_empty() {
            said.extend(guard.nothing());
        } else {
            said.extend(guard.push(text.trim().to_owned()));
        }
        said.extend(guard.finish());
        Decision { text: said.join(" "), ..guard.decision() }
    }

    /// How grave a text is by the rules alone; nothing is counted.
    pub fn level_of(&self, text: &str) -> Level {
        let reading = self.engine.index.read(&text::plain(text));
        let levels = reading.hits.iter().filter_map(|hit| self.engine.index.rule(hit.rule)).map(|rule| rule.level);
        levels.min().unwrap_or_default()
    }

    /// How closely a device is watched.
    pub fn profile_of(&self, own: Option<Profile>, dialect: &str) -> Profile {
        self.engine.settings.profile_of(own, dialect)
    }

    /// Whether, and with what hint, something is said at this moment.
    pub fn interact(&self, moment: &Moment<'_>) -> Verdict {
        if !self.engine.settings.enabled {
            return Verdict::Speak { hint: None };
        }
        let hint = &self.engine.say(self.engine.pack_of(moment.language)).hint;
        let verdict = self.engine.settings.interaction.decide(moment, hint);
        match &verdict {
            Verdict::Silent(why) => self.engine.metrics.acted(moment.source, why.name()),
            Verdict::Speak { hint: Some(_) } => self.engine.metrics.acted(moment.source, "hint"),
            Verdict::Speak { hint: None } => {}
        }
        verdict
    }

    /// The policies are watching: their version.
    pub fn version(&self) -> &str {
        &self.engine.version
    }

    /// Each example is played as a cane would hear it, by the rules of its own pack's language.
    fn play_examples(&self, files: &[String]) -> Result<(), PolicyError> {
        let quiet = Engine {
            settings: Settings { guard: true, ..Settings::default() },
            packs: self.engine.packs.clone(),
            index: Index::new(&self.engine.packs.iter().collect::<Vec<_>>()).map_err(PolicyError::Index)?,
            version: Arc::clone(&self.engine.version),
            metrics: Metrics::default(),
        };
        let quiet = Self { engine: Arc::new(quiet) };
        for (file, pack) in files.iter().zip(&self.engine.packs) {
            for example in &pack.examples {
                let scene = Scene {
                    profile: Profile::Cane,
                    question: example.question.clone(),
                    language: Some(pack.language.clone()),
                    ..Scene::default()
                };
                let decision = quiet.judge(scene, &example.text);
                let conflict = decision.reason == Some(Reason::Conflict);
                if decision.level != example.level || conflict != example.conflict {
                    let what = format!(
                        "came out as {} by {:?}{}, not as {}{}",
                        decision.level.name(),
                        decision.rule_ids,
                        if conflict { ", a contradiction" } else { "" },
                        example.level.name(),
                        if example.conflict { ", a contradiction" } else { "" },
                    );
                    return Err(PolicyError::Example { file: file.clone(), text: example.text.clone(), what });
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies").field("version", &self.engine.version).finish_non_exhaustive()
    }
}
