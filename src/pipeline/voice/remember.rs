//! Answers from memory, and the keeping of those that may be given again.
//!
//! Only the first question of a conversation is looked for: what was said before may change what is meant. An answer from
//! memory goes the way of any other, through the policies, into history and lifelog.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream, Stream, StreamExt};

use super::Inner;
use super::think::{Pieces, exactly};
use crate::cache::Caches;
use crate::cache::chat::{Ask, Asked};
use crate::domain::Level;
use crate::policy::Policies;
use crate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, ProviderError};
use crate::session::{SharedReport, Turn};

impl Inner {
    /// The answer from memory where it is known, else that of `ask`, which gets the model that is to be asked, and what has to
    /// watch over an answer that was asked for already.
    pub(super) fn remembered(
        &self,
        turn: &Turn,
        words: &str,
        report: &SharedReport,
        ask: impl FnOnce(Arc<dyn ChatModel>, Watch) -> Pieces + Send + 'static,
    ) -> Pieces {
        let chat = Arc::clone(&self.providers.chat);
        let Some(mut question) = self.question(turn, words) else { return ask(chat, Watch::default()) };
        let watch = Watch::default();
        let called = Arc::clone(&watch.called);
        let chat = Arc::new(Watched { chat, watch: watch.clone() });
        let asked = Arc::new(Mutex::new(None));
        let (slot, caches, noted) = (Arc::clone(&asked), Arc::clone(&self.caches), report.clone());
        let answer = async move {
            if let Some((answer, how)) = caches.chat.find(&mut question).await {
                noted.write(|report| report.cached = Some(how.name().to_owned()));
                return exactly(&answer);
            }
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(question);
            ask(chat, watch)
        };
        let scribe = Scribe {
            pieces: stream::once(answer).flatten().boxed(),
            words: String::new(),
            done: false,
            spoiled: false,
            called,
            asked,
            caches: Arc::clone(&self.caches),
            policies: self.policies.clone(),
            report: report.clone(),
        };
        scribe.boxed()
    }

    /// The answer to these words is in memory: the turn will find it there, and no model need be asked ahead of it.
    pub(super) async fn is_known(&self, turn: &Turn, words: &str) -> bool {
        match self.question(turn, words) {
            Some(mut question) => self.caches.chat.knows(&mut question).await,
            None => false,
        }
    }

    fn question(&self, turn: &Turn, words: &str) -> Option<Ask> {
        let service = self.providers.chat.identity()?;
        if !turn.history.is_empty() {
            return None;
        }
        let tools: Vec<&str> =
            turn.tools.iter().flat_map(crate::session::Tools::offered).map(|tool| &*tool.name).collect();
        let prompt = turn.persona.prompt.as_deref().unwrap_or(&self.settings.system_prompt);
        let language = self.language(turn);
        self.caches.chat.ask(&Asked {
            service,
            prompt,
            language: language.as_deref(),
            max_tokens: Some(self.settings.max_tokens),
            temperature: Some(self.settings.temperature),
            tools: &tools,
            words,
        })
    }
}

/// A chat model of which is noted whether it called a tool.
struct Watched {
    chat: Arc<dyn ChatModel>,
    watch: Watch,
}

/// Notes whether a tool was called.
#[derive(Clone, Default)]
pub(super) struct Watch {
    called: Arc<AtomicBool>,
}

impl Watch {
    /// The same answer, looked at as it comes.
    pub(super) fn over(self, answer: ChatStream) -> ChatStream {
        let note = move |piece: &Result<ChatPiece, ProviderError>| {
            if matches!(piece, Ok(ChatPiece::Call(_))) {
                self.called.store(true, Ordering::Relaxed);
            }
        };
        answer.inspect(note).boxed()
    }
}

impl ChatModel for Watched {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.watch.clone().over(self.chat.chat(request))
    }
}

/// Writes down what the model says. The answer is kept when this is dropped, which is when the last clause has been
/// through the policies: what they did is in the report by then.
struct Scribe {
    pieces: BoxStream<'static, Result<ChatPiece, ProviderError>>,
    words: String,
    /// The model came to its end.
    done: bool,
    /// It failed, was cut off, or is another model's than the one that the question names.
    spoiled: bool,
    called: Arc<AtomicBool>,
    /// The question, once it is known that it has no answer yet.
    asked: Arc<Mutex<Option<Ask>>>,
    caches: Arc<Caches>,
    policies: Policies,
    report: SharedReport,
}

impl Stream for Scribe {
    type Item = Result<ChatPiece, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.pieces.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(Ok(ChatPiece::Text(text)))) => self.words.push_str(text),
            Poll::Ready(Some(_)) => self.spoiled = true,
            Poll::Ready(None) => self.done = true,
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        let whole = self.done && !self.spoiled && !self.called.load(Ordering::Relaxed);
        let report = self.report.read();
        let untouched = report.audits.is_empty() && report.safety.is_none() && report.failed.is_none();
        // what is grave is thought about each time
        let mild =
            || [&self.words, &report.transcript].iter().all(|text| self.policies.level_of(text) == Level::default());
        if whole
            && untouched
            && mild()
            && let Some(question) = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            self.caches.chat.keep(question, &self.words);
        }
    }
}
