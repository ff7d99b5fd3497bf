//! Asks the end-of-turn model, on threads of its own: whether what was said before a pause is all.
//!
//! Who asks too late, or while too much is asked, gets no answer: then the silence rule decides alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::endpoint::Settings;
use super::smart_turn::SmartTurn;
use super::utterance::Utterance;
use super::workers::{self, Workers, WorkersError};

/// What the model makes of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// That was all.
    Complete,
    /// More follows.
    Incomplete,
    /// It does not know, or did not answer in time.
    Unknown,
}

impl Verdict {
    const ALL: [Self; 3] = [Verdict::Complete, Verdict::Incomplete, Verdict::Unknown];

    fn name(self) -> &'static str {
        match self {
            Verdict::Complete => "complete",
            Verdict::Incomplete => "incomplete",
            Verdict::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Said {
    verdict: &'static str,
}

/// What is counted of the model; clones share it.
#[derive(Debug, Clone)]
pub struct Metrics {
    verdicts: Family<Said, Counter>,
    late: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = Histogram::new(exponential_buckets(0.005, 2.0, 9));
        Self { verdicts: Family::default(), late: Counter::default(), failed: Counter::default(), seconds }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let what = "What the end-of-turn model said of pauses";
        registry.register("voxgate_turn_model_verdicts", what, metrics.verdicts.clone());
        let what = "Pauses about which the end-of-turn model was not asked because its threads were busy";
        registry.register("voxgate_turn_model_late", what, metrics.late.clone());
        registry.register(
            "voxgate_turn_model_failed",
            "Runs of the end-of-turn model that failed",
            metrics.failed.clone(),
        );
        let what = "Time of the end-of-turn model, decoding and features included";
        registry.register("voxgate_turn_model_seconds", what, metrics.seconds.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for verdict in Verdict::ALL {
            drop(self.verdicts.get_or_create(&Said { verdict: verdict.name() }));
        }
    }
}

/// The model and its threads; clones share them.
#[derive(Debug, Clone)]
pub struct TurnModel {
    ready: Result<Arc<Ready>, Arc<str>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Ready {
    model: SmartTurn,
    threads: Workers,
    start_within: Duration,
    complete_from: f32,
    incomplete_below: f32,
}

impl TurnModel {
    /// None: the silence rule decides alone.
    pub fn off() -> Self {
        Self { ready: Err("switched off (voice.endpoint.model)".into()), metrics: Metrics::default() }
    }

    /// The model in the file at `path`, as the settings say; [`TurnModel::missing`] says why there is none. Reads the file:
    /// not for the async runtime once that serves.
    pub fn load(path: &Path, settings: &Settings, metrics: Metrics) -> Result<Self, WorkersError> {
        if !settings.model {
            return Ok(Self { metrics, ..Self::off() });
        }
        let model = match SmartTurn::load(path) {
            Ok(model) => model,
            Err(error) => return Ok(Self { ready: Err(error.to_string().into()), metrics }),
        };
        let threads = Workers::named("turn-end", settings.model_threads as usize, workers::Metrics::default())?;
        let ready = Ready {
            model,
            threads,
            start_within: settings.model_wait.0,
            complete_from: settings.complete,
            incomplete_below: settings.incomplete,
        };
        Ok(Self { ready: Ok(Arc::new(ready)), metrics })
    }

    /// Why there is no model, where there is none.
    pub fn missing(&self) -> Option<&str> {
        self.ready.as_ref().err().map(|why| &**why)
    }

    /// Asks whether what was said is all.
    pub async fn ask(&self, said: Utterance) -> Verdict {
        let Ok(ready) = self.ready.clone() else { return Verdict::Unknown };
        let verdict = match Arc::clone(&ready).run(said).await {
            Ok(Some((probability, took))) => {
                self.metrics.seconds.observe(took.as_secs_f64());
                ready.verdict(probability)
            }
            Ok(None) => {
                self.metrics.late.inc();
                Verdict::Unknown
            }
            Err(error) => {
                self.metrics.failed.inc();
                tracing::warn!(error, "the end-of-turn model failed");
                Verdict::Unknown
            }
        };
        self.metrics.verdicts.get_or_create(&Said { verdict: verdict.name() }).inc();
        verdict
    }
}

impl Ready {
    fn verdict(&self, probability: f32) -> Verdict {
        if probability >= self.complete_from {
            Verdict::Complete
        } else if probability < self.incomplete_below {
            Verdict::Incomplete
        } else {
            Verdict::Unknown
        }
    }

    /// The probability and how long it took; none when no thread was free in time.
    async fn run(self: Arc<Self>, said: Utterance) -> Result<Option<(f32, Duration)>, String> {
        let (begun, begins) = oneshot::channel();
        let (own, asked) = (Arc::clone(&self), Instant::now());
        let mut run = std::pin::pin!(self.threads.run(move || {
            // who asked may have gone: then nobody waits for the beginning either
            let _ = begun.send(());
            let pcm = said.decode().map_err(|error| error.to_string())?;
            own.model.complete(&pcm)
        }));
        let waiting = timeout(self.start_within, begins);
        let answer = tokio::select! {
            biased;
            answer = &mut run => answer,
            // dropped before it has begun it never will
            Err(_) = waiting => return Ok(None),
        };
        let probability = answer.map_err(|error| error.to_string())??;
        Ok(Some((probability, asked.elapsed())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use super::*;
    use crate::audio::testing::{human, packets, smart_turn_file};
    use crate::audio::{Hearing, VadModel};
    use crate::domain::ListenMode;

    #[tokio::test]
    async fn without_a_file_it_says_so_and_knows_nothing() {
        let settings = Settings { model: true, ..Settings::default() };
        let model = TurnModel::load(Path::new("/nowhere/turn.onnx"), &settings, Metrics::default()).unwrap();
        assert!(model.missing().unwrap().contains("/nowhere/turn.onnx"));
        let off = TurnModel::load(Path::new("/x"), &Settings { model: false, ..settings }, Metrics::default()).unwrap();
        assert!(off.missing().unwrap().contains("switched off"));
    }

    fn said(pcm: &[i16]) -> Utterance {
        let settings = crate::audio::Settings::default();
        let vad = VadModel::load(None, &settings.vad);
        let mut hearing = Hearing::new(&settings, &vad, ListenMode::Manual).unwrap();
        hearing.push(packets(1, pcm));
        hearing.finish().unwrap()
    }

    #[tokio::test]
    async fn a_finished_command_is_complete_and_half_a_sentence_is_not() {
        let (Some(clips), Some(path)) = (human(), smart_turn_file()) else { return };
        let settings = Settings { model: true, model_wait: crate::domain::Span::secs(5), ..Settings::default() };
        let model = TurnModel::load(&path, &settings, Metrics::default()).unwrap();
        assert_eq!(model.missing(), None);
        assert_eq!(model.ask(said(&clips[5])).await, Verdict::Complete);
        assert_eq!(model.ask(said(&clips[1][..clips[1].len() / 2])).await, Verdict::Incomplete);
    }

    #[tokio::test]
    async fn who_would_have_to_wait_for_a_thread_gets_no_answer_and_is_counted() {
        let (Some(clips), Some(path)) = (human(), smart_turn_file()) else { return };
        let settings = Settings { model: true, ..Settings::default() };
        let model = TurnModel::load(&path, &settings, Metrics::default()).unwrap();
        let (release, gate) = crossbeam_channel::bounded::<()>(1);
        let threads = model.ready.clone().unwrap().threads.clone();
        let (began, begun) = oneshot::channel();
        let blocker = tokio::spawn(async move {
            let job = move || {
                began.send(()).ok();
                gate.recv().ok();
            };
            threads.run(job).await
        });
        begun.await.unwrap();
        assert_eq!(model.ask(said(&clips[5])).await, Verdict::Unknown);
        assert_eq!(model.metrics.late.get(), 1);
        release.send(()).unwrap();
        blocker.await.unwrap().unwrap();
    }
}
