//! Audio as datagrams, as stock xiaozhi firmware sends and takes it beside MQTT.
//!
//! 16 bytes of header, big-endian (type, flags, length of the payload, ssrc, timestamp, sequence), then one Opus packet,
//! enciphered with AES-128 in counter mode. The header is in clear and is the initial counter block, 128 bits big-endian;
//! both ways share one key. Nothing authenticates a datagram: [`Cipher::open`] says no more than that a packet begins as
//! one of speech does. It must not know sockets, addresses or which numbers were seen.

use std::fmt;

use aes::Aes128Enc;
use bytes::{BufMut, Bytes, BytesMut};
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher};
use ctr::{Ctr128BE, CtrCore, flavors};

use super::MAX_OPUS;

/// Length of the header, in bytes.
pub const HEADER: usize = 16;
/// The only type of datagram that firmware knows.
const AUDIO: u8 = 1;
/// The longest packet that firmware sends, in microseconds.
const MAX_US: u32 = 60_000;

/// Why bytes are no datagram of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// Shorter than a header, or of another length than the header says.
    #[error("not as long as its header says")]
    Length,
    /// Of a type that nobody knows.
    #[error("not of type 1")]
    Kind,
    /// What was deciphered is no Opus packet of one channel and at most 60 ms.
    #[error("no opus packet of one channel and at most 60 ms")]
    Format,
}

/// What a datagram says in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which channel.
    pub ssrc: u32,
    /// Milliseconds; 0 in what most firmware sends.
    pub ts_ms: u32,
    /// Number in its direction, from 1.
    pub seq: u32,
}

impl Header {
    /// Reads the header of a whole datagram; total on any bytes, allocates nothing.
    pub fn read(datagram: &[u8]) -> Result<Self, Unfit> {
        let (head, payload) = datagram.split_first_chunk::<HEADER>().ok_or(Unfit::Length)?;
        if head[0] != AUDIO {
            return Err(Unfit::Kind);
        }
        if payload.len() != usize::from(u16::from_be_bytes([head[2], head[3]])) {
            return Err(Unfit::Length);
        }
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Ok(Self { ssrc: word(4), ts_ms: word(8), seq: word(12) })
    }

    /// Writes the header of a payload of `length` bytes.
    pub fn write(&self, length: u16) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        head[0] = AUDIO;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        head[4..8].copy_from_slice(&self.ssrc.to_be_bytes());
        head[8..12].copy_from_slice(&self.ts_ms.to_be_bytes());
        head[12..].copy_from_slice(&self.seq.to_be_bytes());
        head
    }
}

/// The template of a channel's headers, as the answer to a hello carries it: clients copy it and fill in the rest, so its
/// first byte has to be the type.
pub fn template(ssrc: u32) -> [u8; HEADER] {
    Header { ssrc, ts_ms: 0, seq: 0 }.write(0)
}

/// A channel's key, made ready: 176 bytes.
pub struct Cipher(Aes128Enc);

impl Cipher {
    /// Makes a key ready.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Aes128Enc::new(key.into()))
    }

    /// Deciphers the payload of a datagram that [`Header::read`] took: the packet, and how long it sounds in microseconds.
    pub fn open(&self, datagram: &[u8]) -> Result<(Bytes, u32), Unfit> {
        let (head, payload) = datagram.split_first_chunk::<HEADER>().ok_or(Unfit::Length)?;
        if payload.is_empty() || payload.len() > MAX_OPUS {
            return Err(Unfit::Format);
        }
        let mut packet = payload.to_vec();
        self.apply(head, &mut packet);
        let us = speech_us(&packet).ok_or(Unfit::Format)?;
        Ok((packet.into(), us))
    }

    /// Makes a datagram of a packet; none where the packet is longer than Opus packets are.
    pub fn seal(&self, header: Header, packet: &[u8]) -> Option<Bytes> {
        let length = u16::try_from(packet.len()).ok().filter(|length| usize::from(*length) <= MAX_OPUS)?;
        let head = header.write(length);
        let mut datagram = BytesMut::with_capacity(HEADER + packet.len());
        datagram.put_slice(&head);
        datagram.put_slice(packet);
        self.apply(&head, &mut datagram[HEADER..]);
        Some(datagram.freeze())
    }

    fn apply(&self, head: &[u8; HEADER], text: &mut [u8]) {
        let counter = CtrCore::<&Aes128Enc, flavors::Ctr128BE>::inner_iv_init(&self.0, head.into());
        Ctr128BE::from_core(counter).apply_keystream(text);
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

/// How long a packet sounds, in microseconds, when it begins as one of a microphone: one channel, at most 60 ms (RFC 6716
/// section 3.1). A packet of one byte is a sender's silence. What follows the first bytes is the decoder's to judge.
fn speech_us(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let frame_us = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let mono = toc & 4 == 0;
    Some(frames * frame_us).filter(|us| mono && (1..=MAX_US).contains(us))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn what_openssl_enciphers_is_deciphered_and_enciphered_the_same() {
        let vectors = include_str!("../../../tests/data/xiaozhi/datagrams.txt");
        let mut seen = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let [key, head, plain, secret] = line.split(' ').map(bytes).collect::<Vec<_>>().try_into().unwrap();
            let cipher = Cipher::new(&key.try_into().unwrap());
            let datagram = [head, secret].concat();
            let header = Header::read(&datagram).unwrap();
            assert_eq!(cipher.open(&datagram).unwrap(), (Bytes::from(plain.clone()), 60_000), "{line}");
            assert_eq!(cipher.seal(header, &plain).unwrap(), datagram, "{line}");
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn the_template_has_the_type_and_the_ssrc_and_nothing_else() {
        assert_eq!(template(0xdead_beef), [1, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_datagram_of_another_length_or_type_is_named_so() {
        let cipher = Cipher::new(&[7; 16]);
        let header = Header { ssrc: 5, ts_ms: 0, seq: 9 };
        let good = cipher.seal(header, &[0x58, 1, 2]).unwrap();
        assert_eq!(Header::read(&good), Ok(header));
        assert_eq!(Header::read(&good[..18]), Err(Unfit::Length));
        assert_eq!(Header::read(&[&good[..], &[0]].concat()), Err(Unfit::Length));
        assert_eq!(Header::read(&good[..15]), Err(Unfit::Length));
        assert_eq!(Header::read(&[]), Err(Unfit::Length));
        for kind in [0, 2, 0x30, 0xff] {
            let mut other = good.to_vec();
            other[0] = kind;
            assert_eq!(Header::read(&other), Err(Unfit::Kind));
        }
    }

    #[test]
    fn only_packets_of_one_channel_and_at_most_60_ms_are_speech() {
        for (good, ms) in [
            (&[0x58][..], 60),
            (&[0x58, 0xff, 0xfe], 60),
            (&[0x48, 1, 2], 20),
            (&[0x4b, 3, 1, 2, 3], 60),
            (&[0x41, 1, 2], 20),
            (&[0xfb, 1], 20),
        ] {
            assert_eq!(speech_us(good), Some(ms * 1_000), "{good:02x?}");
        }
        // empty; two channels; twice 60 ms; no frame; no count; four of 20 ms; 63 of 2.5 ms
        for bad in [&[][..], &[0x5c, 1], &[0x59, 1, 2], &[0x4b, 0, 1], &[0x4b], &[0x4b, 4, 1, 2, 3, 4], &[0xe3, 63, 1]]
        {
            assert_eq!(speech_us(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn a_packet_longer_than_opus_ones_are_is_neither_sent_nor_taken() {
        let cipher = Cipher::new(&[7; 16]);
        let header = Header { ssrc: 5, ts_ms: 0, seq: 9 };
        assert!(cipher.seal(header, &[0x58; 1_275]).is_some());
        assert_eq!(cipher.seal(header, &[0x58; 1_276]), None);
        let mut long = header.write(1_276).to_vec();
        long.extend([0; 1_276]);
        assert_eq!(Header::read(&long), Ok(header));
        assert_eq!(cipher.open(&long), Err(Unfit::Format));
        assert_eq!(cipher.open(&header.write(0)), Err(Unfit::Format));
    }

    #[test]
    fn a_key_is_in_no_debug_text() {
        assert_eq!(format!("{:?}", Cipher::new(&[0x41; 16])), "Cipher");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(datagram in proptest::collection::vec(any::<u8>(), 0..1_600)) {
            let cipher = Cipher::new(&[3; 16]);
            if let Ok(header) = Header::read(&datagram) {
                let length = u16::try_from(datagram.len() - HEADER).unwrap();
                prop_assert_eq!(&header.write(length)[2..], &datagram[2..HEADER]);
            }
            let opened = cipher.open(&datagram);
            prop_assert!(opened.is_err() || opened.is_ok_and(|(packet, us)| packet.len() + HEADER == datagram.len() && us > 0));
        }

        #[test]
        fn what_is_sealed_opens_again(
            key: [u8; 16], ssrc: u32, ts_ms: u32, seq: u32, rest in proptest::collection::vec(any::<u8>(), 0..1_274),
        ) {
            let (cipher, header) = (Cipher::new(&key), Header { ssrc, ts_ms, seq });
            let packet = [vec![0x58], rest].concat();
            let datagram = cipher.seal(header, &packet).unwrap();
            prop_assert_eq!(Header::read(&datagram), Ok(header));
            prop_assert_eq!(cipher.open(&datagram).unwrap(), (Bytes::from(packet), 60_000));
        }
    }
}
