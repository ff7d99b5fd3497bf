//! Stands where no provider is configured: says so, each time it is asked.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use crate::provider::{
    ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError, SpeechRequest, SpeechStream, Synthesizer,
    Transcriber, Transcript, Utterance,
};

/// No provider of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Absent;

fn none(capability: &str, key: &str) -> ProviderError {
    ProviderError::new(ErrorKind::NotConfigured, capability, format!("none is configured: set {key}.type"))
}

#[async_trait]
impl Transcriber for Absent {
    async fn transcribe(&self, _: Utterance) -> Result<Transcript, ProviderError> {
        Err(none("stt", "providers.stt"))
    }
}

impl ChatModel for Absent {
    fn chat(&self, _: ChatRequest) -> ChatStream {
        stream::iter([Err(none("chat", "providers.chat"))]).boxed()
    }
}

impl Synthesizer for Absent {
    fn speak(&self, _: SpeechRequest) -> SpeechStream {
        stream::iter([Err(none("tts", "providers.tts"))]).boxed()
    }
}
