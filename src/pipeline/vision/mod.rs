//! Questions about photos: each photo is kept, shown to a model that sees, and written down with what came of it.
//!
//! It knows neither the door that took the photo nor the session whose turn waits for the answer. Keeping and asking go
//! side by side, so that the disk holds no answer up; the entry is committed before the answer is given.

mod metrics;
mod seen;
mod settings;

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use settings::Settings;

use super::images::described;
use crate::domain::{Audit, Bulletins, Clock, Event, EventKind, Photo, Profile, Sight, Unseen, dialect};
use crate::lifelog::{Kind, Lifelog};
use crate::policy::{Moment, Policies, Scene, Source, Verdict};
use crate::provider::{ChatMessage, ChatModel, ChatPiece, ChatRequest, ErrorKind, Picture, ProviderError, Role};
use crate::session::Stored;
use crate::store::records::devices;
use crate::store::{Batch, Store, StoreError};
use seen::Seen;

/// Longest answer, in bytes: the device has to carry it back in one message.
const ANSWER: usize = 4 << 10;

/// What it is made of.
pub struct Parts {
    /// The model that sees, where one is configured.
    pub model: Option<Arc<dyn ChatModel>>,
    /// `[vision]`.
    pub settings: Settings,
    /// What may be said of them.
    pub policies: Policies,
    /// Where photos and entries go.
    pub lifelog: Arc<Lifelog>,
    /// Where entries are committed.
    pub store: Arc<dyn Store>,
    /// What operators watch.
    pub bulletins: Arc<dyn Bulletins>,
    /// Time for records.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
}

/// Answers questions about photos.
#[derive(Clone)]
pub struct Vision {
    parts: Arc<Parts>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The photo is larger than what is sent to a service.
    TooLarge,
    /// The service said nothing.
    Silent,
    /// Nobody waits for the answer any more.
    Cancelled,
    /// The service failed, or there is none.
    Failed(ErrorKind),
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Cause::TooLarge => "too_large",
            Cause::Silent => "silent",
            Cause::Cancelled => "cancelled",
            Cause::Failed(kind) => kind.name(),
        }
    }

    /// For the person who asked; a provider's own words are for the log.
    fn words(self) -> Unseen {
        Unseen(match self {
            Cause::TooLarge => "The picture is too large to be looked at.",
            Cause::Failed(ErrorKind::NotConfigured) => {
                "The picture was taken, but no service is set up here that can look at pictures."
            }
            Cause::Failed(ErrorKind::Timeout) => "Looking at the picture took too long.",
            Cause::Silent => "Nothing could be said about the picture.",
            Cause::Cancelled | Cause::Failed(_) => "The picture could not be looked at just now.",
        })
    }
}

impl Vision {
    /// One of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    async fn ask(&self, photo: &Photo, until: Instant, cancelled: &CancellationToken) -> Result<String, Cause> {
        let Some(model) = &self.parts.model else { return Err(Cause::Failed(ErrorKind::NotConfigured)) };
        let settings = &self.parts.settings;
        if photo.image.len() > settings.largest.len() {
            return Err(Cause::TooLarge);
        }
        let picture = Picture { mime: photo.mime, bytes: photo.image.clone() };
        let request = ChatRequest {
            messages: vec![
                ChatMessage::new(Role::System, settings.prompt.clone()),
                ChatMessage::showing(photo.question.clone(), picture),
            ],
            max_tokens: Some(settings.max_tokens),
            ..ChatRequest::default()
        };
        let begun = Instant::now();
        let answer = tokio::select! {
            () = cancelled.cancelled() => return Err(Cause::Cancelled),
            answer = timeout_at(until, answer(&**model, request)) => answer,
        };
        let too_late = |_| ProviderError::new(ErrorKind::Timeout, "vision", "no whole answer in time");
        let answer = answer.map_err(too_late).and_then(|answer| answer).map_err(|error| {
            tracing::warn!(device = %photo.device, kind = error.kind.name(), %error, "a photo could not be looked at");
            Cause::Failed(error.kind)
        })?;
        self.parts.metrics.answered(begun.elapsed().as_secs_f64());
        if answer.is_empty() { Err(Cause::Silent) } else { Ok(answer) }
    }

    async fn keep(&self, photo: &Photo) -> Option<Stored> {
        let at = self.parts.clock.wall();
        let stored = self.parts.lifelog.store_image(&photo.device, at, photo.image.clone()).await;
        let failed = |error| self.unkept(photo, &error);
        stored.map_err(failed).ok().map(|image| described(None, image))
    }

    fn unkept(&self, photo: &Photo, error: &dyn std::fmt::Display) {
        self.parts.metrics.unkept.inc();
        tracing::error!(device = %photo.device, %error, "a photo could not be kept");
    }

    /// What of an answer may be told, and what the policies did to it.
    async fn judge(&self, photo: &Photo, answer: String, speaks: &str) -> (String, Vec<Audit>) {
        let device = devices::get(&*self.parts.store, &photo.device).await.unwrap_or_else(|error| {
            tracing::error!(device = %photo.device, %error, "the device's settings cannot be read");
            None
        });
        let settings = device.map(|device| device.settings).unwrap_or_default();
        let speaks = settings.dialect.as_deref().unwrap_or(speaks);
        let profile = self.parts.policies.profile_of(settings.watching.profile, speaks);
        let Seen { text, level, confidence } = Seen::read(answer);
        let scene = Scene {
            source: Source::VisionReply,
            profile,
            language: settings.persona.language.clone(),
            question: photo.question.clone(),
            given: level,
            confidence,
            context: None,
        };
        let decision = self.parts.policies.judge(scene, &text);
        let mut audits: Vec<Audit> = decision.stepped_in().then(|| decision.audit()).into_iter().collect();
        let moment = Moment {
            source: Source::VisionReply,
            asked: true,
            level: decision.level,
            downgraded: decision.downgraded,
            hints: profile == Profile::Cane,
            language: settings.persona.language.as_deref(),
            now: self.parts.clock.wall(),
            ..Moment::default()
        };
        let verdict = self.parts.policies.interact(&moment);
        audits.extend(verdict.audit(&moment, &decision.text));
        let text = match verdict {
            Verdict::Speak { hint: Some(hint) } => format!("{} {hint}", decision.text),
            Verdict::Speak { hint: None } | Verdict::Silent(_) => decision.text,
        };
        (text, audits)
    }

    async fn write_down(&self, photo: &Photo, kept: &Stored, answer: &Result<String, Cause>) {
        let mut body = kept.body();
        body["question"] = photo.question.as_str().into();
        match answer {
            Ok(answer) => body["answer"] = answer.as_str().into(),
            Err(cause) => body["unanswered"] = cause.name().into(),
        }
        if let Some(turn) = photo.turn {
            body["turn_id"] = turn.0.into();
        }
        let mut detail = body.clone();
        detail["session_id"] = json!(photo.session);
        let event =
            Event { device: Some(photo.device.clone()), at: self.parts.clock.wall(), kind: EventKind::Image, detail };
        self.parts.bulletins.event(event);
        if let Err(error) = self.commit(photo, [(Kind::Image, body)]).await {
            self.unkept(photo, &error);
        }
    }

    async fn commit(
        &self,
        photo: &Photo,
        entries: impl IntoIterator<Item = (Kind, serde_json::Value)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (kind, body) in entries {
            self.parts.lifelog.append(&mut batch, &photo.device, photo.session.as_ref(), kind, body)?;
        }
        self.parts.store.commit(batch).await.map(drop)
    }

    /// That the policies stepped in is written down whether the photo could be kept or not.
    async fn audit(&self, photo: &Photo, audits: Vec<Audit>) {
        if audits.is_empty() {
            return;
        }
        let entries = audits.into_iter().map(|Audit { policy, mut body }| {
            body["turn_id"] = json!(photo.turn.map(|turn| turn.0));
            (policy.into(), body)
        });
        if let Err(error) = self.commit(photo, entries).await {
            tracing::error!(device = %photo.device, %error, "what a policy did is not written down");
        }
    }
}

/// The words of an answer, bounded.
async fn answer(model: &dyn ChatModel, request: ChatRequest) -> Result<String, ProviderError> {
    let (mut pieces, mut said) = (model.chat(request), String::new());
    while let Some(piece) = pieces.next().await {
        if let ChatPiece::Text(text) = piece? {
            said.push_str(&text);
        }
        if said.len() > ANSWER {
            let end = (0..=ANSWER).rev().find(|at| said.is_char_boundary(*at)).unwrap_or(0);
            said.truncate(end);
            break;
        }
    }
    Ok(said.trim().to_owned())
}

impl Sight for Vision {
    fn look(
        &self,
        photo: Photo,
        until: Instant,
        cancelled: CancellationToken,
    ) -> BoxFuture<'static, Result<String, Unseen>> {
        let vision = self.clone();
        Box::pin(async move {
            let (kept, answer) = tokio::join!(vision.keep(&photo), vision.ask(&photo, until, &cancelled));
            let result = answer.as_ref().map_or_else(|cause| cause.name(), |_| "answered");
            vision.parts.metrics.question(result);
            tracing::info!(device = %photo.device, bytes = photo.image.len(), result, "a photo was asked about");
            let (answer, audits) = match answer {
                Ok(answer) => {
                    // at that door they come from boards, unless an operator says what the device is
                    let (answer, audits) = vision.judge(&photo, answer, dialect::XIAOZHI).await;
                    (Ok(answer), audits)
                }
                Err(cause) => (Err(cause), Vec::new()),
            };
            if let Some(kept) = kept {
                vision.write_down(&photo, &kept, &answer).await;
            }
            vision.audit(&photo, audits).await;
            answer.map_err(Cause::words)
        })
    }

    fn answer(&self, photo: Photo, until: Instant) -> BoxFuture<'static, Result<String, Unseen>> {
        let vision = self.clone();
        Box::pin(async move {
            // whoever waits drops this when he does so no longer
            let answer = vision.ask(&photo, until, &CancellationToken::new()).await;
            let result = answer.as_ref().map_or_else(|cause| cause.name(), |_| "answered");
            vision.parts.metrics.question(result);
            tracing::info!(device = %photo.device, bytes = photo.image.len(), result, "a photo was asked about");
            let answer = match answer {
                Ok(answer) => {
                    // in a session only canes send them
                    let (answer, audits) = vision.judge(&photo, answer, dialect::OPENCANE).await;
                    vision.audit(&photo, audits).await;
                    Ok(answer)
                }
                Err(cause) => Err(cause),
            };
            answer.map_err(Cause::words)
        })
    }
}
