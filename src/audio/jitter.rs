//! The jitter window: audio packets back in the order of their numbers, holes named.
//!
//! Numbers are compared as RFC 1982 has it, so a wrap-around is no event. It never waits by a clock: a hole is
//! given up when a later packet is far enough ahead. It knows nothing of codecs.

use serde::{Deserialize, Serialize};

use crate::domain::{AudioPacket, Problem};

/// How packets reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Over one authenticated connection (TCP, TLS, WebSocket): a hole never fills, so nothing waits, and two
    /// consecutive low numbers mean that the firmware started anew.
    #[default]
    Ordered,
    /// As datagrams: packets overtake each other, and the window never moves back (an old recording sent again
    /// must not be heard).
    Datagrams,
}

/// `[voice.jitter]`: putting packets back in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Datagrams only: a missing packet is given up when one more than so many packets ahead of it has come.
    /// Over a connection nothing is ever waited for. Packets, 0 to 32; default 3.
    pub depth: u32,
    /// A number further ahead than this is believed only when the next packet confirms it. Packets, 64 to 100000;
    /// default 1000.
    pub jump: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { depth: 3, jump: 1_000 }
    }
}

impl Settings {
    /// What is wrong with the settings at `path`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.depth > 32 {
            problems.push(Problem::new(format!("{path}.depth"), "more than 32 packets", "use 0 to 32"));
        }
        if !(64..=100_000).contains(&self.jump) {
            problems.push(Problem::new(format!("{path}.jump"), "outside 64 to 100000", "leave it at 1000"));
        }
        problems
    }
}

/// What comes out of the window, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The next packet.
    Packet(AudioPacket),
    /// So many packets in a row never came.
    Lost(u32),
}

/// What the window has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets handed on.
    pub received: u64,
    /// Packets given up.
    pub lost: u64,
    /// Packets that came a second time; dropped.
    pub duplicate: u64,
    /// Packets that came after they were given up; dropped.
    pub late: u64,
    /// Times that the window jumped or started anew.
    pub resets: u64,
}

/// One stream's window. At most `depth` packets wait in it.
#[derive(Debug)]
pub struct Jitter {
    path: Path,
    depth: u32,
    jump: u32,
    /// The number that is to be handed on next; none before the first packet.
    next: Option<u32>,
    /// Bit n: number `next - 1 - n` was received. Tells a duplicate from a latecomer.
    seen: u64,
    waiting: Vec<AudioPacket>,
    suspect: Option<AudioPacket>,
    stats: Stats,
}

/// How far `to` is ahead of `from`, negative behind (RFC 1982, 32 bits).
fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

impl Jitter {
    /// An empty window.
    pub fn new(settings: &Settings, path: Path) -> Self {
        Self {
            path,
            depth: if path == Path::Ordered { 0 } else { settings.depth.min(32) },
            jump: settings.jump.max(64),
            next: None,
            seen: 0,
            waiting: Vec::new(),
            suspect: None,
            stats: Stats::default(),
        }
    }

    /// What it has seen.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Takes a packet; what is now in order is appended to `out`.
    pub fn push(&mut self, packet: AudioPacket, out: &mut Vec<Slot>) {
        let next = *self.next.get_or_insert_with(|| first_number(packet.seq, self.depth));
        let ahead = distance(next, packet.seq);
        if ahead < 0 {
            self.low(packet, ahead, out);
        } else if ahead.unsigned_abs() > self.jump {
            self.far(packet, out);
        } else {
            self.suspect = None;
            self.insert(packet);
            self.drain(self.depth, out);
        }
    }

    /// Hands on all that still waits, holes named: the utterance is over.
    pub fn flush(&mut self, out: &mut Vec<Slot>) {
        self.suspect = None;
        while !self.waiting.is_empty() {
            self.skip_hole(out);
            self.ready(out);
        }
    }

    fn insert(&mut self, packet: AudioPacket) {
        let next = self.next.unwrap_or(packet.seq);
        let key = packet.seq.wrapping_sub(next);
        match self.waiting.binary_search_by_key(&key, |held| held.seq.wrapping_sub(next)) {
            Ok(_) => self.stats.duplicate += 1,
            Err(at) => self.waiting.insert(at, packet),
        }
    }

    /// Hands on what is in order, and gives up holes that the newest packet is more than `depth` ahead of.
    fn drain(&mut self, depth: u32, out: &mut Vec<Slot>) {
        self.ready(out);
        while let (Some(next), Some(newest)) = (self.next, self.waiting.last()) {
            if newest.seq.wrapping_sub(next) <= depth {
                break;
            }
            self.skip_hole(out);
            self.ready(out);
        }
    }

    fn ready(&mut self, out: &mut Vec<Slot>) {
        let Some(mut next) = self.next else { return };
        let run = self
            .waiting
            .iter()
            .enumerate()
            .take_while(|(n, held)| u32::try_from(*n).is_ok_and(|n| held.seq == next.wrapping_add(n)));
        let run = run.count();
        for packet in self.waiting.drain(..run) {
            out.push(Slot::Packet(packet));
            next = next.wrapping_add(1);
            self.seen = self.seen << 1 | 1;
            self.stats.received += 1;
        }
        self.next = Some(next);
    }

    fn skip_hole(&mut self, out: &mut Vec<Slot>) {
        let (Some(next), Some(first)) = (self.next, self.waiting.first()) else { return };
        let hole = first.seq.wrapping_sub(next);
        if hole > 0 {
            out.push(Slot::Lost(hole));
            self.stats.lost += u64::from(hole);
            self.seen = self.seen.checked_shl(hole).unwrap_or(0);
            self.next = Some(first.seq);
        }
    }

    /// A number that has passed: a duplicate, a latecomer, or firmware that counts from the start again.
    fn low(&mut self, packet: AudioPacket, ahead: i32, out: &mut Vec<Slot>) {
        let back = ahead.unsigned_abs() - 1;
        let duplicate = self.seen.checked_shr(back).unwrap_or(0) & 1 == 1;
        if duplicate {
            self.stats.duplicate += 1;
        } else {
            self.stats.late += 1;
        }
        if self.path == Path::Datagrams {
            return;
        }
        match self.suspect.take() {
            Some(before) if packet.seq == before.seq.wrapping_add(1) => self.restart(before, packet, out),
            _ => self.suspect = Some(packet),
        }
    }

    /// A number far ahead: believed when the next packet lies right after it.
    fn far(&mut self, packet: AudioPacket, out: &mut Vec<Slot>) {
        match self.suspect.take() {
            Some(before) if (1..=64).contains(&distance(before.seq, packet.seq)) => self.restart(before, packet, out),
            _ => self.suspect = Some(packet),
        }
    }

    fn restart(&mut self, before: AudioPacket, packet: AudioPacket, out: &mut Vec<Slot>) {
        self.flush(out);
        self.stats.resets += 1;
        self.seen = 0;
        self.next = Some(before.seq);
        self.insert(before);
        self.insert(packet);
        self.drain(self.depth, out);
    }
}

/// Where a window starts: at the first packet, but for datagrams at number 1 when that may still be on its way.
fn first_number(seq: u32, depth: u32) -> u32 {
    if seq > 1 && seq - 1 <= depth { 1 } else { seq }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Codec;

    fn packet(seq: u32) -> AudioPacket {
        AudioPacket { codec: Codec::Opus, seq, ts_ms: 0, last: false, speech: None, listen: 0, payload: Bytes::new() }
    }

    /// Plays `numbers`; a lost packet is written as 0.
    fn play(jitter: &mut Jitter, numbers: &[u32]) -> Vec<u32> {
        let mut out = Vec::new();
        for seq in numbers {
            jitter.push(packet(*seq), &mut out);
        }
        jitter.flush(&mut out);
        out.into_iter()
            .flat_map(|slot| match slot {
                Slot::Packet(packet) => vec![packet.seq],
                Slot::Lost(n) => vec![0; n as usize],
            })
            .collect()
    }

    fn ordered() -> Jitter {
        Jitter::new(&Settings::default(), Path::Ordered)
    }

    fn datagrams(depth: u32) -> Jitter {
        Jitter::new(&Settings { depth, ..Settings::default() }, Path::Datagrams)
    }

    #[test]
    fn on_a_connection_a_hole_is_named_at_once() {
        let mut jitter = ordered();
        let mut out = Vec::new();
        for seq in [1, 2, 5] {
            jitter.push(packet(seq), &mut out);
        }
        assert_eq!(out[2..], [Slot::Lost(2), Slot::Packet(packet(5))]);
    }

    #[test]
    fn datagrams_that_overtook_each_other_are_put_back() {
        assert_eq!(play(&mut datagrams(3), &[2, 1, 4, 5, 3, 6]), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_datagram_is_given_up_when_one_beyond_the_depth_has_come_and_not_before() {
        let mut jitter = datagrams(2);
        let mut out = Vec::new();
        for seq in [1, 3, 4] {
            jitter.push(packet(seq), &mut out);
        }
        assert_eq!(out, [Slot::Packet(packet(1))]);
        jitter.push(packet(5), &mut out);
        assert_eq!(out.len(), 5);
        assert_eq!(out[1], Slot::Lost(1));
        jitter.push(packet(2), &mut out);
        assert_eq!((out.len(), jitter.stats().late, jitter.stats().duplicate), (5, 1, 0));
    }

    #[test]
    fn a_duplicate_is_dropped_and_told_from_a_latecomer() {
        let mut jitter = datagrams(0);
        assert_eq!(play(&mut jitter, &[1, 2, 2, 4, 3, 4, 1, 5]), [1, 2, 0, 4, 5]);
        assert_eq!((jitter.stats().duplicate, jitter.stats().late, jitter.stats().lost), (3, 1, 1));
    }

    #[test]
    fn numbers_wrap_around() {
        assert_eq!(play(&mut ordered(), &[u32::MAX - 1, u32::MAX, 1, 2]), [u32::MAX - 1, u32::MAX, 0, 1, 2]);
        assert_eq!(play(&mut datagrams(2), &[u32::MAX, 1, 0, 2]), [u32::MAX, 0, 1, 2]);
    }

    #[test]
    fn one_wild_number_deafens_nobody() {
        assert_eq!(play(&mut ordered(), &[1, 2, 900_000, 3, 4]), [1, 2, 3, 4]);
        let mut jitter = ordered();
        assert_eq!(play(&mut jitter, &[1, 2, 900_000, 900_001, 900_002]), [1, 2, 900_000, 900_001, 900_002]);
        assert_eq!((jitter.stats().resets, jitter.stats().lost), (1, 0));
    }

    #[test]
    fn firmware_that_starts_anew_is_heard_from_its_second_packet_on() {
        let mut jitter = ordered();
        assert_eq!(play(&mut jitter, &[500, 501, 1, 2, 3]), [500, 501, 1, 2, 3]);
        assert_eq!(play(&mut ordered(), &[500, 501, 7, 502]), [500, 501, 502]);
    }

    #[test]
    fn datagrams_sent_again_are_never_heard_again() {
        let mut jitter = datagrams(3);
        let recording: Vec<u32> = (1..=200).collect();
        assert_eq!(play(&mut jitter, &recording), recording);
        assert!(play(&mut jitter, &recording).is_empty());
        assert!(play(&mut jitter, &[7, 8, 7, 8]).is_empty());
    }

    proptest! {
        #[test]
        fn what_comes_out_is_in_order_once_and_adds_up(
            start in any::<u32>(), depth in 0u32..8, moves in proptest::collection::vec((0u32..40, any::<bool>()), 1..200)
        ) {
            let mut jitter = datagrams(depth);
            let mut out = Vec::new();
            let mut at = start;
            for (back, drop) in &moves {
                at = at.wrapping_add(1);
                if !drop {
                    jitter.push(packet(at.wrapping_sub(back % 6)), &mut out);
                }
                prop_assert!(jitter.waiting.len() <= depth as usize);
            }
            jitter.flush(&mut out);
            let mut expected: Option<u32> = None;
            for slot in &out {
                match slot {
                    Slot::Packet(packet) => {
                        prop_assert!(expected.is_none_or(|seq| seq == packet.seq));
                        expected = Some(packet.seq.wrapping_add(1));
                    }
                    Slot::Lost(n) => expected = expected.map(|seq| seq.wrapping_add(*n)),
                }
            }
            let stats = jitter.stats();
            let kept = moves.iter().filter(|(_, drop)| !drop).count() as u64;
            prop_assert_eq!(stats.received + stats.duplicate + stats.late, kept);
        }

        #[test]
        fn any_numbers_are_taken_without_growth(numbers in proptest::collection::vec(any::<u32>(), 0..300), ordered_path in any::<bool>()) {
            let mut jitter = if ordered_path { ordered() } else { datagrams(5) };
            let mut out = Vec::new();
            for seq in numbers {
                jitter.push(packet(seq), &mut out);
                prop_assert!(jitter.waiting.len() <= 5);
            }
        }
    }
}
