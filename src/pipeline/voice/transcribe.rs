//! An utterance → words.

use tokio::time::{Instant, timeout};

use super::ahead::{Ahead, Asked};
use super::{Failed, Inner, since};
use crate::audio;
use crate::provider::{ErrorKind, ProviderError, Utterance};
use crate::session::{Heard, SharedReport, Turn, stage};

/// The words of an utterance, and how long the provider took for them, ms.
pub(super) struct Transcribed {
    pub(super) text: String,
    took: f64,
}

impl Inner {
    /// The words of an utterance, and the answer to them where that was asked for ahead; none when there is no speech or no
    /// word in it.
    pub(super) async fn transcribe(
        &self,
        turn: &Turn,
        utterance: &audio::Utterance,
        ahead: Option<Ahead>,
        report: &SharedReport,
    ) -> Result<Option<(String, Option<Asked>)>, Failed> {
        note_what_was_heard(utterance, report);
        if self.too_short(utterance) {
            if utterance.stats.undecodable * 2 > utterance.stats.packets {
                // a wrong codec or header is no silence: whoever builds the device should learn of it
                turn.voice
                    .error("audio_undecodable", "most of the audio could not be decoded: send Opus at 16 kHz mono");
            }
            turn.voice.transcript("");
            return Ok(None);
        }
        let asked = Instant::now();
        let done = match ahead {
            Some(ahead) => ahead.words(self.language(turn).as_ref()).await,
            None => None,
        };
        let (words, answer, took) = if let Some((words, answer)) = done {
            (words?.text, answer, since(asked))
        } else {
            let Transcribed { text, took } = self.words_of(turn, utterance).await?;
            (text, None, took)
        };
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
        Ok(Some((words, answer)))
    }

    /// There is too little speech in it to look for words.
    pub(super) fn too_short(&self, utterance: &audio::Utterance) -> bool {
        utterance.voiced_ms < u32::try_from(self.settings.min_speech.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// Asks for the words of an utterance; says and notes nothing.
    pub(super) async fn words_of(&self, turn: &Turn, utterance: &audio::Utterance) -> Result<Transcribed, Failed> {
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
        Ok(Transcribed { text: transcript.text.trim().to_owned(), took })
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
