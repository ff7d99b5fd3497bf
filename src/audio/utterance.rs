//! What somebody said: the packets as they came, holes included, decoded again when samples are wanted.
//!
//! A minute of Opus is about 180 KB where its samples are 2 MB. Knows the codec; knows nothing of how the end was
//! found.

use std::sync::Arc;
use std::time::Duration;

use super::level::Level;
use super::opus::{Decoder, OpusError};
use super::packet::PacketInfo;
use crate::domain::{AudioPacket, Codec, UP_RATE};

/// The largest PCM payload, bytes: 120 ms.
const MAX_PCM: usize = 3_840;
/// What a [`Piece`] costs in memory besides its payload, bytes (the struct and the allocator's share).
const PIECE_COST: usize = 56;
/// The packet length assumed while none has been decoded, milliseconds.
const USUAL_MS: u32 = 60;

/// One packet as it is kept, with the hole before it.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Packets that never came, right before this one.
    pub lost: u32,
    /// Samples at 16 kHz that it sounds, the hole's share included.
    pub samples: u32,
    codec: Codec,
    /// The hole's last packet was rebuilt from this one.
    pub fec: bool,
    /// It could not be decoded; it sounds as a hole.
    pub bad: bool,
    /// A copy, so that the socket's buffer is not held; utterances of the same speech share it.
    payload: Arc<[u8]>,
}

impl Piece {
    /// Bytes in memory.
    pub fn cost(&self) -> usize {
        self.payload.len() + PIECE_COST
    }
}

/// Turns packets and holes into samples; one a stream.
#[derive(Debug)]
pub(crate) struct Player {
    decoder: Decoder,
    /// Length of the last good packet, milliseconds.
    ms: u32,
    max_conceal_ms: u32,
}

impl Player {
    pub fn new(max_conceal_ms: u32) -> Result<Self, OpusError> {
        Ok(Self { decoder: Decoder::new()?, ms: USUAL_MS, max_conceal_ms })
    }

    /// The stream goes on somewhere else.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        self.ms = USUAL_MS;
        self.decoder.reset()
    }

    /// Plays `packet` after a hole of `lost` packets; the samples are appended to `out`.
    pub fn take(&mut self, lost: u32, packet: &AudioPacket, out: &mut Vec<i16>) -> Piece {
        let payload = if packet.payload.len() > MAX_PCM { &[][..] } else { &packet.payload[..] };
        let mut piece =
            Piece { lost, samples: 0, codec: packet.codec, fec: false, bad: false, payload: payload.into() };
        let start = out.len();
        self.play(&mut piece, out);
        piece.samples = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        piece
    }

    /// Plays a piece, and notes how it went.
    fn play(&mut self, piece: &mut Piece, out: &mut Vec<i16>) {
        match piece.codec {
            Codec::PcmS16le => {
                self.bridge(piece.lost, out);
                piece.bad = !pcm(&piece.payload, out);
            }
            Codec::Opus => self.play_opus(piece, out),
        }
        if piece.bad {
            self.bridge(1, out);
        }
    }

    fn play_opus(&mut self, piece: &mut Piece, out: &mut Vec<i16>) {
        let Ok(info) = PacketInfo::parse(&piece.payload) else {
            piece.bad = true;
            self.bridge(piece.lost, out);
            return;
        };
        piece.fec = piece.lost > 0 && info.fec && piece.lost.saturating_mul(self.ms) <= self.max_conceal_ms;
        if piece.fec {
            self.bridge(piece.lost - 1, out);
            // The packet is well formed, so a refusal is the decoder's: then there is a little less to hear.
            piece.fec = self.decoder.decode_fec(&piece.payload, self.ms, out).is_ok();
        } else {
            self.bridge(piece.lost, out);
        }
        match self.decoder.decode(&piece.payload, out) {
            Ok(_) => self.ms = info.ms().max(3),
            Err(_) => piece.bad = true,
        }
    }

    /// Conceals a hole of `packets`, not longer than is worth while.
    fn bridge(&mut self, packets: u32, out: &mut Vec<i16>) {
        let ms = packets.saturating_mul(self.ms).min(self.max_conceal_ms);
        if ms > 0 && self.decoder.conceal(ms, out).is_err() {
            out.resize(out.len() + (ms * (UP_RATE / 1_000)) as usize, 0);
        }
    }
}

/// Appends little-endian samples; false for what is empty, or half a sample.
fn pcm(payload: &[u8], out: &mut Vec<i16>) -> bool {
    let (pairs, rest) = payload.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return false;
    }
    out.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
    true
}

/// How the packets of an utterance fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets that came.
    pub packets: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Of the lost, those rebuilt from the next packet's redundancy; the others were concealed.
    pub fec: u64,
    /// Packets that came and could not be decoded; concealed too.
    pub undecodable: u64,
    /// Packets that came after they were given up, since the utterance before.
    pub late: u64,
    /// Packets that came twice, since the utterance before.
    pub duplicate: u64,
}

impl Stats {
    pub(crate) fn of(pieces: &[Piece]) -> Self {
        let mut stats = Self { packets: pieces.len() as u64, ..Self::default() };
        for piece in pieces {
            stats.lost += u64::from(piece.lost);
            stats.fec += u64::from(piece.fec);
            stats.undecodable += u64::from(piece.bad);
        }
        stats
    }
}

/// Why an utterance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Silence followed.
    Silence,
    /// It may be over: a pause has begun, and more may follow.
    Likely,
    /// The device said so: `listen_stop`, or a packet flagged as the last.
    Device,
    /// It had its greatest length.
    TooLong,
}

/// Where an utterance lies in what an ear has heard: in which listening, and from which sample to which there is speech.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The listening: another one after each reset, even where positions are the same.
    pub listening: Arc<()>,
    /// The first sample.
    pub from: u64,
    /// One past the last sample that may be speech.
    pub to: u64,
}

/// What somebody said, from the first to the last speech with a little around it.
#[derive(Debug, Clone)]
pub struct Utterance {
    pub(crate) pieces: Vec<Piece>,
    /// Samples to drop at the start: they only warm the decoder up.
    pub(crate) skip: u64,
    /// Samples to keep after those.
    pub(crate) keep: u64,
    pub(crate) max_conceal_ms: u32,
    pub(crate) mark: Mark,
    /// Why it ended.
    pub ending: Ending,
    /// Speech in it, milliseconds, in steps of 32; 0 when nobody spoke, and then there is nothing to transcribe.
    pub voiced_ms: u32,
    /// Audio between the last speech and the decision that it was over; zero unless silence ended it.
    pub endpoint_delay: Duration,
    /// How its packets fared.
    pub stats: Stats,
    /// How loud its speech is.
    pub level: Level,
}

impl Utterance {
    /// Both hold the same speech, of the same listening, to the sample; what silence follows it does not count.
    pub fn same_speech(&self, other: &Self) -> bool {
        let (own, its) = (&self.mark, &other.mark);
        Arc::ptr_eq(&own.listening, &its.listening) && (own.from, own.to) == (its.from, its.to)
    }

    /// How long it sounds.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.keep * 1_000_000 / u64::from(UP_RATE))
    }

    /// Bytes that it holds in memory.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::cost).sum()
    }

    /// The samples, 16 kHz mono. About 25 us of CPU for each 60 ms: run it on [`Workers`](super::Workers).
    pub fn decode(&self) -> Result<Vec<i16>, OpusError> {
        let mut player = Player::new(self.max_conceal_ms)?;
        let total: usize = self.pieces.iter().map(|piece| piece.samples as usize).sum();
        let mut out = Vec::with_capacity(total);
        for piece in &self.pieces {
            player.play(&mut piece.clone(), &mut out);
        }
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(out.len());
        out.drain(..skip);
        out.truncate(usize::try_from(self.keep).unwrap_or(usize::MAX));
        Ok(out)
    }

    /// The Opus packets as they came, for a provider that takes Opus; PCM packets and holes are left out.
    pub fn opus_packets(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().filter(|piece| piece.codec == Codec::Opus && !piece.bad).map(|piece| &*piece.payload)
    }
}
