//! The voice turn: transcribe → think → speak, streaming from step to step.
//!
//! One call of [`Voice::run`] is one turn. It knows neither devices' links nor the store: what it says
//! goes to the turn's voice, what it found out goes to its report. Dropping it is the cancellation.

mod absent;
mod ahead;
mod clauses;
mod emotion;
mod intents;
mod metrics;
mod phrases;
mod remember;
mod said;
mod settings;
mod speak;
mod speakable;
mod think;
mod tools;
mod transcribe;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use absent::Absent;
pub use clauses::Clauses;
pub use metrics::Metrics;
pub use phrases::{Phrase, Phrases, Texts, Words};
pub use said::{Speaker, Warmed};
pub use settings::{Settings, Speculate};

use ahead::Ahead;

use crate::audio::Workers;
use crate::cache::Caches;
use crate::domain::{Clock, Current, Photo, Sight, StopReason, Unseen};
use crate::policy::{Policies, Priority, Source};
use crate::provider::warm::Bell;
use crate::provider::{ChatModel, ErrorKind, ProviderError, Synthesizer, Transcriber};
use crate::session::{Input, Outcome, Prepared, SharedReport, TtsMode, Turn, TurnRunner, stage};
use crate::tasks::Tasks;

/// The providers of a turn.
#[derive(Clone)]
pub struct Providers {
    /// Speech to text.
    pub transcriber: Arc<dyn Transcriber>,
    /// The chat model.
    pub chat: Arc<dyn ChatModel>,
    /// Text to speech.
    pub synthesizer: Arc<dyn Synthesizer>,
}

/// Runs voice turns.
#[derive(Clone)]
pub struct Voice {
    current: Current<Inner>,
}

#[derive(Clone)]
struct Inner {
    providers: Providers,
    workers: Workers,
    settings: Settings,
    opus: crate::audio::OpusSettings,
    zone: jiff::tz::TimeZone,
    phrases: Arc<Phrases>,
    sight: Arc<dyn Sight>,
    policies: Policies,
    tasks: Option<Arc<Tasks>>,
    caches: Arc<Caches>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
    bell: Bell,
    metrics: Metrics,
    /// How much may be done ahead.
    ahead: Arc<Semaphore>,
}

/// A stage that failed, for the report: never a provider's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    stage: &'static str,
    kind: ErrorKind,
}

impl Failed {
    fn at(stage: &'static str, device: &crate::domain::DeviceId, error: &ProviderError) -> Self {
        tracing::warn!(%device, stage, kind = error.kind.name(), error = %error, "a stage of a turn failed");
        Self { stage, kind: error.kind }
    }
}

/// What `Voice` is made of.
pub struct Parts {
    /// The providers.
    pub providers: Providers,
    /// The codec threads.
    pub workers: Workers,
    /// `[voice.reply]`.
    pub settings: Settings,
    /// `[voice.opus]`.
    pub opus: crate::audio::OpusSettings,
    /// What is made ahead.
    pub phrases: Arc<Phrases>,
    /// Who looks at photos.
    pub sight: Arc<dyn Sight>,
    /// What may be said, and when.
    pub policies: Policies,
    /// Who takes what is to be done in the background; none where nobody does.
    pub tasks: Option<Arc<Tasks>>,
    /// What need not be asked twice.
    pub caches: Arc<Caches>,
    /// For spoken times.
    pub clock: Arc<dyn Clock>,
    /// For coins and dice.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// Rung when a turn may follow, for its services to be connected to.
    pub bell: Bell,
    /// Its metrics.
    pub metrics: Metrics,
}

/// What may be other from the next turn on.
pub struct Renewed {
    /// The providers.
    pub providers: Providers,
    /// `[voice.reply]`.
    pub settings: Settings,
    /// What is made ahead.
    pub phrases: Arc<Phrases>,
    /// Rung when a turn may follow, for its services to be connected to.
    pub bell: Bell,
}

impl Voice {
    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        let zone = parts.settings.zone();
        let Parts {
            providers,
            workers,
            settings,
            opus,
            phrases,
            sight,
            policies,
            tasks,
            caches,
            clock,
            random,
            bell,
            metrics,
        } = parts;
        let ahead = Arc::new(Semaphore::new(settings.speculate_at_once as usize));
        let inner = Inner {
            providers,
            workers,
            settings,
            opus,
            zone,
            phrases,
            sight,
            policies,
            tasks,
            caches,
            clock,
            random,
            bell,
            metrics,
            ahead,
        };
        Self { current: Current::new(Arc::new(inner)) }
    }

    /// What turns are made of from the next one on; those that run go on with what they began with.
    pub fn renew(&self, renewed: Renewed) {
        let Renewed { providers, settings, phrases, bell } = renewed;
        let (zone, ahead) = (settings.zone(), Arc::new(Semaphore::new(settings.speculate_at_once as usize)));
        let next = Inner { providers, settings, zone, phrases, bell, ahead, ..Inner::clone(&self.current.now()) };
        self.current.replace(Arc::new(next));
    }
}

impl TurnRunner for Voice {
    fn run(&self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()> {
        Box::pin(self.current.now().whole(turn, None, report))
    }

    fn prepare(&self, turn: Turn) -> Option<Prepared> {
        self.current.now().prepare(turn)
    }

    fn expect(&self) {
        self.current.now().bell.ring();
    }

    fn is_aside(&self, said: &crate::audio::Utterance, words: Option<&str>) -> bool {
        let inner = self.current.now();
        !inner.settings.backchannels.is_empty()
            && (inner.too_short(said) || words.is_some_and(|words| inner.settings.is_backchannel(words)))
    }
}

impl Inner {
    /// One turn, with what was done ahead of it.
    async fn whole(self: Arc<Self>, turn: Turn, ahead: Option<Ahead>, report: SharedReport) {
        let outcome = self.turn(&turn, ahead, &report).await;
        let total = since(turn.decided);
        report.write(|report| {
            report.outcome = outcome;
            report.stages_ms.insert(stage::TOTAL.to_owned(), total);
        });
    }

    async fn turn(&self, turn: &Turn, ahead: Option<Ahead>, report: &SharedReport) -> Outcome {
        self.phrases.want(self.language(turn).as_deref());
        match self.hear_think_speak(turn, ahead, report).await {
            Ok(outcome) => outcome,
            Err(failed) => {
                report.write(|report| report.failed = Some(format!("{}: {}", failed.stage, failed.kind.name())));
                self.metrics.failed(failed.stage, failed.kind);
                let busy = failed.kind == ErrorKind::Busy;
                let what = if busy { "too many talk at once" } else { "something went wrong" };
                turn.voice.error(failed.stage, &format!("{what}, please try again"));
                self.apologise(turn, busy, report).await;
                Outcome::Failed
            }
        }
    }

    async fn hear_think_speak(
        &self,
        turn: &Turn,
        ahead: Option<Ahead>,
        report: &SharedReport,
    ) -> Result<Outcome, Failed> {
        let (words, asked) = match &turn.input {
            Input::Sos => return Ok(self.say_that_help_was_called(turn, report).await),
            Input::Say(text) => {
                let own = self.phrases.own(text, self.language(turn).as_deref());
                if let Some((text, frames)) = own.and_then(|phrase| made_ahead(turn, phrase)) {
                    return Ok(self.say_at_once(turn, text, frames, report).await);
                }
                let text = own.map_or(text.as_str(), Phrase::text);
                if own.is_none() && self.is_untimely(turn, text, (Source::Operator, Priority::Normal), report) {
                    return Ok(Outcome::Silenced);
                }
                return self.speak(turn, think::exactly(text), self.word_for_word(turn), report).await;
            }
            Input::Task { text, low } => {
                let priority = if *low { Priority::Low } else { Priority::Normal };
                if self.is_untimely(turn, text, (Source::TaskUpdate, priority), report) {
                    return Ok(Outcome::Silenced);
                }
                return self.speak(turn, think::exactly(text), self.word_of_task(turn), report).await;
            }
            Input::Text(text) => (text.clone(), None),
            Input::Speech(utterance) => {
                let Some(words) = self.transcribe(turn, utterance, ahead, report).await? else {
                    return Ok(Outcome::Empty);
                };
                words
            }
            Input::Photo(photo) => {
                // it was judged as an answer about a photo already
                let answer = self.look(turn, photo, report).await;
                return self.speak(turn, think::exactly(&answer), self.word_for_word(turn), report).await;
            }
        };
        let pieces = self.think(turn, &words, asked, report);
        self.speak(turn, pieces, self.answer_to(turn, words), report).await
    }

    /// Says that a call for help was heard: in the gateway's own voice whoever speaks on the device, from memory.
    async fn say_that_help_was_called(&self, turn: &Turn, report: &SharedReport) -> Outcome {
        let (text, frames) = self.phrases.help(self.language(turn).as_deref());
        let frames = if turn.tts_mode == TtsMode::Audio { frames } else { Vec::new() };
        self.say_at_once(turn, text, frames, report).await
    }

    /// What is to be said about a photo: also when nobody could look at it.
    async fn look(&self, turn: &Turn, photo: &Photo, report: &SharedReport) -> String {
        report.write(|report| report.transcript.clone_from(&photo.question));
        let photo = Photo { turn: Some(turn.id), ..photo.clone() };
        let until = Instant::now() + self.settings.look_timeout.0;
        match self.sight.answer(photo, until).await {
            Ok(text) => text,
            Err(Unseen(text)) => text.to_owned(),
        }
    }

    /// The language that is spoken on a device.
    fn language(&self, turn: &Turn) -> Option<String> {
        let own = turn.persona.language.as_ref();
        Some(own.unwrap_or(&self.settings.language).clone()).filter(|language| !language.is_empty())
    }

    /// Says what was made ahead: no provider is asked.
    async fn say_at_once(&self, turn: &Turn, text: &str, frames: Vec<Bytes>, report: &SharedReport) -> Outcome {
        report.write(|report| {
            text.clone_into(&mut report.reply);
            report.local = true;
        });
        turn.voice.reply(text);
        turn.voice.start(text);
        turn.voice.sentence(text);
        let sent = self.pace_all(turn, frames, report).await;
        turn.voice.stop(if sent { StopReason::Done } else { StopReason::LinkLost });
        if sent { Outcome::Answered } else { Outcome::LinkLost }
    }

    /// Says the apology, or that everybody is busy: from memory, without any provider.
    async fn apologise(&self, turn: &Turn, busy: bool, report: &SharedReport) {
        let (language, audio) = (self.language(turn), turn.tts_mode == TtsMode::Audio);
        let busy = self.phrases.busy(language.as_deref()).filter(|(_, frames)| busy && !(audio && frames.is_empty()));
        let (text, frames) = busy.unwrap_or_else(|| self.phrases.apology(language.as_deref()));
        turn.voice.start(text);
        turn.voice.sentence(text);
        let frames = if audio { frames } else { Vec::new() };
        let sent = self.pace_all(turn, frames, report).await;
        turn.voice.stop(if sent { StopReason::Error } else { StopReason::LinkLost });
    }
}

/// What was made ahead of a phrase, where it is the usual voice that says it.
fn made_ahead<'a>(turn: &Turn, phrase: &'a Phrase) -> Option<(&'a str, Vec<Bytes>)> {
    let usual = turn.persona.voice.is_none() && turn.tts_mode == TtsMode::Audio;
    Some((phrase.text(), phrase.frames())).filter(|(_, frames)| usual && !frames.is_empty())
}

/// Milliseconds since `then`.
fn since(then: Instant) -> f64 {
    Instant::now().saturating_duration_since(then).as_secs_f64() * 1e3
}
