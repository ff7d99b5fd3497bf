//! An utterance → words.

use tokio::time::{Instant, timeout};

use super::{Failed, Inner, since};
use crate::audio;
use crate::provider::{ErrorKind, ProviderError, Utterance};
use crate::session::{Heard, SharedReport, Turn, stage};

impl Inner {
    /// The words of an utterance; none when there is no speech or no word in it.
    pub(super) async fn transcribe(
        &self,
        turn: &Turn,
        utterance: &audio::Utterance,
        report: &SharedReport,
    ) -> Result<Option<String>, Failed> {
        note_what_was_heard(utterance, report);
        if utterance.voiced_ms < u32::try_from(self.settings.min_speech.0.as_millis()).unwrap_or(u32::MAX) {
            if utterance.stats.undecodable * 2 > utterance.stats.packets {
                // a wrong codec or header is no silence: whoever builds the device should learn of it
                turn.voice
                    .error("audio_undecodable", "most of the audio could not be decoded: send Opus at 16 kHz mono");
            }
            turn.voice.transcript("");
            return Ok(None);
        }
        let pcm = self.decode(turn, utterance).await?;
        let asked = Instant::now();
        let utterance = Utterance { pcm: pcm.into(), language: self.language(turn), ..Utterance::default() };
        let call = self.providers.transcriber.transcribe(utterance);
        let transcript = match timeout(self.settings.transcribe_timeout.0, call).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::new(ErrorKind::Timeout, "transcribe", "no transcript in time")),
        };
        let took = since(asked);
        self.metrics.stage("transcribe_call", took);
        let transcript = transcript.map_err(|error| Failed::at("transcribe", &turn.device, &error))?;
        let words = transcript.text.trim().to_owned();
        report.write(|report| {
            report.stages_ms.insert(stage::TRANSCRIBE.to_owned(), since(turn.decided));
            *report.stages_ms.entry(stage::PROVIDERS.to_owned()).or_default() += took;
            report.transcript.clone_from(&words);
        });
        if !words.chars().any(char::is_alphanumeric) {
            turn.voice.transcript("");
            return Ok(None);
        }
        turn.voice.transcript(&words);
        Ok(Some(words))
    }

    async fn decode(&self, turn: &Turn, utterance: &audio::Utterance) -> Result<Vec<i16>, Failed> {
        let kept = utterance.clone();
        let decoded = self.workers.run(move || kept.decode().map_err(|error| error.to_string())).await;
        decoded.map_err(|error| error.to_string()).flatten().map_err(|error| {
            let error = ProviderError::new(ErrorKind::Internal, "codec", error);
            Failed::at("decode", &turn.device, &error)
        })
    }
}

fn note_what_was_heard(utterance: &audio::Utterance, report: &SharedReport) {
    let stats = utterance.stats;
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let ms = |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    report.write(|report| {
        report.heard = Heard {
            frames: count(stats.packets),
            lost: count(stats.lost),
            undecodable: count(stats.undecodable),
            ms: ms(utterance.duration()),
            voiced_ms: utterance.voiced_ms,
        };
        report.stages_ms.insert(stage::ENDPOINT.to_owned(), utterance.endpoint_delay.as_secs_f64() * 1e3);
    });
}
