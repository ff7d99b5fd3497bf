//! Speech to text by Wyoming.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::{Address, Peer};
use crate::domain::UP_RATE;
use crate::provider::http::Patience;
use crate::provider::warm::Opens;
use crate::provider::{ProviderError, Transcriber, Transcript, Utterance};
use crate::wire::wyoming::Event;

/// Samples in one chunk: 100 ms.
const CHUNK: usize = 1_600;

/// A Wyoming speech-to-text service.
#[derive(Debug)]
pub struct WyomingTranscriber {
    peer: Arc<Peer>,
    model: Option<String>,
}

impl WyomingTranscriber {
    /// A service; `model` in its words.
    pub fn new(name: impl Into<String>, address: Address, model: Option<String>, patience: Patience) -> Self {
        Self { peer: Arc::new(Peer::new(name, address, patience)), model }
    }

    fn request(&self, utterance: &Utterance) -> Vec<Event> {
        let mut begin = Event::new("transcribe");
        if let Some(model) = &self.model {
            begin = begin.with("name", model.as_str());
        }
        if let Some(language) = &utterance.language {
            begin = begin.with("language", language.as_str());
        }
        let mut request = vec![begin, Event::audio_start(UP_RATE)];
        request.extend(utterance.pcm.chunks(CHUNK).map(|samples| Event::audio_chunk(UP_RATE, samples)));
        request.push(Event::new("audio-stop"));
        request
    }
}

#[async_trait]
impl Transcriber for WyomingTranscriber {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let (mut exchange, mut event) = self.peer.ask(&self.request(&utterance)).await?;
        // Newer services send the transcript in pieces first; the whole follows.
        while event.kind != "transcript" {
            event = self.peer.hear(&mut exchange).await?;
        }
        self.peer.keep(exchange);
        let text = event.text("text").unwrap_or_default().trim().to_owned();
        Ok(Transcript { text, language: event.text("language").map(str::to_owned), stood_in: false })
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Some(Arc::clone(&self.peer) as _)
    }
}
