//! The session's ears: they go to a codec thread with a batch of packets and come back with what they heard.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::audio::jitter::Path;
use crate::audio::opus::OpusError;
use crate::audio::{self, Heard, Hearing, Pauses, TurnModel, Utterance, VadModel, Verdict, Workers, WorkersError};
use crate::domain::{AudioPacket, ListenMode};

/// Why the ears heard nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error("{0}")]
    Codec(#[from] OpusError),
    #[error("{0}")]
    Workers(#[from] WorkersError),
}

/// What the ears bring back.
pub(super) struct Report {
    pub(super) heard: Vec<Heard>,
    /// The codec threads could not do it.
    pub(super) failed: Option<Deaf>,
}

/// What ears are made of.
#[derive(Clone)]
pub struct EarParts {
    /// `[voice]`, the part that is about audio.
    pub settings: audio::Settings,
    /// The voice activity model.
    pub vad: VadModel,
    /// The end-of-turn model.
    pub turn_model: TurnModel,
    /// The codec threads.
    pub workers: Workers,
    /// What is counted.
    pub metrics: audio::Metrics,
}

type Back = Result<(Box<Hearing>, Vec<Heard>), Deaf>;

pub(super) struct Ears {
    home: Option<Box<Hearing>>,
    away: Option<BoxFuture<'static, Back>>,
    /// What is heard by the batch that is away does not count any more.
    void: bool,
    /// The ears that are away are not wanted back.
    lost: bool,
    mode: ListenMode,
    /// In manual mode: between `listen_start` and `listen_stop`.
    open: bool,
    path: Path,
    /// Times that what was heard became void.
    voided: u64,
    /// How those who speak pause, as far as it is known.
    pauses: Pauses,
    parts: EarParts,
}

impl Ears {
    pub(super) fn new(parts: EarParts, mode: ListenMode) -> Self {
        Self {
            home: None,
            away: None,
            void: false,
            lost: false,
            mode,
            open: mode != ListenMode::Manual,
            path: Path::Ordered,
            voided: 0,
            pauses: parts.settings.endpoint.pauses(),
            parts,
        }
    }

    /// Says how packets come from now on: what was heard so far is void. Datagrams are counted from 1 again, and old
    /// ears, which never let a window move back, would take them for late ones.
    pub(super) fn on_path(&mut self, path: Path) {
        if self.path != path || path == Path::Datagrams {
            self.path = path;
            self.forget();
        }
    }

    /// Packets are numbered anew from now on: a new session. What was heard so far is void.
    pub(super) fn forget(&mut self) {
        self.home = None;
        self.voided += 1;
        self.void |= self.away.is_some();
        self.lost |= self.away.is_some();
    }

    pub(super) fn busy(&self) -> bool {
        self.away.is_some()
    }

    pub(super) fn listening(&self) -> bool {
        self.open && (self.home.is_some() || self.away.is_some())
    }

    pub(super) fn open(&self) -> bool {
        self.open
    }

    /// Begins anew: what was heard so far is void.
    pub(super) fn reset(&mut self, mode: ListenMode, open: bool) {
        self.mode = mode;
        self.open = open;
        self.voided += 1;
        if let Some(hearing) = &mut self.home {
            hearing.reset(mode);
        }
        self.void |= self.away.is_some();
    }

    /// The number of the listening that goes on: another one whenever what was heard so far becomes void.
    pub(super) fn listening_number(&self) -> u64 {
        self.voided
    }

    /// The silence that ends a turn of those who speak here, in ms.
    pub(super) fn silence_ms(&self) -> u64 {
        self.pauses.silence_ms()
    }

    /// Gives the memory back while nobody listens.
    pub(super) fn rest(&mut self) {
        self.home = None;
    }

    /// Lets packets pass unheard: only their numbers count.
    pub(super) fn skip(&mut self, packets: Vec<AudioPacket>) {
        if let Some(hearing) = &mut self.home {
            hearing.skip(packets);
        }
    }

    /// Sends the ears out with a batch. They must be at home.
    pub(super) fn hear(&mut self, packets: Vec<AudioPacket>) {
        self.send(move |hearing| hearing.push(packets));
    }

    /// Lets the ears hear that nothing came for so long. They must be at home.
    pub(super) fn hear_nothing(&mut self, time: Duration) {
        self.send(move |hearing| hearing.quiet(time));
    }

    fn send(&mut self, listen: impl FnOnce(&mut Hearing) -> Vec<Heard> + Send + 'static) {
        let own = self.home.take();
        let (parts, mode, path, pauses) = (self.parts.clone(), self.mode, self.path, self.pauses);
        let workers = parts.workers.clone();
        self.away = Some(Box::pin(async move {
            let job = move || -> Back {
                let mut hearing = if let Some(hearing) = own {
                    hearing
                } else {
                    let hearing = Hearing::new(&parts.settings, &parts.vad, mode)?;
                    let hearing = hearing.on_path(&parts.settings, path).counted_by(parts.metrics.clone());
                    Box::new(hearing.used_to(pauses))
                };
                let heard = listen(&mut hearing);
                Ok((hearing, heard))
            };
            workers.run(job).await?
        }));
    }

    /// The utterance is over because the device says so. The ears must be at home.
    pub(super) fn finish(&mut self) -> Option<Utterance> {
        let utterance = self.home.as_mut().and_then(|hearing| hearing.finish());
        self.open = self.mode != ListenMode::Manual;
        utterance
    }

    /// Tells the ears what the end-of-turn model makes of a pause. They must be at home.
    pub(super) fn judge(&mut self, said: &Utterance, verdict: Verdict) -> Option<Heard> {
        self.home.as_mut().and_then(|hearing| hearing.judge(said, verdict))
    }

    /// Waits for the ears to come back; for ever when they are at home.
    pub(super) async fn back(&mut self) -> Report {
        let Some(away) = &mut self.away else { return std::future::pending().await };
        let back = away.await;
        self.away = None;
        let (void, lost) = (std::mem::take(&mut self.void), std::mem::take(&mut self.lost));
        match back {
            Ok((mut hearing, heard)) => {
                self.pauses = hearing.pauses();
                if void {
                    hearing.reset(self.mode);
                }
                self.home = Some(hearing).filter(|_| !lost);
                Report { heard: if void { Vec::new() } else { heard }, failed: None }
            }
            // the state went down with the job: the next batch begins with fresh ears
            Err(error) => Report { heard: Vec::new(), failed: Some(error) },
        }
    }
}
