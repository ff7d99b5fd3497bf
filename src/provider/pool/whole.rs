//! Pools of what answers in one piece: speech to text, embeddings.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::race::Won;
use super::{Inner, Pool, Want};
use crate::provider::{Embedder, ProviderError, Transcriber, Transcript, Urgency, Utterance};

impl<P: ?Sized + Send + Sync + 'static> Inner<P> {
    /// The answer, and whether it is that of one that stands in.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        urgency: Urgency,
        call: impl Fn(&Arc<P>, usize) -> BoxFuture<'static, Result<T, ProviderError>> + Send + Sync,
    ) -> Result<(T, bool), ProviderError> {
        let want = Want { urgency, complexity: None, begun: false, alone: false };
        let Won { answer, ticket, stood_in } = self.run(want, call).await?;
        ticket.answered();
        Ok((answer, stood_in))
    }
}

#[async_trait]
impl Transcriber for Pool<dyn Transcriber> {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let call = |provider: &Arc<dyn Transcriber>, _| -> BoxFuture<'static, _> {
            let (provider, utterance) = (Arc::clone(provider), utterance.clone());
            Box::pin(async move { provider.transcribe(utterance).await })
        };
        let (transcript, stood_in) = self.inner.ask(utterance.urgency, call).await?;
        Ok(Transcript { stood_in, ..transcript })
    }
}

#[async_trait]
impl Embedder for Pool<dyn Embedder> {
    async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Result<Vec<Vec<f32>>, ProviderError> {
        let call = |provider: &Arc<dyn Embedder>, _| -> BoxFuture<'static, _> {
            let (provider, texts) = (Arc::clone(provider), texts.clone());
            Box::pin(async move { provider.embed(texts, urgency).await })
        };
        Ok(self.inner.ask(urgency, call).await?.0)
    }
}
