//! One reply, clause by clause: what of it may be spoken now, what waits, and what is said in its place.
//!
//! A clause that can become part of nothing worse goes on at once. From the first clause on that a later one may turn into
//! a contradiction (it sends somebody left or right) nothing is spoken until the reply is over, so that the first half of
//! what would have been replaced is never heard. It knows no models, no voices and no clock.

use std::sync::Arc;

use serde_json::{Value, json};

use super::index::{Side, Step};
use super::text::{ends_sentence, is_wide, plain};
use super::{Engine, Source};
use crate::domain::{Audit, Level, Policy, Profile};

/// So much of an unfinished sentence is read again with the clause behind it, bytes.
const WINDOW: usize = 1_024;
/// Most rules that are named in one decision.
const NAMED: usize = 32;

/// What is said, to whom, and what is known of it beforehand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// Who says it.
    pub source: Source,
    /// How closely it is watched.
    pub profile: Profile,
    /// The language of fixed messages where no rule tells one, BCP 47.
    pub language: Option<String>,
    /// What was asked.
    pub question: String,
    /// How grave it is by its own account: of a model that tells.
    pub given: Option<Level>,
    /// How grave the situation is that it is said in.
    pub context: Option<Level>,
    /// How sure the model is, 0 to 1; none: it does not tell, and nothing is made of it.
    pub confidence: Option<f32>,
}

/// Why something else was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model is not sure.
    LowConfidence,
    /// Left and right at once.
    Conflict,
    /// A direction beside a risk, and the model is not sure enough of it.
    Directional,
    /// There was nothing to say.
    Empty,
}

impl Reason {
    /// In records, as OpenCane has it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::LowConfidence => "low_confidence",
            Reason::Conflict => "semantic_guard_conflict",
            Reason::Directional => "semantic_guard_directional",
            Reason::Empty => "empty",
        }
    }
}

/// What became of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What was, or is to be, said.
    pub text: String,
    /// Who said it.
    pub source: Source,
    /// The worst of what was given, inferred and around it.
    pub level: Level,
    /// Something else was said.
    pub downgraded: bool,
    /// Why.
    pub reason: Option<Reason>,
    /// What else was done or seen: `caution_prefix`, `truncated`, `direction_conflict`, `fiction`.
    pub flags: Vec<&'static str>,
    /// Of the rules.
    pub policy_version: Arc<str>,
    /// The rules that hold.
    pub rule_ids: Vec<String>,
    /// Of the model.
    pub confidence: Option<f32>,
    /// By the account of the model.
    pub given: Option<Level>,
    /// By the rules.
    pub inferred: Level,
    /// Of the situation.
    pub context: Option<Level>,
    /// It names a direction.
    pub directional: bool,
}

impl Decision {
    /// The policy changed what is said.
    pub fn stepped_in(&self) -> bool {
        self.downgraded || self.flags.iter().any(|flag| matches!(*flag, CAUTION | CUT))
    }

    /// For the lifelog.
    pub fn audit(&self) -> Audit {
        let level = |level: Option<Level>| level.map(Level::name);
        let body = json!({
            "text": self.text, "source": self.source.name(), "risk_level": self.level.name(),
            "confidence": self.confidence, "downgraded": self.downgraded, "reason": self.reason.map(Reason::name),
            "flags": self.flags, "policy_version": &*self.policy_version, "rule_ids": self.rule_ids,
            "evidence": {
                "input_risk_level": level(self.given), "inferred_risk_level": self.inferred.name(),
                "context_risk_level": level(self.context), "directional": self.directional,
                "conflict_direction": self.flags.contains(&CONFLICT),
            },
        });
        Audit { policy: Policy::Safety, body }
    }

    /// For the record of a turn: nothing where nothing is grave.
    pub fn note(&self) -> Option<Value> {
        let worth = self.level < Level::P3 || self.stepped_in();
        worth.then(|| json!({"level": self.level.name(), "rule_ids": self.rule_ids, "flags": self.flags}))
    }
}

const CAUTION: &str = "caution_prefix";
const CUT: &str = "truncated";
const CONFLICT: &str = "direction_conflict";
const FICTION: &str = "fiction";
/// In the place of a rule's id.
const CONFLICT_RULE: &str = "guard.direction_conflict";

/// Watches over one reply.
pub struct Guard {
    engine: Arc<Engine>,
    scene: Scene,
    /// The pack of fixed messages: that of the first rule that holds, else of the scene's language.
    pack: usize,
    /// The sentence that is under way, made plain.
    window: String,
    /// Clauses that wait.
    held: Vec<String>,
    /// What was said.
    said: String,
    said_chars: usize,
    inferred: Level,
    rule_ids: Vec<String>,
    flags: Vec<&'static str>,
    directional: bool,
    warned: bool,
    /// What comes next needs a warning.
    due: bool,
    turned: Option<Side>,
    then: bool,
    reason: Option<Reason>,
    /// Nothing more is said.
    over: bool,
    counted: bool,
}

impl Guard {
    pub(super) fn new(engine: Arc<Engine>, scene: Scene) -> Self {
        let pack = engine.pack_of(scene.language.as_deref());
        let mut guard = Self {
            pack,
            window: String::new(),
            held: Vec::new(),
            said: String::new(),
            said_chars: 0,
            inferred: Level::P3,
            rule_ids: Vec::new(),
            flags: Vec::new(),
            directional: false,
            warned: false,
            due: false,
            turned: None,
            then: false,
            reason: None,
            over: false,
            counted: false,
            engine,
            scene,
        };
        guard.due = guard.level().is_high();
        if guard.watches() && guard.engine.index.read(&plain(&guard.scene.question)).fiction {
            guard.set_in_fiction();
        }
        guard
    }

    /// Takes the next clause; gives what may be spoken now.
    pub fn push(&mut self, clause: String) -> Vec<String> {
        if !self.watches() {
            return vec![clause];
        }
        if self.over {
            return Vec::new();
        }
        let (conflict, open) = self.read(&clause);
        if self.scene.profile == Profile::Audit {
            return vec![clause];
        }
        self.held.push(clause);
        if conflict && self.engine.settings.guard {
            return self.replace(Reason::Conflict);
        }
        if open || self.must_wait() { Vec::new() } else { self.release() }
    }

    /// The reply is over; gives what of it is still to be spoken.
    pub fn finish(&mut self) -> Vec<String> {
        let rest = if self.over || self.scene.profile != Profile::Cane || self.held.is_empty() {
            Vec::new()
        } else if self.unsure() {
            self.replace(Reason::LowConfidence)
        } else if self.doubtful_direction() {
            self.replace(Reason::Directional)
        } else {
            self.release()
        };
        if self.watches() && !std::mem::replace(&mut self.counted, true) {
            self.engine.metrics.judged(self.scene.source, self.level());
        }
        rest
    }

    /// The reply broke off: what waits for its end is not said.
    pub fn broke_off(&mut self) {
        self.held.clear();
        self.over = true;
    }

    /// Nothing more will be said, whatever follows.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What was said so far, where that is not what the reply was.
    pub fn said_instead(&self) -> Option<&str> {
        let stepped_in = self.reason.is_some() || self.flags.iter().any(|flag| matches!(*flag, CAUTION | CUT));
        (stepped_in || self.scene.profile == Profile::Cane && self.over).then_some(self.said.as_str())
    }

    /// What became of it so far.
    pub fn decision(&self) -> Decision {
        Decision {
            text: self.said.clone(),
            source: self.scene.source,
            level: self.level(),
            downgraded: self.reason.is_some(),
            reason: self.reason,
            flags: self.flags.clone(),
            policy_version: Arc::clone(&self.engine.version),
            rule_ids: self.rule_ids.clone(),
            confidence: self.scene.confidence,
            given: self.scene.given,
            inferred: self.inferred,
            context: self.scene.context,
            directional: self.directional,
        }
    }

    /// Says that there was nothing to say.
    pub(super) fn nothing(&mut self) -> Vec<String> {
        if self.scene.profile == Profile::Cane { self.replace(Reason::Empty) } else { Vec::new() }
    }

    fn watches(&self) -> bool {
        self.scene.profile != Profile::Off
    }

    fn level(&self) -> Level {
        let told = self.scene.given.unwrap_or_default().or_worse(self.scene.context.unwrap_or_default());
        self.inferred.or_worse(told)
    }

    /// The model told how sure it is, and that is less than this, or no number.
    fn is_below(&self, threshold: f32) -> bool {
        self.scene.confidence.is_some_and(|sure| sure.is_nan() || sure < threshold)
    }

    fn unsure(&self) -> bool {
        self.is_below(self.engine.settings.low_confidence)
    }

    fn doubtful_direction(&self) -> bool {
        let settings = &self.engine.settings;
        settings.guard && self.is_below(settings.directional_confidence) && self.directional && self.level().is_high()
    }

    /// A later clause may change what is to be said of these.
    fn must_wait(&self) -> bool {
        let settings = &self.engine.settings;
        let half_doubtful =
            self.is_below(settings.directional_confidence) && (self.directional || self.level().is_high());
        self.unsure() || settings.guard && (self.turned.is_some() || half_doubtful)
    }

    /// Reads a clause behind what stands before it in its sentence: whether it contradicts itself now, and whether it ends
    /// in half a phrase.
    fn read(&mut self, clause: &str) -> (bool, bool) {
        let clause = plain(clause);
        let wide = |c: Option<char>| c.is_some_and(is_wide);
        let known = self.window.len();
        if known > 0 && !wide(self.window.chars().next_back()) && !wide(clause.chars().next()) {
            self.window.push(' ');
        }
        self.window.push_str(&clause);
        let engine = Arc::clone(&self.engine);
        let reading = engine.index.read(&self.window);
        if reading.fiction {
            self.set_in_fiction();
        }
        self.warned |= reading.warns;
        let mut conflict = false;
        if !self.flags.contains(&FICTION) {
            for hit in reading.hits.iter().filter(|hit| hit.to > known) {
                self.infer(hit.rule);
            }
            self.directional |= reading.direction.is_some_and(|to| to > known);
            for (step, _) in reading.steps.iter().filter(|(_, to)| *to > known) {
                conflict |= self.step(*step);
            }
        }
        let open = engine.index.is_open(&self.window);
        if ends_sentence(&clause) {
            self.window.clear();
        } else if self.window.len() > WINDOW {
            let end = self.window.len();
            let cut = (end - WINDOW / 2..=end).find(|at| self.window.is_char_boundary(*at)).unwrap_or(end);
            self.window.drain(..cut);
        }
        (conflict, open)
    }

    /// Nothing of a story happens here; what a camera sees does.
    fn set_in_fiction(&mut self) {
        if self.scene.source == Source::VoiceReply && !self.flags.contains(&FICTION) {
            self.flags.push(FICTION);
        }
    }

    fn infer(&mut self, rule: usize) {
        let Some(rule) = self.engine.index.rule(rule) else { return };
        if self.rule_ids.is_empty() {
            self.pack = rule.pack;
        }
        self.inferred = self.inferred.or_worse(rule.level);
        self.due |= rule.level.is_high();
        if self.rule_ids.len() < NAMED && !self.rule_ids.contains(&rule.id) {
            self.engine.metrics.rule(&rule.id);
            self.rule_ids.push(rule.id.clone());
        }
    }

    /// Follows the way; whether it leads both left and right.
    fn step(&mut self, step: Step) -> bool {
        let Step::Turn(side) = step else {
            self.then = true;
            return false;
        };
        let conflict = self.turned.is_some_and(|before| before != side) && !self.then;
        (self.turned, self.then) = (Some(side), false);
        if conflict && !self.flags.contains(&CONFLICT) {
            self.flags.push(CONFLICT);
            self.inferred = self.inferred.or_worse(Level::P1);
            self.rule_ids.push(CONFLICT_RULE.to_owned());
        }
        conflict
    }

    /// Says what waited, with a warning before it where one is due, as far as there is room.
    fn release(&mut self) -> Vec<String> {
        let mut clauses = std::mem::take(&mut self.held);
        if self.due && !std::mem::replace(&mut self.warned, true) && self.engine.settings.caution {
            if let Some(first) = clauses.first_mut() {
                first.insert_str(0, self.engine.say(self.pack).caution.as_str());
            }
            self.flag(CAUTION);
        }
        let mut spoken = Vec::new();
        for clause in clauses {
            let room = self.engine.settings.max_output_chars.saturating_sub(self.said_chars);
            let fits = within(&clause, room, self.said_chars == 0);
            if let Some(fits) = fits {
                self.say(fits);
                spoken.push(fits.to_owned());
            }
            if fits != Some(clause.as_str()) {
                self.flag(CUT);
                self.over = true;
                break;
            }
        }
        spoken
    }

    fn replace(&mut self, reason: Reason) -> Vec<String> {
        self.held.clear();
        self.over = true;
        self.reason = Some(reason);
        self.engine.metrics.acted(self.scene.source, reason.name());
        let say = self.engine.say(self.pack);
        let message = match reason {
            Reason::Empty => say.empty.clone(),
            Reason::LowConfidence | Reason::Conflict | Reason::Directional => say.stop.at(self.level()).to_owned(),
        };
        self.say(&message);
        vec![message]
    }

    fn flag(&mut self, flag: &'static str) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
            self.engine.metrics.acted(self.scene.source, flag);
        }
    }

    fn say(&mut self, words: &str) {
        if !self.said.is_empty() && !self.said.ends_with(is_wide_or_its_stop) {
            self.said.push(' ');
        }
        self.said.push_str(words);
        self.said_chars += words.chars().count();
    }
}

fn is_wide_or_its_stop(c: char) -> bool {
    is_wide(c) || matches!(c, '。' | '，' | '、' | '；' | '：' | '！' | '？')
}

/// What of a text has room, to the end of a sentence; where nothing has been said yet, to the end of a word at least.
fn within(text: &str, room: usize, first: bool) -> Option<&str> {
    let Some((limit, _)) = text.char_indices().nth(room) else { return Some(text) };
    let head = text.get(..limit)?;
    let ends: Vec<usize> = head.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
    let next_is_space = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(char::is_whitespace));
    let sentence = |at: &&usize| {
        head.get(..**at).is_some_and(|said| {
            ends_sentence(said) && (next_is_space(**at) || said.chars().next_back().is_some_and(is_wide_or_its_stop))
        })
    };
    let whole = ends.iter().rev().find(sentence).and_then(|at| head.get(..*at));
    let word = || {
        let at = ends.iter().rev().find(|at| next_is_space(**at)).copied().unwrap_or(limit);
        head.get(..at).filter(|head| first && !head.is_empty())
    };
    whole.or_else(word)
}

#[cfg(test)]
mod tests;
