//! The session's ears: they go to a codec thread with a batch of packets and come back with what they heard.

use futures::future::BoxFuture;

use crate::audio::opus::OpusError;
use crate::audio::{self, Heard, Hearing, Utterance, VadModel, Workers, WorkersError};
use crate::domain::{AudioPacket, ListenMode};

/// What the ears bring back.
pub(super) struct Report {
    pub(super) heard: Vec<Heard>,
    /// The codec threads could not do it.
    pub(super) failed: Option<WorkersError>,
}

type Back = Result<(Box<Hearing>, Vec<Heard>), WorkersError>;

pub(super) struct Ears {
    home: Option<Box<Hearing>>,
    away: Option<BoxFuture<'static, Back>>,
    /// What is heard by the batch that is away does not count any more.
    void: bool,
    mode: ListenMode,
    /// In manual mode: between `listen_start` and `listen_stop`.
    open: bool,
    settings: audio::Settings,
    metrics: audio::Metrics,
    vad: VadModel,
    workers: Workers,
}

impl Ears {
    pub(super) fn new(settings: HearingSettings, vad: VadModel, workers: Workers, mode: ListenMode) -> Self {
        Self { home: None, away: None, void: false, mode, open: mode != ListenMode::Manual, settings, vad, workers }
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
        if let Some(hearing) = &mut self.home {
            hearing.reset(mode);
        }
        self.void |= self.away.is_some();
    }

    /// Gives the memory back while nobody listens.
    pub(super) fn rest(&mut self) {
        if self.away.is_none() {
            self.home = None;
        }
    }

    /// Sends the ears out with a batch. They must be at home.
    pub(super) fn hear(&mut self, packets: Vec<AudioPacket>) {
        let mut hearing = self.take();
        let workers = self.workers.clone();
        self.away = Some(Box::pin(async move {
            workers
                .run(move || {
                    let heard = hearing.push(packets);
                    (hearing, heard)
                })
                .await
        }));
    }

    /// The utterance is over because the device says so. The ears must be at home.
    pub(super) fn finish(&mut self) -> Option<Utterance> {
        let utterance = self.home.as_mut().and_then(|hearing| hearing.finish());
        self.open = self.mode != ListenMode::Manual;
        utterance
    }

    /// Waits for the ears to come back; for ever when they are at home.
    pub(super) async fn back(&mut self) -> Report {
        let Some(away) = &mut self.away else { return std::future::pending().await };
        let back = away.await;
        self.away = None;
        let void = std::mem::take(&mut self.void);
        match back {
            Ok((mut hearing, heard)) => {
                if void {
                    hearing.reset(self.mode);
                }
                self.home = Some(hearing);
                Report { heard: if void { Vec::new() } else { heard }, failed: None }
            }
            // the state went down with the job: the next batch begins with fresh ears
            Err(error) => Report { heard: Vec::new(), failed: Some(error) },
        }
    }

    fn take(&mut self) -> Box<Hearing> {
        self.home.take().unwrap_or_else(|| Box::new(Hearing::new(self.settings.clone(), &self.vad, self.mode)))
    }
}
