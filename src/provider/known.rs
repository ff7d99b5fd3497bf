//! A provider of which is known what it is: caches keep what it gives under that name.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    ChatModel, ChatRequest, ChatStream, Embedder, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber,
    Transcript, Urgency, Utterance,
};

/// A provider with its identity.
pub struct Known<P: ?Sized> {
    inner: Arc<P>,
    identity: String,
}

impl<P: ?Sized> Known<P> {
    /// `identity` names everything that decides what the provider answers, and no secret.
    pub fn new(inner: Arc<P>, identity: String) -> Self {
        Self { inner, identity }
    }
}

#[async_trait]
impl<P: Transcriber + ?Sized> Transcriber for Known<P> {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        self.inner.transcribe(utterance).await
    }

    fn identity(&self) -> Option<&str> {
        Some(&self.identity)
    }
}

impl<P: ChatModel + ?Sized> ChatModel for Known<P> {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.inner.chat(request)
    }

    fn identity(&self) -> Option<&str> {
        Some(&self.identity)
    }
}

impl<P: Synthesizer + ?Sized> Synthesizer for Known<P> {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        self.inner.speak(request)
    }

    fn identity(&self) -> Option<&str> {
        Some(&self.identity)
    }
}

#[async_trait]
impl<P: Embedder + ?Sized> Embedder for Known<P> {
    async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Result<Vec<Vec<f32>>, ProviderError> {
        self.inner.embed(texts, urgency).await
    }

    fn identity(&self) -> Option<&str> {
        Some(&self.identity)
    }
}
