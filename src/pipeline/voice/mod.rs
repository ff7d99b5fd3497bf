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
mod settings;
mod speak;
mod think;
mod tools;
mod transcribe;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

pub use absent::Absent;
pub use metrics::Metrics;
pub use phrases::{Phrase, Phrases};
pub use settings::{Settings, Speculate};

use ahead::Ahead;

use crate::audio::Workers;
use crate::domain::{Clock, Photo, Sight, StopReason, Unseen};
use crate::policy::{Policies, Priority, Source};
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
    inner: Arc<Inner>,
}

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
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// How much may be done ahead.
    ahead: Arc<tokio::sync::Semaphore>,
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
    /// For spoken times.
    pub clock: Arc<dyn Clock>,
    /// Its metrics.
    pub metrics: Metrics,
}

impl Voice {
    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        let zone = parts.settings.zone();
        let Parts { providers, workers, settings, opus, phrases, sight, policies, tasks, clock, metrics } = parts;
        let ahead = Arc::new(tokio::sync::Semaphore::new(settings.speculate_at_once as usize));
        let inner =
            Inner { providers, workers, settings, opus, zone, phrases, sight, policies, tasks, clock, metrics, ahead };
        Self { inner: Arc::new(inner) }
    }
}

impl TurnRunner for Voice {
    fn run(&self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()> {
        Box::pin(Arc::clone(&self.inner).whole(turn, None, report))
    }

    fn prepare(&self, turn: Turn) -> Option<Prepared> {
        self.inner.prepare(turn)
    }

    fn is_aside(&self, said: &crate::audio::Utterance, words: Option<&str>) -> bool {
        !self.inner.settings.backchannels.is_empty()
            && (self.inner.too_short(said) || words.is_some_and(|words| self.inner.settings.is_backchannel(words)))
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
        match self.hear_think_speak(turn, ahead, report).await {
            Ok(outcome) => outcome,
            Err(failed) => {
                report.write(|report| report.failed = Some(format!("{}: {}", failed.stage, failed.kind.name())));
                self.metrics.failed(failed.stage, failed.kind);
                turn.voice.error(failed.stage, "something went wrong, please try again");
                self.apologise(turn, report).await;
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
                if let Some(frames) = self.made_ahead(turn, text) {
                    return Ok(self.say_at_once(turn, text, frames, report).await);
                }
                if self.is_untimely(turn, text, (Source::Operator, Priority::Normal), report) {
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
        let phrase = self.phrases.sos();
        let frames = match turn.tts_mode {
            TtsMode::Audio => phrase.frames(),
            TtsMode::DeviceText => Vec::new(),
        };
        self.say_at_once(turn, phrase.text(), frames, report).await
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

    /// What was made ahead of a text, where it is the gateway's own voice that says it.
    fn made_ahead(&self, turn: &Turn, text: &str) -> Option<Vec<Bytes>> {
        let own = turn.persona.voice.is_none() && turn.persona.language.is_none();
        self.phrases.find(text).filter(|_| own && turn.tts_mode == TtsMode::Audio)
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

    /// Says the apology: from memory, without any provider.
    async fn apologise(&self, turn: &Turn, report: &SharedReport) {
        let apology = self.phrases.apology();
        turn.voice.start(apology.text());
        turn.voice.sentence(apology.text());
        let frames = match turn.tts_mode {
            TtsMode::Audio => apology.frames(),
            TtsMode::DeviceText => Vec::new(),
        };
        let sent = self.pace_all(turn, frames, report).await;
        turn.voice.stop(if sent { StopReason::Error } else { StopReason::LinkLost });
    }
}

/// Milliseconds since `then`.
fn since(then: Instant) -> f64 {
    Instant::now().saturating_duration_since(then).as_secs_f64() * 1e3
}
