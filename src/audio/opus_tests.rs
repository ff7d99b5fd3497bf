//! Real packets, lost packets, silent packets, and packets that are none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is what a panic is for")]
#![allow(clippy::cast_possible_truncation, reason = "made-up numbers are in range")]

use super::*;
use crate::audio::packet::Mode;
use crate::audio::testing::{Dice, encode, human, noise, snr_db};

fn decode(packets: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = Decoder::new().unwrap();
    let mut out = Vec::new();
    for packet in packets {
        decoder.decode(packet, &mut out).unwrap();
    }
    out
}

#[test]
fn speech_survives_the_round_trip() {
    let Some(clips) = human() else { return };
    for clip in &clips {
        let packets = encode(clip, Encoding::up());
        let heard = decode(&packets);
        assert_eq!(heard.len(), clip.len().next_multiple_of(960));
        let fit = snr_db(clip, &heard, 240);
        // A speech codec keeps the sound rather than the wave: noise would be below 0.
        assert!(fit > 4.0, "{fit:.1} dB");
        let bytes: usize = packets.iter().map(Vec::len).sum();
        let rate = bytes * 8 * 16_000 / heard.len();
        assert!((12_000..32_000).contains(&rate), "{rate} bit/s");
    }
}

#[test]
fn the_parser_agrees_with_the_codec_on_every_length() {
    let pcm = noise(16_000, 3_000.0);
    for frame_ms in [10, 20, 40, 60] {
        for packet in encode(&pcm, Encoding { frame_ms, ..Encoding::up() }) {
            let info = PacketInfo::parse(&packet).unwrap();
            let mut out = Vec::new();
            let decoded = Decoder::new().unwrap().decode(&packet, &mut out).unwrap();
            assert_eq!((info.ms(), info.samples(16_000) as usize), (frame_ms, decoded));
        }
    }
}

#[test]
fn redundancy_is_seen_where_it_is_and_only_there() {
    let Some(clips) = human() else { return };
    let with = |loss_percent| {
        let packets = encode(&clips[0], Encoding { loss_percent, ..Encoding::up() });
        packets.iter().filter(|packet| PacketInfo::parse(packet).unwrap().fec).count() * 100 / packets.len()
    };
    assert_eq!(with(0), 0);
    assert!(with(25) > 50, "{} %", with(25));
}

#[test]
fn with_one_packet_in_six_lost_redundancy_beats_concealment() {
    let Some(clips) = human() else { return };
    let packets = encode(&clips[0], Encoding { loss_percent: 25, ..Encoding::up() });
    let whole = decode(&packets);
    let mut fits = Vec::new();
    for redundancy in [false, true] {
        let mut decoder = Decoder::new().unwrap();
        let mut heard = Vec::new();
        for (n, packet) in packets.iter().enumerate() {
            if n % 6 != 3 {
                decoder.decode(packet, &mut heard).unwrap();
                continue;
            }
            match packets.get(n + 1).filter(|_| redundancy) {
                Some(next) => decoder.decode_fec(next, 60, &mut heard).unwrap(),
                None => decoder.conceal(60, &mut heard).unwrap(),
            };
        }
        assert_eq!(heard.len(), whole.len());
        fits.push(snr_db(&whole, &heard, 0));
    }
    println!("one in six lost: concealed {:.1} dB, rebuilt {:.1} dB", fits[0], fits[1]);
    assert!(fits[1] > fits[0] + 5.0 && fits[1] > 6.0, "{fits:.1?}");
}

#[test]
fn a_device_that_falls_silent_sends_next_to_nothing() {
    let Some(clips) = human() else { return };
    let pcm = [clips[5].clone(), vec![0; 32_000], clips[5].clone()].concat();
    let packets = encode(&pcm, Encoding { dtx: true, ..Encoding::up() });
    let silent = packets.iter().filter(|packet| packet.len() <= 2).count();
    assert!(silent > 15, "{silent} of {}", packets.len());
    assert!(packets.iter().filter(|packet| packet.len() <= 2).all(|packet| PacketInfo::parse(packet).unwrap().dtx));
    assert_eq!(decode(&packets).len(), packets.len() * 960);
}

#[test]
fn twenty_thousand_random_packets_are_decoded_or_refused() {
    let mut dice = Dice(42);
    let mut decoder = Decoder::new().unwrap();
    let (mut decoded, mut refused) = (0, 0);
    let mut out = Vec::new();
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..dice.roll() % 300).map(|_| dice.roll() as u8).collect();
        out.clear();
        if let Ok(samples) = decoder.decode(&bytes, &mut out) {
            decoded += 1;
            assert!(samples == out.len() && (40..=1_920).contains(&samples));
        } else {
            refused += 1;
            assert!(out.is_empty());
        }
        out.clear();
        if decoder.decode_fec(&bytes, (dice.roll() % 200) as u32, &mut out).is_err() {
            assert!(out.is_empty());
        }
        assert!(out.len() <= 1_920);
    }
    assert!(decoded > 5_000 && refused > 5_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn concealment_lasts_as_long_as_was_asked() {
    let mut decoder = Decoder::new().unwrap();
    for ms in [0, 10, 60, 100, 500] {
        let mut out = Vec::new();
        assert_eq!(decoder.conceal(ms, &mut out).unwrap(), ms as usize * 16);
    }
}

#[test]
fn settings_that_opus_does_not_have_are_refused() {
    let up = Encoding::up();
    for wrong in [
        Encoding { rate: 44_100, ..up },
        Encoding { frame_ms: 30, ..up },
        Encoding { bitrate: 100, ..up },
        Encoding { complexity: 11, ..up },
        Encoding { loss_percent: 101, ..up },
    ] {
        assert!(matches!(Encoder::new(wrong), Err(OpusError::Setting { .. })), "{wrong:?}");
    }
    let mut encoder = Encoder::new(up).unwrap();
    assert_eq!(encoder.encode(&[0; 959]), Err(OpusError::FrameLength { got: 959, want: 960 }));
    encoder.set_complexity(0).unwrap();
    assert_eq!(encoder.encoding().complexity, 0);
    let info = PacketInfo::parse(&encoder.encode(&noise(960, 3_000.0)).unwrap()).unwrap();
    assert_ne!(info.mode, Mode::Celt, "speech mode keeps redundancy possible");
}
