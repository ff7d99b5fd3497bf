//! Pools of what answers piece by piece: chat, speech. Until its first piece is here another service can take its place.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::breaker::Leave;
use super::{Asked, Inner, Pool};
use crate::provider::{ChatModel, ChatRequest, ChatStream, ProviderError, SpeechRequest, SpeechStream, Synthesizer};

type Pieces<T> = BoxStream<'static, Result<T, ProviderError>>;

/// A service that speaks. Whatever ends it but an error, it has answered.
struct Speaking<P: ?Sized + Send + Sync + 'static> {
    inner: Arc<Inner<P>>,
    n: usize,
    leave: Option<Leave>,
}

impl<P: ?Sized + Send + Sync> Speaking<P> {
    fn failed(&mut self, error: &ProviderError) {
        if let Some(leave) = self.leave.take() {
            self.inner.failed(self.n, leave, error);
        }
    }
}

impl<P: ?Sized + Send + Sync> Drop for Speaking<P> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.inner.answered(self.n, leave);
        }
    }
}

impl<P: ?Sized + Send + Sync + 'static> Inner<P> {
    /// Asks one after the other until one has a first piece, or nothing to say.
    fn stream<T: Send + 'static>(
        self: Arc<Self>,
        open: impl Fn(&P, usize) -> Pieces<T> + Send + Sync + 'static,
    ) -> Pieces<T> {
        stream::once(async move { self.first(open).await }).flatten().boxed()
    }

    async fn first<T: Send + 'static>(
        self: Arc<Self>,
        open: impl Fn(&P, usize) -> Pieces<T> + Send + Sync + 'static,
    ) -> Pieces<T> {
        let (mut asked, mut last) = (Asked::default(), None);
        while let Some((n, leave)) = self.next(&mut asked) {
            let begun = self.clock.mono();
            let mut pieces = open(&self.routes[n].provider, n);
            match pieces.next().await {
                Some(Err(error)) => {
                    self.failed(n, leave, &error);
                    last = Some(error);
                }
                Some(Ok(piece)) => {
                    self.heard(n, begun);
                    let speaking = Speaking { inner: Arc::clone(&self), n, leave: Some(leave) };
                    return stream::once(async { Ok(piece) }).chain(watched(pieces, speaking)).boxed();
                }
                None => {
                    self.answered(n, leave);
                    return stream::empty().boxed();
                }
            }
        }
        let error = last.unwrap_or_else(|| self.nobody());
        stream::once(async { Err(error) }).boxed()
    }
}

/// The rest of an answer: what is said of the service depends on its end.
fn watched<P: ?Sized + Send + Sync + 'static, T: Send + 'static>(
    pieces: Pieces<T>,
    mut speaking: Speaking<P>,
) -> impl futures::Stream<Item = Result<T, ProviderError>> + Send {
    pieces.inspect(move |piece| {
        if let Err(error) = piece {
            speaking.failed(error);
        }
    })
}

impl ChatModel for Pool<dyn ChatModel> {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        Arc::clone(&self.inner).stream(move |provider, _| provider.chat(request.clone()))
    }
}

impl Synthesizer for Pool<dyn Synthesizer> {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        Arc::clone(&self.inner).stream(move |provider, n| {
            // a voice is named in the words of the first service: the others have their own
            let voice = request.voice.clone().filter(|_| n == 0);
            provider.speak(SpeechRequest { voice, ..request.clone() })
        })
    }
}
