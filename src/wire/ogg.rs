//! Ogg Opus (RFC 3533, RFC 7845), written: for providers that take it, and for speech that is saved.
//!
//! Mono. It must not know how to decode: packets go in as they are.

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::OpusFrame;

/// Samples a second of granule positions, whatever the audio's rate is.
const GRANULES_PER_MS: u64 = 48;
/// What libopus' encoder looks ahead, in samples at 48 kHz: a player skips so many.
const PRE_SKIP: u16 = 312;
/// A page is closed after so many milliseconds, as players seek by pages.
const PAGE_MS: u64 = 1_000;
/// Most lacing values of a page.
const MAX_SEGMENTS: usize = 255;

const BEGIN: u8 = 0x02;
const END: u8 = 0x04;

/// A packet that is longer than a page can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an opus packet of {0} bytes does not fit a page")]
pub struct PacketTooLong(pub usize);

/// Writes one stream, page by page.
#[derive(Debug)]
pub struct OggWriter {
    serial: u32,
    page: u32,
    /// End of the last packet in samples at 48 kHz, the skipped ones included.
    granule: u64,
    page_began: u64,
    segments: Vec<u8>,
    body: Vec<u8>,
    out: BytesMut,
}

impl OggWriter {
    /// Begins a stream. `serial` tells streams of one file apart (any number will do), `rate` is that of the
    /// microphone, for information only.
    pub fn new(serial: u32, rate: u32) -> Self {
        let mut writer = Self {
            serial,
            page: 0,
            granule: 0,
            page_began: 0,
            segments: Vec::with_capacity(MAX_SEGMENTS),
            body: Vec::new(),
            out: BytesMut::new(),
        };
        writer.header(&head(rate), BEGIN);
        writer.header(&tags(), 0);
        writer
    }

    /// Adds a packet.
    pub fn push(&mut self, frame: &OpusFrame) -> Result<(), PacketTooLong> {
        // a length that is a multiple of 255 ends with a lacing value of 0
        let lacing = frame.packet.len() / 255 + 1;
        if lacing > MAX_SEGMENTS {
            return Err(PacketTooLong(frame.packet.len()));
        }
        let full = self.segments.len() + lacing > MAX_SEGMENTS;
        if full || self.granule - self.page_began >= PAGE_MS * GRANULES_PER_MS {
            self.close_page(0);
        }
        self.lace(&frame.packet);
        self.granule += u64::from(frame.ms) * GRANULES_PER_MS;
        Ok(())
    }

    /// Takes what is written so far: whole pages.
    pub fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Ends the stream and gives what was not taken yet.
    pub fn finish(mut self) -> Bytes {
        self.close_page(END);
        self.out.freeze()
    }

    fn header(&mut self, packet: &[u8], flags: u8) {
        self.lace(packet);
        self.close_page(flags);
    }

    fn lace(&mut self, packet: &[u8]) {
        self.segments.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.segments.push(u8::try_from(packet.len() % 255).unwrap_or(0));
        self.body.extend_from_slice(packet);
    }

    fn close_page(&mut self, flags: u8) {
        let start = self.out.len();
        self.out.put_slice(b"OggS\0");
        self.out.put_u8(flags);
        self.out.put_u64_le(self.granule);
        self.out.put_u32_le(self.serial);
        self.out.put_u32_le(self.page);
        self.out.put_u32_le(0);
        self.out.put_u8(u8::try_from(self.segments.len()).unwrap_or(u8::MAX));
        self.out.put_slice(&self.segments);
        self.out.put_slice(&self.body);
        let crc = checksum(&self.out[start..]);
        self.out[start + 22..start + 26].copy_from_slice(&crc.to_le_bytes());
        self.page += 1;
        self.page_began = self.granule;
        self.segments.clear();
        self.body.clear();
    }
}

/// All `frames` as one file. Packets that cannot be written are left out: there are none within the limits of
/// the wire.
pub fn file<'f>(frames: impl IntoIterator<Item = &'f OpusFrame>, serial: u32, rate: u32) -> Bytes {
    let mut writer = OggWriter::new(serial, rate);
    for frame in frames {
        let _ = writer.push(frame);
    }
    writer.finish()
}

fn head(rate: u32) -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.put_u8(1);
    head.put_u8(1);
    head.put_u16_le(PRE_SKIP);
    head.put_u32_le(rate);
    head.put_i16_le(0);
    head.put_u8(0);
    head
}

fn tags() -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    let vendor = b"voxgate";
    tags.put_u32_le(7);
    tags.put_slice(vendor);
    tags.put_u32_le(0);
    tags
}

/// Ogg's CRC-32: polynomial 0x04C11DB7, nothing reflected, nothing inverted.
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 24).to_be_bytes()[3] ^ byte)])
}

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "at is below 256")]
        let mut crc = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04C1_1DB7 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that fails shall say where")]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// 20 ms of digital silence.
    fn silence() -> OpusFrame {
        OpusFrame { packet: Bytes::from_static(&[0xF8, 0xFF, 0xFE]), ms: 20 }
    }

    /// The pages of a file: flags, granule position, packets. Checks the checksums on the way.
    fn pages(mut file: &[u8]) -> Vec<(u8, u64, Vec<Vec<u8>>)> {
        let mut pages = Vec::new();
        while !file.is_empty() {
            assert_eq!(&file[..5], b"OggS\0");
            let segments = usize::from(file[26]);
            let length: usize = file[27..27 + segments].iter().map(|s| usize::from(*s)).sum();
            let (page, rest) = file.split_at(27 + segments + length);
            let mut blank = page.to_vec();
            blank[22..26].fill(0);
            assert_eq!(checksum(&blank).to_le_bytes(), page[22..26]);
            assert_eq!(u32::from_le_bytes(page[18..22].try_into().unwrap()) as usize, pages.len());
            let (mut packets, mut open, mut at) = (Vec::new(), Vec::new(), 27 + segments);
            for lacing in &page[27..27 + segments] {
                open.extend_from_slice(&page[at..at + usize::from(*lacing)]);
                at += usize::from(*lacing);
                if *lacing < 255 {
                    packets.push(std::mem::take(&mut open));
                }
            }
            assert!(open.is_empty(), "a packet goes on beyond its page");
            pages.push((page[5], u64::from_le_bytes(page[6..14].try_into().unwrap()), packets));
            file = rest;
        }
        pages
    }

    #[test]
    fn the_checksum_is_oggs() {
        // the check value of CRC-32/MPEG-2 with an initial value of 0, from the catalogue's polynomial
        assert_eq!(checksum(&[1]), 0x04C1_1DB7);
        assert_eq!(checksum(b"123456789"), 0x89A1_897F);
    }

    #[test]
    fn a_packet_that_fits_no_page_is_refused() {
        let mut writer = OggWriter::new(1, 16_000);
        let long = |n| OpusFrame { packet: vec![0; n].into(), ms: 20 };
        assert_eq!(writer.push(&long(255 * 255)), Err(PacketTooLong(65_025)));
        assert_eq!(writer.push(&long(255 * 255 - 1)), Ok(()));
    }

    #[test]
    fn a_stream_without_packets_still_ends() {
        let pages = pages(&OggWriter::new(1, 16_000).finish());
        assert_eq!(pages.iter().map(|p| p.0).collect::<Vec<_>>(), [BEGIN, 0, END]);
    }

    #[test]
    fn pages_can_be_taken_while_the_stream_goes_on() {
        let mut writer = OggWriter::new(1, 16_000);
        let mut all = writer.take().to_vec();
        assert_eq!(pages(&all).len(), 2);
        for _ in 0..120 {
            writer.push(&silence()).unwrap();
            all.extend_from_slice(&writer.take());
        }
        assert_eq!(pages(&all).len(), 4);
        all.extend_from_slice(&writer.finish());
        let last = pages(&all).pop().unwrap();
        assert_eq!((last.0, last.1), (END, 120 * 960));
    }

    #[test]
    fn a_foreign_decoder_hears_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (ogg, wav) = (dir.path().join("a.opus"), dir.path().join("a.wav"));
        std::fs::write(&ogg, file(&vec![silence(); 150], 7, 16_000)).unwrap();
        match Command::new("opusdec").arg("--rate").arg("48000").arg(&ogg).arg(&wav).output() {
            Err(error) => eprintln!("skipped: no opusdec here ({error}); Debian has it in opus-tools"),
            Ok(run) => {
                assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
                let heard = hound::WavReader::open(&wav).unwrap();
                assert_eq!(heard.duration(), 150 * 960 - u32::from(PRE_SKIP));
                assert!(!String::from_utf8_lossy(&run.stderr).to_lowercase().contains("warning"));
            }
        }
    }

    proptest! {
        #[test]
        fn every_packet_is_in_the_file_in_order(
            lengths in proptest::collection::vec(prop_oneof![0usize..700, Just(255), Just(510), Just(1_275)], 0..200),
            ms in prop_oneof![Just(10u32), Just(20), Just(60)],
        ) {
            let frames: Vec<_> = lengths
                .iter()
                .map(|n| OpusFrame { packet: vec![u8::try_from(n % 256).unwrap(); *n].into(), ms })
                .collect();
            let pages = pages(&file(&frames, 1, 16_000));
            let packets: Vec<_> = pages[2..].iter().flat_map(|p| p.2.clone()).collect();
            prop_assert_eq!(packets, frames.iter().map(|f| f.packet.to_vec()).collect::<Vec<_>>());
            let end = frames.len() as u64 * u64::from(ms) * 48;
            prop_assert_eq!(pages.last().map(|p| (p.0, p.1)), Some((END, end)));
            prop_assert!(pages.windows(2).all(|w| w[0].1 <= w[1].1));
        }
    }
}
