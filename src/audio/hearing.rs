//! One device's ear: packets in, turns out.
//!
//! jitter window → Opus decoder → voice activity → endpointing. Half-heard audio is kept as packets. It knows no
//! session, no transport and no clock: time is what the samples say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ending::Verdict;
use super::endpoint::{Endpoint, Endpointer, samples};
use super::jitter::{Jitter, Path, Slot};
use super::level::Level;
use super::metrics::Metrics;
use super::opus::OpusError;
use super::packet::PacketInfo;
use super::utterance::{Ending, Mark, Piece, Player, Stats, Utterance};
use super::vad::{FRAME, FRAME_MS, FRAME_SAMPLES, Gated, Vad as _, VadModel};
use super::{Pauses, Settings, jitter};
use crate::domain::{AudioPacket, Codec, ListenMode, UP_RATE};

/// Packets kept before the pre-roll: a decoder that starts in mid-stream needs them to settle.
const WARM_UP: usize = 2;
/// A packet of at most so many bytes says that the device is silent.
const TINY: usize = 3;
/// A frame that is silence may still be speech from this share of the threshold on: the model that is built in stays at half of
/// it in digital silence.
const PERHAPS: f32 = 0.7;
/// Silence that is heard at once, packets.
const MOST_QUIET: u32 = 200;

/// What an ear notices.
#[derive(Debug)]
pub enum Heard {
    /// Somebody has begun to speak (not in manual mode).
    SpeechStarted,
    /// `realtime` mode: the speech is long enough to interrupt the answer; once a speech.
    BargeIn,
    /// A pause has begun in which the turn may be over: what was said so far. Once a pause.
    LikelyEnd(Utterance),
    /// After [`Heard::LikelyEnd`]: speech goes on.
    GoesOn,
    /// The turn is over.
    EndOfTurn(Utterance),
    /// The utterance reached its greatest length: this is what there is. In manual mode the rest is not heard.
    TooLong(Utterance),
    /// Nobody has spoken for the configured time (not in manual mode).
    NoSpeech,
}

/// The ear of one session. About 30 KB besides what it holds of an utterance.
#[derive(Debug)]
pub struct Hearing {
    mode: ListenMode,
    jitter: Jitter,
    player: Player,
    vad: Gated,
    endpointer: Endpointer,
    limits: Limits,
    metrics: Option<Metrics>,
    /// Decoded samples that are no whole frame yet.
    pending: Vec<i16>,
    kept: VecDeque<Piece>,
    kept_bytes: usize,
    /// Position of the first sample of `kept`.
    kept_from: u64,
    /// Position one past the last sample of `kept`.
    kept_to: u64,
    /// This listening: another one after each reset.
    listening: Arc<()>,
    /// One past the last sample that may be speech, however little the model believes it.
    perhaps_to: u64,
    /// The pause that was told as the likely end: where its speech ends.
    told: Option<u64>,
    /// Speech frames since the utterance may have begun.
    voiced_frames: u32,
    level: Level,
    /// Jitter counts at the end of the last utterance.
    counted: jitter::Stats,
    /// The decoder has missed packets on purpose.
    stale: bool,
    /// Manual mode: the greatest length was reached, and nothing is heard until a reset.
    full: bool,
    /// What came last.
    last: Option<Last>,
}

/// The last packet, when it was Opus.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// Its first byte, without the count of its frames.
    toc: u8,
    /// Its length, 1 at least.
    ms: u32,
    /// It held next to nothing: the device is silent.
    tiny: bool,
}

impl Last {
    fn of(packet: &AudioPacket) -> Option<Self> {
        let info = PacketInfo::parse(&packet.payload).ok().filter(|_| packet.codec == Codec::Opus)?;
        let toc = packet.payload.first()? & 0xFC;
        // one frame of this form: several in a packet are longer together
        let ms = PacketInfo::parse(&[toc]).map_or_else(|_| info.ms(), |one| one.ms()).max(1);
        Some(Self { toc, ms, tiny: packet.payload.len() <= TINY })
    }
}

/// A packet without sound.
fn nothing(toc: u8) -> AudioPacket {
    let payload = Bytes::copy_from_slice(&[toc]);
    AudioPacket { codec: Codec::Opus, seq: 0, ts_ms: 0, last: false, speech: None, listen: 0, payload }
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    start_threshold: f32,
    /// From here on a frame may be speech, where the device says how much is heard.
    perhaps: f32,
    likely_end: u64,
    min_speech: u64,
    complete_silence: u64,
    max_silence: u64,
    pre_roll: u64,
    post_roll: u64,
    max_utterance: u64,
    max_bytes: usize,
    max_conceal_ms: u32,
}

impl Hearing {
    /// An ear for packets that come over one connection, in order; see [`Hearing::on_path`].
    pub fn new(settings: &Settings, model: &VadModel, mode: ListenMode) -> Result<Self, OpusError> {
        let max_conceal_ms = u32::try_from(settings.opus.max_conceal.0.as_millis()).unwrap_or(u32::MAX);
        let limits = Limits {
            start_threshold: settings.endpoint.start_threshold,
            perhaps: settings.endpoint.stop_threshold * PERHAPS,
            likely_end: samples(settings.endpoint.likely_end),
            min_speech: samples(settings.endpoint.min_speech),
            complete_silence: samples(settings.endpoint.complete_silence),
            max_silence: samples(settings.endpoint.max_silence),
            pre_roll: samples(settings.endpoint.pre_roll),
            post_roll: samples(settings.endpoint.post_roll),
            max_utterance: samples(settings.endpoint.max_utterance),
            max_bytes: settings.endpoint.max_bytes.len(),
            max_conceal_ms,
        };
        Ok(Self {
            mode,
            jitter: Jitter::new(&settings.jitter, Path::Ordered),
            player: Player::new(max_conceal_ms)?,
            vad: model.stream(),
            endpointer: Endpointer::new(&settings.endpoint),
            limits,
            metrics: None,
            pending: Vec::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_from: 0,
            kept_to: 0,
            listening: Arc::new(()),
            perhaps_to: 0,
            told: None,
            voiced_frames: 0,
            level: Level::default(),
            counted: jitter::Stats::default(),
            stale: false,
            full: false,
            last: None,
        })
    }

    /// Says how the packets come, before the first one.
    #[must_use]
    pub fn on_path(mut self, settings: &Settings, path: Path) -> Self {
        self.jitter = Jitter::new(&settings.jitter, path);
        self
    }

    /// Counts into `metrics`.
    #[must_use]
    pub fn counted_by(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Goes on from what is known of how somebody pauses.
    #[must_use]
    pub fn used_to(mut self, pauses: Pauses) -> Self {
        self.endpointer.used_to(pauses);
        self
    }

    /// How those who speak pause, as far as it is known.
    pub fn pauses(&self) -> Pauses {
        self.endpointer.pauses()
    }

    /// How it listens.
    pub fn mode(&self) -> ListenMode {
        self.mode
    }

    /// Whether somebody is speaking (or has just stopped).
    pub fn speaking(&self) -> bool {
        self.endpointer.speaking()
    }

    /// Bytes held of what may become an utterance.
    pub fn held_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Hears packets in order of arrival. About 70 us of CPU for 60 ms of speech, 13 us for silence.
    pub fn push(&mut self, packets: Vec<AudioPacket>) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut slots = Vec::new();
        let before = self.jitter.stats();
        for packet in packets {
            self.jitter.push(packet, &mut slots);
        }
        self.count_order(before);
        self.hear(slots, &mut heard);
        heard
    }

    /// Lets packets pass unheard (the microphone is ignored while the gateway speaks); only their numbers count.
    pub fn skip(&mut self, packets: Vec<AudioPacket>) {
        let mut slots = Vec::new();
        for packet in packets {
            self.jitter.push(packet, &mut slots);
        }
        if !slots.is_empty() {
            self.stale = true;
            self.clear();
        }
    }

    /// Nothing came for so long from a device that sends nothing while it is silent (DTX): that counts as silence.
    /// In the middle of speech it does not: then packets are late, or lost.
    pub fn quiet(&mut self, time: Duration) -> Vec<Heard> {
        let mut heard = Vec::new();
        let Some(Last { toc, ms, tiny }) = self.last else { return heard };
        if !tiny && self.endpointer.last_speech() == Some(self.endpointer.position()) {
            return heard;
        }
        let packets = u32::try_from(time.as_millis()).unwrap_or(u32::MAX) / ms;
        for _ in 0..packets.min(MOST_QUIET) {
            self.hear_packet(0, &nothing(toc), &mut heard);
        }
        heard
    }

    /// What the end-of-turn model says of a likely end. It counts as long as that pause goes on.
    pub fn judge(&mut self, said: &Utterance, verdict: Verdict) -> Option<Heard> {
        let here = Arc::ptr_eq(&said.mark.listening, &self.listening) && self.told == Some(said.mark.to);
        if !here || self.mode == ListenMode::Manual {
            return None;
        }
        let usual = self.pauses().silence();
        let silence = match verdict {
            Verdict::Complete => self.limits.complete_silence.min(usual),
            Verdict::Incomplete => self.limits.max_silence.max(usual),
            Verdict::Unknown => return None,
        };
        let event = self.endpointer.end_after(silence)?;
        let heard = self.decide(event);
        self.told = None;
        heard
    }

    /// The device says that the utterance is over. None when nothing was heard: nothing came, or (not in manual
    /// mode) nobody had begun to speak.
    pub fn finish(&mut self) -> Option<Utterance> {
        let mut slots = Vec::new();
        let before = self.jitter.stats();
        self.jitter.flush(&mut slots);
        self.count_order(before);
        // What the flush completes belongs to what ends here, whatever the endpointer makes of it.
        let mut heard = Vec::new();
        self.hear(slots, &mut heard);
        let completed = heard.into_iter().find_map(|event| match event {
            Heard::EndOfTurn(utterance) | Heard::TooLong(utterance) => Some(utterance),
            _ => None,
        });
        completed.or_else(|| self.end_by_device())
    }

    /// A new listening: everything half-heard is dropped, the numbers go on.
    pub fn reset(&mut self, mode: ListenMode) {
        self.mode = mode;
        self.full = false;
        self.vad.reset();
        self.clear();
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.endpointer.reset();
        self.drop_kept();
        self.kept_from = 0;
        self.kept_to = 0;
        self.listening = Arc::new(());
        (self.perhaps_to, self.told) = (0, None);
        self.voiced_frames = 0;
        self.level = Level::default();
    }

    fn hear(&mut self, slots: Vec<Slot>, heard: &mut Vec<Heard>) {
        let mut lost = 0;
        for slot in slots {
            match slot {
                Slot::Lost(packets) => lost = packets,
                Slot::Packet(packet) => {
                    self.hear_packet(std::mem::take(&mut lost), &packet, heard);
                    if packet.last {
                        heard.extend(self.end_by_device().map(Heard::EndOfTurn));
                    }
                }
            }
        }
    }

    fn hear_packet(&mut self, lost: u32, packet: &AudioPacket, heard: &mut Vec<Heard>) {
        if self.full {
            return;
        }
        if std::mem::take(&mut self.stale) && self.player.reset().is_err() {
            tracing::warn!("opus decoder could not be reset");
        }
        self.last = Last::of(packet);
        let piece = self.player.take(lost, packet, &mut self.pending);
        if let Some(metrics) = &self.metrics {
            metrics.decoded(&piece);
        }
        self.kept_to += u64::from(piece.samples);
        self.kept_bytes += piece.cost();
        self.kept.push_back(piece);
        self.listen(heard);
        self.bound(heard);
    }

    /// Asks the model about each whole frame.
    fn listen(&mut self, heard: &mut Vec<Heard>) {
        let pending = std::mem::take(&mut self.pending);
        let (frames, rest) = pending.as_chunks::<FRAME>();
        let (asked, resumed) = (self.vad.asked(), self.endpointer.resumed());
        for frame in frames {
            let probability = self.vad.process(frame);
            if probability >= self.limits.start_threshold {
                self.voiced_frames += 1;
                self.level.add(frame);
            }
            let event = self.endpointer.push(FRAME_SAMPLES, probability);
            self.perhaps(probability);
            if self.mode != ListenMode::Manual {
                heard.extend(event.and_then(|event| self.decide(event)));
                self.forget_silence();
            }
            heard.extend(self.notice_pause());
        }
        if let Some(metrics) = &self.metrics {
            metrics.listened(frames.len() as u64, self.vad.asked() - asked);
            metrics.spoke_on(self.endpointer.resumed() - resumed);
        }
        let rest = rest.len();
        self.pending = pending;
        self.pending.drain(..self.pending.len() - rest);
    }

    fn perhaps(&mut self, probability: f32) {
        if probability >= self.limits.perhaps {
            self.perhaps_to = self.endpointer.position();
        }
    }

    /// Tells of a pause in which the turn may be over, and of its end.
    fn notice_pause(&mut self) -> Option<Heard> {
        let Some(to) = self.speech_to() else {
            // the turn has ended
            self.told = None;
            return None;
        };
        if self.told.is_some_and(|told| told < to) {
            self.told = None;
            return Some(Heard::GoesOn);
        }
        let position = self.endpointer.position();
        if self.told.is_some() || position < to + self.limits.likely_end {
            return None;
        }
        self.told = Some(to);
        let end = match self.mode {
            ListenMode::Manual => self.kept_to,
            ListenMode::Auto | ListenMode::Realtime => (to + self.limits.post_roll).min(position),
        };
        let delay = position - to;
        Some(Heard::LikelyEnd(self.copy(self.speech_from(), (end, to), Ending::Likely, delay).0))
    }

    /// One past the last sample of the speech that may be over; none while nobody has spoken. Where the device decides
    /// how much is heard, whatever may be speech is.
    fn speech_to(&self) -> Option<u64> {
        match self.mode {
            ListenMode::Manual => {
                let spoken = u64::from(self.voiced_frames) * u64::from(FRAME_SAMPLES) >= self.limits.min_speech;
                Some(self.perhaps_to).filter(|_| spoken && self.voiced_frames > 0)
            }
            ListenMode::Auto | ListenMode::Realtime => self.endpointer.last_speech(),
        }
    }

    fn decide(&mut self, event: Endpoint) -> Option<Heard> {
        match event {
            Endpoint::Started { .. } => Some(Heard::SpeechStarted),
            Endpoint::BargeIn => (self.mode == ListenMode::Realtime).then_some(Heard::BargeIn),
            Endpoint::NoSpeech => Some(Heard::NoSpeech),
            Endpoint::Ended { from, to } => {
                let delay = self.endpointer.position() - to;
                let end = (to + self.limits.post_roll).min(self.endpointer.position());
                Some(Heard::EndOfTurn(self.cut(from, (end, to), Ending::Silence, delay)))
            }
            Endpoint::TooLong { from } => {
                let end = self.endpointer.position();
                Some(Heard::TooLong(self.cut(from, (end, end), Ending::TooLong, 0)))
            }
        }
    }

    /// In silence only the pre-roll and the decoder's warm-up are kept.
    fn forget_silence(&mut self) {
        let earliest = self.endpointer.earliest();
        if earliest == self.endpointer.position() {
            self.voiced_frames = 0;
            self.level = Level::default();
        }
        let wanted = earliest.saturating_sub(self.limits.pre_roll);
        while let Some(needed) = self.kept.get(WARM_UP) {
            let to = self.kept.iter().take(WARM_UP).map(|piece| u64::from(piece.samples)).sum::<u64>();
            if self.kept_from + to + u64::from(needed.samples) > wanted {
                break;
            }
            self.pop_front();
        }
    }

    /// Nothing grows for ever: neither a manual utterance nor one of many tiny or huge packets.
    fn bound(&mut self, heard: &mut Vec<Heard>) {
        let long = self.mode == ListenMode::Manual && self.kept_to >= self.limits.max_utterance;
        if !long && self.kept_bytes <= self.limits.max_bytes {
            return;
        }
        let from = self.speech_from();
        heard.push(Heard::TooLong(self.cut(from, (self.kept_to, self.kept_to), Ending::TooLong, 0)));
        self.full = self.mode == ListenMode::Manual;
        self.clear();
    }

    fn end_by_device(&mut self) -> Option<Utterance> {
        self.judge_rest();
        let anything = match self.mode {
            ListenMode::Manual => !self.kept.is_empty(),
            ListenMode::Auto | ListenMode::Realtime => self.voiced_frames > 0,
        };
        let to = self.perhaps_to.max(self.endpointer.last_speech().unwrap_or(0));
        let utterance = anything.then(|| self.cut(self.speech_from(), (self.kept_to, to), Ending::Device, 0));
        self.clear();
        utterance
    }

    /// What is no whole frame yet may be speech as well.
    fn judge_rest(&mut self) {
        if !self.pending.is_empty() {
            let mut frame = [0; FRAME];
            frame.iter_mut().zip(&self.pending).for_each(|(slot, sample)| *slot = *sample);
            if self.vad.process(&frame) >= self.limits.perhaps {
                self.perhaps_to = self.kept_to;
            }
        }
    }

    /// Where what the endpointer has heard begins; in manual mode at the very start.
    fn speech_from(&self) -> u64 {
        if self.mode == ListenMode::Manual { self.kept_from } else { self.endpointer.earliest() }
    }

    /// Takes an utterance out of what is kept: the speech from `from`, with its pre-roll, to `end`; `to` is one past its
    /// last speech.
    fn cut(&mut self, from: u64, (end, to): (u64, u64), ending: Ending, delay: u64) -> Utterance {
        let (utterance, pieces) = self.copy(from, (end, to), ending, delay);
        self.kept.drain(..pieces);
        self.counted = self.jitter.stats();
        self.level = Level::default();
        self.voiced_frames = 0;
        self.kept_bytes = self.kept.iter().map(Piece::cost).sum();
        self.kept_from = self.kept_to - self.kept.iter().map(|piece| u64::from(piece.samples)).sum::<u64>();
        utterance
    }

    /// The same, and leaves it there; with the number of pieces that it is made of.
    fn copy(&self, from: u64, (end, to): (u64, u64), ending: Ending, delay: u64) -> (Utterance, usize) {
        let begin = from.saturating_sub(self.limits.pre_roll).max(self.kept_from);
        let mut at = self.kept_from;
        let split = self.kept.iter().position(|piece| {
            let past = at >= end;
            at += u64::from(piece.samples);
            past
        });
        let pieces: Vec<Piece> = self.kept.iter().take(split.unwrap_or(self.kept.len())).cloned().collect();
        let mut stats = Stats::of(&pieces);
        let order = self.jitter.stats();
        stats.late = order.late - self.counted.late;
        stats.duplicate = order.duplicate - self.counted.duplicate;
        let count = pieces.len();
        let utterance = Utterance {
            skip: begin - self.kept_from,
            keep: end - begin,
            max_conceal_ms: self.limits.max_conceal_ms,
            mark: Mark { listening: Arc::clone(&self.listening), from, to },
            ending,
            voiced_ms: self.voiced_frames * FRAME_MS,
            endpoint_delay: Duration::from_micros(delay * 1_000_000 / u64::from(UP_RATE)),
            stats,
            level: self.level,
            pieces,
        };
        (utterance, count)
    }

    fn pop_front(&mut self) {
        if let Some(piece) = self.kept.pop_front() {
            self.kept_from += u64::from(piece.samples);
            self.kept_bytes -= piece.cost();
        }
    }

    fn drop_kept(&mut self) {
        self.kept = VecDeque::new();
        self.kept_bytes = 0;
        self.kept_from = self.kept_to;
    }

    fn count_order(&self, before: jitter::Stats) {
        if let Some(metrics) = &self.metrics {
            metrics.ordered(before, self.jitter.stats());
        }
    }
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod pauses;
#[cfg(test)]
#[path = "hearing_tests.rs"]
mod tests;
