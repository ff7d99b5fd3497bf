//! What is done at a pause in which the turn may be over, before that is decided: the transcript, and the answer of the
//! chat model, as far as that has no effect.
//!
//! Nothing is said, no tool is called, no task begun before the turn is there to take it over. It takes the words
//! over when it is the same speech, and the answer when it would ask the very same thing.

use std::sync::Arc;

use futures::future::{BoxFuture, Fuse, poll_fn};
use futures::stream;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::metrics::ahead::{BUSY, DROPPED, KNOWN, STARTED, USED};
use super::transcribe::Transcribed;
use super::{Failed, Inner, Metrics, Speculate};
use crate::provider::{ChatPiece, ChatRequest, ChatStream, ProviderError};
use crate::session::{FirstWords, Input, Prepared, Turn};

/// Pieces of an answer that are held; then the model waits.
const HELD: usize = 64;

type Piece = Result<ChatPiece, ProviderError>;
type Work = Fuse<BoxFuture<'static, ()>>;

type Words = Result<Transcribed, Failed>;

/// Counts what something done ahead was good for.
struct Wager {
    metrics: Metrics,
    stage: &'static str,
    used: bool,
}

impl Wager {
    fn on(metrics: &Metrics, stage: &'static str) -> Self {
        metrics.done_ahead(stage, STARTED);
        Self { metrics: metrics.clone(), stage, used: false }
    }

    fn won(mut self) {
        self.used = true;
    }
}

impl Drop for Wager {
    fn drop(&mut self) {
        self.metrics.done_ahead(self.stage, if self.used { USED } else { DROPPED });
    }
}

/// An answer of the chat model that is held.
pub(super) struct Held {
    request: ChatRequest,
    pieces: mpsc::Receiver<Piece>,
    wager: Wager,
}

/// An answer that was asked for ahead, and the work that goes on with it.
pub(super) struct Asked {
    held: Held,
    work: Work,
}

impl Asked {
    /// It is the answer to this.
    pub(super) fn is_to(&self, request: &ChatRequest) -> bool {
        self.held.request == *request
    }

    /// The answer so far and what follows; none when it has failed already: then the turn asks again.
    pub(super) fn answer(self) -> Option<ChatStream> {
        let Self { held: Held { mut pieces, wager, .. }, mut work, .. } = self;
        let first = match pieces.try_recv() {
            Ok(Ok(piece)) => Some(Ok(piece)),
            Err(TryRecvError::Empty) => None,
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => return None,
        };
        wager.won();
        let rest = stream::poll_fn(move |cx| {
            // the work is what fills the channel: it ends when the answer does
            let _ = work.poll_unpin(cx);
            pieces.poll_recv(cx)
        });
        Some(stream::iter(first).chain(rest).boxed())
    }
}

/// What a turn finds when it takes over.
pub(super) struct Ahead {
    work: Work,
    words: oneshot::Receiver<Words>,
    held: oneshot::Receiver<Held>,
    language: Option<String>,
    wager: Wager,
}

impl Ahead {
    /// The words, waited for where they are still being looked for, and the answer to them where it was asked for. None
    /// when they were looked for in another way, or that has failed already: then the turn does it itself.
    pub(super) async fn words(mut self, language: Option<&String>) -> Option<(Words, Option<Asked>)> {
        // what was not asked by now the turn asks, with all that it knows
        let held = self.held.try_recv().ok();
        self.held.close();
        if self.language.as_ref() != language {
            return None;
        }
        let words = match self.words.try_recv() {
            Ok(Ok(words)) => Ok(words),
            Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) => {
                let (work, words) = (&mut self.work, &mut self.words);
                poll_fn(|cx| {
                    let _ = work.poll_unpin(cx);
                    words.poll_unpin(cx)
                })
                .await
                .ok()?
            }
        };
        self.wager.won();
        let work = self.work;
        let asked = held.map(|held| Asked { held, work });
        Some((words, asked))
    }
}

impl Inner {
    /// Begins what can be done ahead of a turn.
    pub(super) fn prepare(self: &Arc<Self>, turn: Turn) -> Option<Prepared> {
        let Input::Speech(utterance) = &turn.input else { return None };
        if self.settings.speculate == Speculate::Off || self.too_short(utterance) {
            return None;
        }
        let Ok(permit) = Arc::clone(&self.ahead).try_acquire_owned() else {
            self.metrics.done_ahead("transcribe", BUSY);
            return None;
        };
        let wager = Wager::on(&self.metrics, "transcribe");
        let language = self.language(&turn);
        let (words_tx, words) = oneshot::channel();
        let (held_tx, held) = oneshot::channel();
        let first = FirstWords::default();
        let work = Arc::clone(self).work_ahead(turn, Arc::clone(&first), words_tx, held_tx).boxed();
        let inner = Arc::clone(self);
        let take_over = move |work, turn, report| {
            drop::<OwnedSemaphorePermit>(permit);
            inner.whole(turn, Some(Ahead { work, words, held, language, wager }), report).boxed()
        };
        Some(Prepared::new(work, first, Box::new(take_over)))
    }

    async fn work_ahead(
        self: Arc<Self>,
        turn: Turn,
        first: FirstWords,
        words_tx: oneshot::Sender<Words>,
        held: oneshot::Sender<Held>,
    ) {
        let Input::Speech(utterance) = &turn.input else { return };
        let words = self.words_of(&turn, utterance).await;
        let text = words.as_ref().ok().map(|words| words.text.clone());
        // nobody else writes it
        let _ = first.set(text.clone());
        if words_tx.send(words).is_err() || self.settings.speculate < Speculate::Chat || held.is_closed() {
            return;
        }
        let Some(text) = text.filter(|text| text.chars().any(char::is_alphanumeric)) else { return };
        if self.without_a_model(&turn, &text).is_some() {
            return;
        }
        if self.is_known(&turn, &text).await {
            self.metrics.done_ahead("chat", KNOWN);
            return;
        }
        let request = self.request(&turn, &text);
        let wager = Wager::on(&self.metrics, "chat");
        let mut answer = self.providers.chat.chat(request.clone());
        let (hold, pieces) = mpsc::channel(HELD);
        if held.send(Held { request, pieces, wager }).is_err() {
            return;
        }
        while let Some(piece) = answer.next().await {
            if hold.send(piece).await.is_err() {
                return;
            }
        }
    }
}
