//! Pools of what answers piece by piece: chat, speech. Until its first piece is here another service can take its place.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use super::race::Won;
use super::ticket::Ticket;
use super::{Inner, Pool, Want, complexity};
use crate::provider::{
    ChatModel, ChatPiece, ChatRequest, ChatStream, PcmChunk, ProviderError, SpeechRequest, SpeechStream, Synthesizer,
};

type Pieces<T> = BoxStream<'static, Result<T, ProviderError>>;

/// An answer that has begun, or that has nothing in it.
struct Opened<T> {
    first: Option<T>,
    rest: Pieces<T>,
}

/// The rest of an answer: what is said of the service depends on its end. Whatever ends it but an error, it has answered.
struct Rest<P: ?Sized, T> {
    pieces: Pieces<T>,
    ticket: Option<Ticket<P>>,
}

impl<P: ?Sized, T> Stream for Rest<P, T> {
    type Item = Result<T, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(ticket) = &mut self.ticket {
            ticket.works();
        }
        let piece = self.pieces.poll_next_unpin(cx);
        match &piece {
            Poll::Ready(Some(Err(error))) => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.failed(error);
                }
            }
            Poll::Ready(Some(Ok(_))) => {
                if let Some(ticket) = &mut self.ticket {
                    ticket.rests();
                }
            }
            Poll::Ready(None) => self.end(),
            Poll::Pending => {}
        }
        piece
    }
}

impl<P: ?Sized, T> Rest<P, T> {
    fn end(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.answered();
        }
    }
}

impl<P: ?Sized, T> Drop for Rest<P, T> {
    fn drop(&mut self) {
        self.end();
    }
}

async fn open<T>(mut rest: Pieces<T>) -> Result<Opened<T>, ProviderError> {
    let first = rest.next().await.transpose()?;
    Ok(Opened { first, rest })
}

impl<P: ?Sized + Send + Sync + 'static> Inner<P> {
    /// Asks until one has a first piece, or nothing to say. `marked` gives the first piece of one that stands in.
    fn stream<T: Send + 'static>(
        self: Arc<Self>,
        want: Want,
        marked: fn(T) -> Vec<T>,
        call: impl Fn(&P, usize) -> Pieces<T> + Send + Sync + 'static,
    ) -> Pieces<T> {
        let first = async move {
            let call = |provider: &Arc<P>, n| -> BoxFuture<'static, _> { Box::pin(open(call(provider, n))) };
            match self.run(want, call).await {
                Ok(Won { answer: Opened { first: Some(piece), rest }, ticket, stood_in }) => {
                    let rest = Rest { pieces: rest, ticket: Some(ticket) };
                    let first = if stood_in { marked(piece) } else { vec![piece] };
                    stream::iter(first.into_iter().map(Ok)).chain(rest).boxed()
                }
                Ok(Won { answer: Opened { first: None, .. }, ticket, .. }) => {
                    ticket.answered();
                    stream::empty().boxed()
                }
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        };
        stream::once(first).flatten().boxed()
    }
}

impl ChatModel for Pool<dyn ChatModel> {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let (urgency, complexity) = (request.urgency, Some(complexity::of(&request)));
        let want = Want { urgency, complexity, begun: false, alone: false };
        let marked = |piece| vec![ChatPiece::StoodIn, piece];
        Arc::clone(&self.inner).stream(want, marked, move |provider, _| provider.chat(request.clone()))
    }
}

impl Synthesizer for Pool<dyn Synthesizer> {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let want = Want { urgency: request.urgency, complexity: None, begun: true, alone: request.alone };
        let marked = |chunk| vec![PcmChunk { stood_in: true, ..chunk }];
        Arc::clone(&self.inner).stream(want, marked, move |provider, n| {
            if n == 0 || request.voice.is_none() {
                return provider.speak(request.clone());
            }
            // a voice is named in the words of the first service: the others have their own, also when it is their turn
            let own = SpeechRequest { voice: None, ..request.clone() };
            provider.speak(own).map_ok(|chunk| PcmChunk { stood_in: true, ..chunk }).boxed()
        })
    }
}
