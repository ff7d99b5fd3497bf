//! Opus, by libopus: the only file that names `audiopus`.
//!
//! Both directions are mono and hold one C state each. Packets are checked by [`PacketInfo`] before the decoder
//! sees them. Nothing here knows about order, loss or time.

use audiopus::coder::{Decoder as RawDecoder, Encoder as RawEncoder, GenericCtl as _};
use audiopus::packet::Packet;
use audiopus::{Application, Bitrate, Channels, MutSignals, SampleRate};

use super::packet::{MAX_PACKET, PacketError, PacketInfo};
use crate::domain::{DOWN_FRAME_MS, DOWN_RATE, UP_RATE};

/// The longest stretch that libopus conceals in one call, milliseconds.
const CONCEAL_STEP_MS: u32 = 60;

/// What can go wrong with Opus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    /// The bytes are no Opus packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// libopus refuses the packet, or the state could not be made.
    #[error("libopus: {0}")]
    Codec(String),
    /// A setting that Opus does not have.
    #[error("opus has no {what} of {value}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// The value asked for.
        value: u32,
    },
    /// The samples given to the encoder are not one frame.
    #[error("{got} samples where one frame is {want}")]
    FrameLength {
        /// Samples given.
        got: usize,
        /// Samples in a frame.
        want: usize,
    },
}

impl From<audiopus::Error> for OpusError {
    fn from(error: audiopus::Error) -> Self {
        Self::Codec(error.to_string().to_lowercase())
    }
}

/// Opus packets to 16 kHz mono. One stream, in order; about 18 KB.
#[derive(Debug)]
pub struct Decoder {
    raw: RawDecoder,
}

impl Decoder {
    /// A fresh decoder.
    pub fn new() -> Result<Self, OpusError> {
        Ok(Self { raw: RawDecoder::new(SampleRate::Hz16000, Channels::Mono)? })
    }

    /// Decodes one packet and appends its samples, 40 to 1,920 (120 ms). Gives how many; after an error nothing
    /// was appended.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<usize, OpusError> {
        let info = PacketInfo::parse(packet)?;
        self.run(Some(packet), info.samples(UP_RATE), false, out)
    }

    /// Invents `ms` milliseconds in place of what is lost, from what came before; fades out over about 100 ms.
    pub fn conceal(&mut self, ms: u32, out: &mut Vec<i16>) -> Result<usize, OpusError> {
        let mut done = 0;
        let mut left = ms;
        while left > 0 {
            let step = left.min(CONCEAL_STEP_MS);
            done += self.run(None, whole_steps(step), false, out)?;
            left -= step;
        }
        Ok(done)
    }

    /// Rebuilds the lost packet of `ms` milliseconds right before `next` from the redundancy in `next`; where there
    /// is none this conceals. `next` itself is to be decoded afterwards.
    pub fn decode_fec(&mut self, next: &[u8], ms: u32, out: &mut Vec<i16>) -> Result<usize, OpusError> {
        PacketInfo::parse(next)?;
        self.run(Some(next), whole_steps(ms.min(120)), true, out)
    }

    /// Forgets the stream.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        Ok(self.raw.reset_state()?)
    }

    /// Size of the C state in bytes.
    pub fn size(&self) -> usize {
        self.raw.size()
    }

    fn run(&mut self, packet: Option<&[u8]>, samples: u32, fec: bool, out: &mut Vec<i16>) -> Result<usize, OpusError> {
        let packet = packet.map(Packet::try_from).transpose()?;
        let start = out.len();
        out.resize(start + samples as usize, 0);
        let decoded = MutSignals::try_from(&mut out[start..]).and_then(|room| self.raw.decode(packet, room, fec));
        // Truncated in both cases: a refused packet leaves nothing, a short one no zeros.
        out.truncate(start + decoded.as_ref().map_or(0, |n| *n));
        Ok(decoded?)
    }
}

/// Packets to samples of `rate` a second, mono; for what a device was sent.
pub fn decode_all<P: AsRef<[u8]>>(rate: u32, packets: &[P]) -> Result<Vec<i16>, OpusError> {
    let encoding = Encoding { rate, ..Encoding::up() };
    let mut raw = RawDecoder::new(encoding.sample_rate()?, Channels::Mono)?;
    let mut out = Vec::new();
    for packet in packets {
        let packet = packet.as_ref();
        let start = out.len();
        out.resize(start + PacketInfo::parse(packet)?.samples(rate) as usize, 0);
        let room = MutSignals::try_from(&mut out[start..])?;
        let length = raw.decode(Some(Packet::try_from(packet)?), room, false)?;
        out.truncate(start + length);
    }
    Ok(out)
}

/// Milliseconds as samples, rounded up to the 2.5 ms that libopus conceals in.
fn whole_steps(ms: u32) -> u32 {
    const STEP: u32 = UP_RATE / 400;
    (ms * (UP_RATE / 1_000)).next_multiple_of(STEP)
}

/// How an [`Encoder`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Samples a second of the input: 8, 12, 16, 24 or 48 kHz.
    pub rate: u32,
    /// Length of a packet in milliseconds: 10, 20, 40 or 60.
    pub frame_ms: u32,
    /// Bits a second, 6,000 to 128,000.
    pub bitrate: u32,
    /// Effort, 0 to 10; 5 costs about half of 10 and sounds the same for speech.
    pub complexity: u8,
    /// In-band redundancy for a network that loses so many percent; none at 0.
    pub loss_percent: u8,
    /// Discontinuous transmission: next to nothing is sent in silence.
    pub dtx: bool,
}

impl Encoding {
    /// What devices are sent: 24 kHz, 60 ms.
    pub fn down(bitrate: u32, complexity: u8) -> Self {
        Self { rate: DOWN_RATE, frame_ms: DOWN_FRAME_MS, bitrate, complexity, loss_percent: 0, dtx: false }
    }

    /// What devices send: 16 kHz, 60 ms, 24 kbit/s.
    pub fn up() -> Self {
        Self { rate: UP_RATE, frame_ms: 60, bitrate: 24_000, complexity: 5, loss_percent: 0, dtx: false }
    }

    /// Samples in one packet.
    pub fn frame_samples(&self) -> usize {
        (self.rate / 1_000 * self.frame_ms) as usize
    }

    fn sample_rate(&self) -> Result<SampleRate, OpusError> {
        Ok(match self.rate {
            8_000 => SampleRate::Hz8000,
            12_000 => SampleRate::Hz12000,
            16_000 => SampleRate::Hz16000,
            24_000 => SampleRate::Hz24000,
            48_000 => SampleRate::Hz48000,
            value => return Err(OpusError::Setting { what: "sample rate", value }),
        })
    }
}

/// Mono speech to Opus packets of one length.
#[derive(Debug)]
pub struct Encoder {
    raw: RawEncoder,
    encoding: Encoding,
}

impl Encoder {
    /// An encoder that works as `encoding` says.
    pub fn new(encoding: Encoding) -> Result<Self, OpusError> {
        if ![10, 20, 40, 60].contains(&encoding.frame_ms) {
            return Err(OpusError::Setting { what: "frame length in milliseconds", value: encoding.frame_ms });
        }
        let raw = RawEncoder::new(encoding.sample_rate()?, Channels::Mono, Application::Voip)?;
        let mut encoder = Self { raw, encoding };
        encoder.set_bitrate(encoding.bitrate)?;
        encoder.set_complexity(encoding.complexity)?;
        encoder.set_loss(encoding.loss_percent)?;
        encoder.raw.set_dtx(encoding.dtx)?;
        Ok(encoder)
    }

    /// How it works at present.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Changes the effort, 0 to 10, from the next packet on.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), OpusError> {
        if complexity > 10 {
            return Err(OpusError::Setting { what: "complexity", value: u32::from(complexity) });
        }
        self.raw.set_complexity(complexity)?;
        self.encoding.complexity = complexity;
        Ok(())
    }

    /// Changes the rate, bits a second, from the next packet on.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), OpusError> {
        let wrong = OpusError::Setting { what: "bitrate", value: bitrate };
        let bits = i32::try_from(bitrate).ok().filter(|bits| (6_000..=128_000).contains(bits)).ok_or(wrong)?;
        self.raw.set_bitrate(Bitrate::BitsPerSecond(bits))?;
        self.encoding.bitrate = bitrate;
        Ok(())
    }

    /// Says how lossy the network is, percent; above 0 each packet carries redundancy for the one before.
    pub fn set_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        if percent > 100 {
            return Err(OpusError::Setting { what: "loss in percent", value: u32::from(percent) });
        }
        self.raw.set_inband_fec(percent > 0)?;
        self.raw.set_packet_loss_perc(percent)?;
        self.encoding.loss_percent = percent;
        Ok(())
    }

    /// Encodes exactly one frame.
    pub fn encode(&mut self, frame: &[i16]) -> Result<Vec<u8>, OpusError> {
        let want = self.encoding.frame_samples();
        if frame.len() != want {
            return Err(OpusError::FrameLength { got: frame.len(), want });
        }
        let mut room = [0u8; MAX_PACKET];
        let length = self.raw.encode(frame, &mut room)?;
        Ok(room[..length].to_vec())
    }
}

#[cfg(test)]
#[path = "opus_tests.rs"]
mod tests;
