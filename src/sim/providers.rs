//! Test providers: they answer at once (or after a set delay) and cost nothing, so that what is measured
//! is the gateway. They live in the load generator and the tests, nowhere else.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use crate::provider::{
    ChatModel, ChatRequest, ChatStream, PcmChunk, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber,
    Transcript, Utterance,
};

/// How long each provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// The transcript.
    pub transcribe: Duration,
    /// The first piece of the reply.
    pub first_token: Duration,
    /// The first piece of speech of a clause.
    pub first_audio: Duration,
}

/// Hears the same words in every utterance.
#[derive(Debug, Clone)]
pub struct FixedTranscriber {
    /// The words.
    pub words: String,
    /// See [`Delays::transcribe`].
    pub delay: Duration,
}

#[async_trait]
impl Transcriber for FixedTranscriber {
    async fn transcribe(&self, _: Utterance) -> Result<Transcript, ProviderError> {
        pause(self.delay).await;
        Ok(Transcript { text: self.words.clone(), language: Some("en".into()), stood_in: false })
    }
}

/// Answers the same to every question.
#[derive(Debug, Clone)]
pub struct FixedChat {
    /// The pieces of the answer.
    pub pieces: Vec<String>,
    /// See [`Delays::first_token`].
    pub delay: Duration,
}

impl ChatModel for FixedChat {
    fn chat(&self, _: ChatRequest) -> ChatStream {
        let (pieces, delay) = (self.pieces.clone(), self.delay);
        let first = stream::once(async move {
            pause(delay).await;
            Ok(String::new().into())
        });
        first.chain(stream::iter(pieces.into_iter().map(|piece| Ok(piece.into())))).boxed()
    }
}

/// Speaks a tone: 60 ms for each word.
#[derive(Debug, Clone)]
pub struct ToneSynthesizer {
    /// See [`Delays::first_audio`].
    pub delay: Duration,
    /// Milliseconds of tone a word.
    pub word_ms: u32,
}

impl Synthesizer for ToneSynthesizer {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let words = u32::try_from(request.text.split_whitespace().count().max(1)).unwrap_or(1);
        let samples = 24 * self.word_ms * words;
        let delay = self.delay;
        stream::once(async move {
            pause(delay).await;
            Ok(PcmChunk { rate: 24_000, samples: tone(samples), ..PcmChunk::default() })
        })
        .boxed()
    }
}

/// So many samples of a tone, 24 kHz.
pub(super) fn tone(samples: u32) -> Vec<i16> {
    let sample = |n: u32| {
        let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / 24_000.0;
        #[allow(clippy::cast_possible_truncation, reason = "a sine of amplitude 8,000 is an i16")]
        let sample = (phase.sin() * 8_000.0) as i16;
        sample
    };
    (0..samples).map(sample).collect()
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
