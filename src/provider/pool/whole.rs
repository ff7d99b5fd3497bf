//! Pools of what answers in one piece: speech to text, embeddings.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Asked, Inner, Pool};
use crate::provider::{Embedder, ProviderError, Transcriber, Transcript, Utterance};

impl<P: ?Sized> Inner<P> {
    async fn ask<T, F>(&self, call: impl Fn(Arc<P>) -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let (mut asked, mut last) = (Asked::default(), None);
        while let Some((n, leave)) = self.next(&mut asked) {
            let begun = self.clock.mono();
            match call(Arc::clone(&self.routes[n].provider)).await {
                Ok(answer) => {
                    self.heard(n, begun);
                    self.answered(n, leave);
                    return Ok(answer);
                }
                Err(error) => {
                    self.failed(n, leave, &error);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }
}

#[async_trait]
impl Transcriber for Pool<dyn Transcriber> {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let call = |provider: Arc<dyn Transcriber>| {
            let utterance = utterance.clone();
            async move { provider.transcribe(utterance).await }
        };
        self.inner.ask(call).await
    }
}

#[async_trait]
impl Embedder for Pool<dyn Embedder> {
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ProviderError> {
        let call = |provider: Arc<dyn Embedder>| {
            let texts = texts.clone();
            async move { provider.embed(texts).await }
        };
        self.inner.ask(call).await
    }
}
