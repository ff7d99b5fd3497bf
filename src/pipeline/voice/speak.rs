//! The pieces of a reply → clauses → speech → Opus frames, paced to the device.
//!
//! Three steps run side by side in the turn's own task, with bounded queues between them: the model
//! writes on while the clauses before are synthesised, two at once and in order, and the next sentences are
//! synthesised while this one is played.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::clauses::Clauses;
use super::said::Draft;
use super::think::Pieces;
use super::{Failed, Inner, emotion, since, watch};
use crate::audio::opus::Encoding;
use crate::audio::{Pacer, SpeechEncoder};
use crate::cache::speech::Frames;
use crate::domain::{DOWN_FRAME_MS, OpusFrame, StopReason};
use crate::policy::{Guard, Scene};
use crate::provider::{ChatPiece, ErrorKind, PcmChunk, ProviderError, SpeechRequest, SpeechStream, Urgency};
use crate::session::{Input, Outcome, SharedReport, TtsMode, Turn, stage};

/// Clauses that wait for the synthesizer.
const CLAUSES_AHEAD: usize = 2;
/// Clauses whose speech is asked for at once: that which is spoken, and the next.
const REQUESTS: usize = 2;
/// Pieces of speech of a clause that are held.
const CHUNKS_AHEAD: usize = 32;
/// Frames that wait for their slot: about four seconds of speech.
const FRAMES_AHEAD: usize = 64;
/// Frames encoded in one go: about a second of speech, 5 ms of work.
const MOST_AT_ONCE: usize = 16;

/// A clause of the reply, and the face that goes with it from here on.
struct Clause {
    text: String,
    emotion: Option<&'static str>,
}

/// A clause whose speech was asked for.
struct Order {
    clause: Clause,
    draft: Draft,
    asked: Instant,
    speech: Speech,
    /// Its place among those that are asked for at once.
    slot: OwnedSemaphorePermit,
}

/// Where the speech of a clause comes from.
enum Speech {
    /// It was said before.
    Kept(Frames),
    /// The synthesizer makes it.
    Coming(Receiver<Result<PcmChunk, Failed>>),
}

/// The next clause, when its speech may be asked for.
async fn next_clause(slots: &Arc<Semaphore>, clauses: &mut Receiver<Clause>) -> Option<(OwnedSemaphorePermit, Clause)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    Some((slot, clauses.recv().await?))
}

/// Longest time for all calls of tools between two pieces of a reply.
const TOOLS: Duration = Duration::from_mins(5);

/// What goes to the pacer, in order.
enum Spoken {
    Clause(Clause),
    Frame(Bytes),
}

impl Spoken {
    fn words(&self) -> &str {
        match self {
            Spoken::Clause(clause) => &clause.text,
            Spoken::Frame(_) => "",
        }
    }
}

impl Inner {
    /// Says a reply. Failed stages come back as errors after what was already said has been played.
    pub(super) async fn speak(
        &self,
        turn: &Turn,
        pieces: Pieces,
        scene: Scene,
        report: &SharedReport,
    ) -> Result<Outcome, Failed> {
        let (clause_tx, clause_rx) = mpsc::channel(CLAUSES_AHEAD);
        let (frame_tx, frame_rx) = mpsc::channel(FRAMES_AHEAD);
        let (thought, voiced, sent) = tokio::join!(
            self.clauses(turn, pieces, self.policies.guard(scene), clause_tx, report),
            self.synthesize(turn, clause_rx, frame_tx, report),
            self.pace(turn, frame_rx, report),
        );
        let outcome = if sent { Outcome::Answered } else { Outcome::LinkLost };
        match thought.and(voiced) {
            // a device that takes no frames needs no apology: it would not hear it
            Ok(()) | Err(_) if !sent => {
                turn.voice.stop(StopReason::LinkLost);
                Ok(outcome)
            }
            Ok(()) => {
                turn.voice.stop(StopReason::Done);
                Ok(outcome)
            }
            Err(failed) => Err(failed),
        }
    }

    /// Step one: pieces → clauses that may be spoken; the whole reply as text at the end.
    async fn clauses(
        &self,
        turn: &Turn,
        mut pieces: Pieces,
        mut guard: Guard,
        clauses: Sender<Clause>,
        report: &SharedReport,
    ) -> Result<(), Failed> {
        let asked = Instant::now();
        let mut splitter = Clauses::new();
        let mut reply = String::new();
        let mut first = true;
        let mut spoken = false;
        let mut face = Face::default();
        let mut note_clause = |report: &SharedReport, ready: bool| {
            if ready && !std::mem::replace(&mut spoken, true) {
                let waited = since(asked);
                report.write(|report| {
                    report.stages_ms.insert(stage::FIRST_CLAUSE.to_owned(), since(turn.decided));
                    if !report.local && !matches!(report.input.as_str(), "say" | "task") {
                        *report.stages_ms.entry(stage::PROVIDERS.to_owned()).or_default() += waited;
                    }
                });
            }
        };
        // a tool of the device takes its time, and has a limit of its own
        let wait = if turn.tools.is_some() { TOOLS } else { self.settings.first_token_timeout.0 };
        let result = loop {
            let piece = match timeout(wait, pieces.next()).await {
                Ok(None) => break Ok(()),
                Ok(Some(Ok(ChatPiece::Text(piece)))) => piece,
                Ok(Some(Ok(ChatPiece::Cut))) => {
                    reply.truncate(reply.len() - splitter.drop_half_sentence());
                    continue;
                }
                // calls are made where the reply comes from
                Ok(Some(Ok(ChatPiece::Call(_) | ChatPiece::StoodIn))) => continue,
                Ok(Some(Err(error))) => break Err(Failed::at("chat", &turn.device, &error)),
                Err(_) => {
                    let error = ProviderError::new(ErrorKind::Timeout, "chat", "no further piece of reply in time");
                    break Err(Failed::at("chat", &turn.device, &error));
                }
            };
            if std::mem::take(&mut first) {
                let ms = since(turn.decided);
                self.metrics.stage(stage::FIRST_TOKEN, ms);
                report.write(|report| {
                    report.stages_ms.insert(stage::FIRST_TOKEN.to_owned(), ms);
                });
            }
            reply.push_str(&piece);
            let ready: Vec<String> = splitter.push(&piece).into_iter().flat_map(|clause| guard.push(clause)).collect();
            note_clause(report, !ready.is_empty());
            if guard.said_instead().is_some() {
                watch::note(&guard, report);
            }
            for text in ready {
                // the synthesizer has failed: its error is the turn's, the text is still told
                let _ = clauses.send(Clause { text, emotion: face.news(&reply) }).await;
            }
            if guard.is_over() {
                // nobody would hear the rest: the model need not write it
                break Ok(());
            }
        };
        let mut ready: Vec<String> = splitter.finish().map(|clause| guard.push(clause)).unwrap_or_default();
        if result.is_err() {
            guard.broke_off();
        }
        ready.extend(guard.finish());
        watch::note(&guard, report);
        note_clause(report, !ready.is_empty());
        for text in ready {
            let _ = clauses.send(Clause { text, emotion: face.news(&reply) }).await;
        }
        drop(clauses);
        let reply = guard.said_instead().unwrap_or(&reply).trim();
        report.write(|report| reply.clone_into(&mut report.reply));
        if !reply.is_empty() {
            turn.voice.reply(reply);
        }
        if reply.is_empty() && result.is_ok() {
            let error = ProviderError::new(ErrorKind::BadAnswer, "chat", "an empty reply");
            return Err(Failed::at("chat", &turn.device, &error));
        }
        result
    }

    /// Step two: clauses → frames.
    async fn synthesize(
        &self,
        turn: &Turn,
        mut clauses: Receiver<Clause>,
        frames: Sender<Spoken>,
        report: &SharedReport,
    ) -> Result<(), Failed> {
        if turn.tts_mode == TtsMode::DeviceText {
            while let Some(clause) = clauses.recv().await {
                if frames.send(Spoken::Clause(clause)).await.is_err() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let (ordered, orders) = mpsc::channel(REQUESTS);
        let mut voiced = std::pin::pin!(self.encode_all(turn, orders, frames, report));
        tokio::select! {
            // the one who takes is done: what else was asked for is dropped
            result = &mut voiced => return result,
            () = self.order(turn, clauses, ordered) => {}
        }
        voiced.await
    }

    /// Asks for the speech of each clause in turn, of the next one while the one before still comes.
    async fn order(&self, turn: &Turn, mut clauses: Receiver<Clause>, orders: Sender<Order>) {
        let slots = Arc::new(Semaphore::new(REQUESTS));
        let mut coming = FuturesUnordered::new();
        let mut more = true;
        while more || !coming.is_empty() {
            tokio::select! {
                clause = next_clause(&slots, &mut clauses), if more => {
                    let Some((slot, clause)) = clause else {
                        more = false;
                        continue;
                    };
                    let draft = self.draft(turn, &clause.text);
                    let speech = if let Some(kept) = self.said_before(&draft).await {
                        Speech::Kept(kept)
                    } else {
                        let (hold, chunks) = mpsc::channel(CHUNKS_AHEAD);
                        coming.push(self.take_in(turn, self.speech_of(turn, &clause), hold));
                        Speech::Coming(chunks)
                    };
                    // there is a place for each slot; who no longer takes has an error to tell
                    if orders.send(Order { clause, draft, asked: Instant::now(), speech, slot }).await.is_err() {
                        return;
                    }
                }
                Some(()) = coming.next() => {}
            }
        }
    }

    /// Asks for the speech of a clause.
    fn speech_of(&self, turn: &Turn, clause: &Clause) -> SpeechStream {
        self.providers.synthesizer.speak(SpeechRequest {
            text: clause.text.clone(),
            voice: turn.persona.voice.clone(),
            language: self.language(turn),
            urgency: self.urgency(turn),
            ..SpeechRequest::default()
        })
    }

    /// Who waits for what is said. Text of an operator may be urgent, and goes as an answer does.
    fn urgency(&self, turn: &Turn) -> Urgency {
        match &turn.input {
            Input::Say(text) if self.phrases.own(text, self.language(turn).as_deref()).is_some() => Urgency::Greeting,
            Input::Task { .. } => Urgency::Greeting,
            _ => Urgency::Turn,
        }
    }

    /// Takes in the speech of one clause as it comes.
    async fn take_in(&self, turn: &Turn, mut speech: SpeechStream, hold: Sender<Result<PcmChunk, Failed>>) {
        while let Some(chunk) = self.next_chunk(turn, &mut speech).await.transpose() {
            let failed = chunk.is_err();
            if hold.send(chunk).await.is_err() || failed {
                return;
            }
        }
    }

    /// Speech → frames, clause by clause.
    async fn encode_all(
        &self,
        turn: &Turn,
        mut orders: Receiver<Order>,
        frames: Sender<Spoken>,
        report: &SharedReport,
    ) -> Result<(), Failed> {
        let internal = |error: String| {
            let error = ProviderError::new(ErrorKind::Internal, "codec", error);
            Failed::at("encode", &turn.device, &error)
        };
        let mut encoder: Option<SpeechEncoder> = None;
        let (mut first, mut frames_made) = (true, 0);
        while let Some(Order { clause, mut draft, asked, speech, slot }) = orders.recv().await {
            let mut chunks = match speech {
                Speech::Kept(kept) => {
                    if !send_all(&frames, clause, &kept).await {
                        return Ok(());
                    }
                    continue;
                }
                Speech::Coming(chunks) => chunks,
            };
            if frames.send(Spoken::Clause(clause)).await.is_err() {
                return Ok(());
            }
            while let Some(chunk) = chunks.recv().await {
                let chunk = chunk?;
                draft.hear(&chunk);
                if std::mem::take(&mut first) {
                    let waited = since(asked);
                    report.write(|report| *report.stages_ms.entry(stage::PROVIDERS.to_owned()).or_default() += waited);
                }
                for piece in pieces(chunk, &mut frames_made) {
                    let (back, packets) = self.encode(encoder.take(), piece).await.map_err(internal)?;
                    draft.note(&packets, back.complexity() < self.opus.complexity);
                    encoder = Some(back);
                    for frame in packets {
                        if frames.send(Spoken::Frame(frame.packet)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            // all of it is there: another clause may be asked for
            drop(slot);
            if draft.stands_alone() {
                // what is kept begins and ends with packets of its own: docs/decisions/06-caches.md
                let rest = self.rest_of(encoder.take()).await.map_err(internal)?;
                draft.note(&rest, false);
                self.keep(draft);
                for frame in rest {
                    if frames.send(Spoken::Frame(frame.packet)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        for frame in self.rest_of(encoder).await.map_err(internal)? {
            if frames.send(Spoken::Frame(frame.packet)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the encoder still holds of what it was given.
    pub(super) async fn rest_of(&self, encoder: Option<SpeechEncoder>) -> Result<Vec<OpusFrame>, String> {
        let Some(mut encoder) = encoder else { return Ok(Vec::new()) };
        let rest = self.workers.run(move || encoder.flush().map_err(|error| error.to_string())).await;
        rest.map_err(|error| error.to_string())?
    }

    /// Encodes a piece of speech on the codec threads; the encoder goes with it and comes back.
    pub(super) async fn encode(
        &self,
        own: Option<SpeechEncoder>,
        piece: PcmChunk,
    ) -> Result<(SpeechEncoder, Vec<OpusFrame>), String> {
        let busy = self.workers.queued() >= self.opus.busy_queue as usize;
        let complexity = if busy { self.opus.complexity_busy } else { self.opus.complexity };
        let encoding = Encoding::down(self.opus.bitrate, complexity);
        let job = move || -> Result<(SpeechEncoder, Vec<OpusFrame>), String> {
            let mut encoder = match own {
                Some(encoder) => encoder,
                None => SpeechEncoder::new(encoding).map_err(|error| error.to_string())?,
            };
            encoder.set_complexity(complexity).map_err(|error| error.to_string())?;
            let packets = encoder.push(piece.rate, &piece.samples).map_err(|error| error.to_string())?;
            Ok((encoder, packets))
        };
        self.workers.run(job).await.map_err(|error| error.to_string())?
    }

    async fn next_chunk(&self, turn: &Turn, speech: &mut SpeechStream) -> Result<Option<PcmChunk>, Failed> {
        let chunk = match timeout(self.settings.speech_timeout.0, speech.next()).await {
            Ok(None) => return Ok(None),
            Ok(Some(chunk)) => chunk,
            Err(_) => Err(ProviderError::new(ErrorKind::Timeout, "speech", "no further piece of speech in time")),
        };
        chunk.map(Some).map_err(|error| Failed::at("speech", &turn.device, &error))
    }

    /// Step three: frames → the device, a few ahead, then in real time. `false` when the link does not take them.
    async fn pace(&self, turn: &Turn, mut spoken: Receiver<Spoken>, report: &SharedReport) -> bool {
        let mut pace = Pace::new(self.settings.ahead_frames);
        let mut lead = None;
        while let Some(next) = spoken.recv().await {
            let heard_from = *lead.get_or_insert_with(|| {
                turn.voice.start(next.words());
                Instant::now() + turn.margins.lead
            });
            match next {
                Spoken::Clause(Clause { text, emotion }) => {
                    if let Some(name) = emotion {
                        turn.voice.emotion(name);
                    }
                    if turn.tts_mode == TtsMode::DeviceText {
                        self.note_first(turn, report);
                    }
                    turn.voice.sentence(&text);
                }
                Spoken::Frame(packet) => {
                    if pace.sent == 0 {
                        // a device throws away what comes before it has switched over
                        tokio::time::sleep_until(heard_from).await;
                    }
                    pace.wait_for_slot().await;
                    let last = spoken.is_empty() && spoken.is_closed();
                    if !turn.voice.frame(packet, pace.position_ms(), last) {
                        return false;
                    }
                    if pace.sent == 0 {
                        self.note_first(turn, report);
                    }
                    self.note_frame(&mut pace, report);
                }
            }
        }
        pace.wait_for_end(turn).await;
        true
    }

    /// Sends frames that are all there already; speech has just begun.
    pub(super) async fn pace_all(&self, turn: &Turn, frames: Vec<Bytes>, report: &SharedReport) -> bool {
        let mut pace = Pace::new(self.settings.ahead_frames);
        let count = frames.len();
        if count > 0 {
            tokio::time::sleep(turn.margins.lead).await;
        }
        for (at, packet) in frames.into_iter().enumerate() {
            pace.wait_for_slot().await;
            if !turn.voice.frame(packet, pace.position_ms(), at + 1 == count) {
                return false;
            }
            self.note_frame(&mut pace, report);
        }
        pace.wait_for_end(turn).await;
        true
    }

    fn note_first(&self, turn: &Turn, report: &SharedReport) {
        let ms = since(turn.decided);
        self.metrics.stage(stage::FIRST_AUDIO, ms);
        report.write(|report| {
            report.stages_ms.entry(stage::FIRST_AUDIO.to_owned()).or_insert(ms);
        });
    }

    fn note_frame(&self, pace: &mut Pace, report: &SharedReport) {
        pace.left();
        self.metrics.late(pace.late_ms);
        report.write(|report| {
            report.frames += 1;
            report.worst_late_ms = report.worst_late_ms.max(pace.late_ms);
        });
    }
}

/// Sends a clause that is all there; `false` when nobody takes it any more.
async fn send_all(frames: &Sender<Spoken>, clause: Clause, packets: &[Bytes]) -> bool {
    if frames.send(Spoken::Clause(clause)).await.is_err() {
        return false;
    }
    for packet in packets {
        if frames.send(Spoken::Frame(packet.clone())).await.is_err() {
            return false;
        }
    }
    true
}

/// Cuts a chunk so that the first frame need not wait for the others: one frame, then ever more up to a second.
pub(super) fn pieces(chunk: PcmChunk, frames_made: &mut usize) -> Vec<PcmChunk> {
    let PcmChunk { rate, samples, stood_in } = chunk;
    let frame = (rate * DOWN_FRAME_MS / 1_000).max(1) as usize;
    let mut pieces = Vec::new();
    let mut rest = samples.as_slice();
    while !rest.is_empty() {
        let frames = (*frames_made).clamp(1, MOST_AT_ONCE);
        let (piece, after) = rest.split_at((frames * frame).min(rest.len()));
        pieces.push(PcmChunk { rate, samples: piece.to_vec(), stood_in });
        *frames_made += frames;
        rest = after;
    }
    pieces
}

/// The slots of one turn's frames.
struct Pace {
    pacer: Pacer,
    start: Option<Instant>,
    sent: u32,
    late_ms: f64,
}

impl Pace {
    fn new(ahead: u32) -> Self {
        Self { pacer: Pacer::new(DOWN_FRAME_MS, ahead), start: None, sent: 0, late_ms: 0.0 }
    }

    fn position_ms(&self) -> u32 {
        self.sent.saturating_mul(DOWN_FRAME_MS)
    }

    /// Waits until the next frame may go; notes how late it is. A frame that was not made in time starts the
    /// clock anew: that is starvation, not lateness.
    async fn wait_for_slot(&mut self) {
        let now = Instant::now();
        let start = *self.start.get_or_insert(now);
        let due = start + self.pacer.schedule(now.saturating_duration_since(start));
        if due > now {
            tokio::time::sleep_until(due).await;
        }
        self.late_ms = since(due);
    }

    /// A frame left, maybe later than it should have.
    fn left(&mut self) {
        self.sent += 1;
        if let Some(start) = self.start {
            self.pacer.left(Instant::now().saturating_duration_since(start));
        }
    }

    /// Waits until the last frame has been played, and the margin behind it; a device that says so need not wait.
    async fn wait_for_end(&self, turn: &Turn) {
        let Some(start) = self.start else { return };
        tokio::select! {
            () = tokio::time::sleep_until(start + self.pacer.played_at() + turn.margins.tail) => {}
            () = turn.voice.played() => {}
        }
    }
}

/// The face of a reply, told once.
#[derive(Default)]
struct Face {
    told: bool,
}

impl Face {
    /// The face that the reply so far shows for the first time.
    fn news(&mut self, reply: &str) -> Option<&'static str> {
        let found = emotion::of(reply).filter(|_| !self.told);
        self.told |= found.is_some();
        found
    }
}
