//! The rules of one channel, datagram by datagram, without a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;
use crate::wire::xiaozhi::datagram::HEADER;

const KEY: [u8; 16] = [0x5a; 16];
const SSRC: u32 = 0xdead_beef;
const HOLD: Duration = Duration::from_secs(2);
const FRAME: u64 = 60;

fn address(port: u16) -> Route {
    Route { peer: SocketAddr::from(([192, 168, 1, 20], port)), local: None }
}

/// A channel and a clock; what was taken is told by number.
struct Bench {
    channel: Channel,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        Self { channel: Channel::new(SSRC, &KEY, Duration::ZERO), now: Duration::ZERO }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn bytes(&mut self, datagram: &[u8], from: u16) -> (Result<Option<Moved>, Cause>, Vec<u32>) {
        let mut out = Vec::new();
        let header = Header::read(datagram).unwrap();
        let judged = self.channel.receive((header, datagram), address(from), (self.now, HOLD), &mut out);
        (judged, out.into_iter().map(|packet| packet.seq).collect())
    }

    /// A datagram as the device makes it.
    fn hears(&mut self, seq: u32, from: u16) -> (Result<Option<Moved>, Cause>, Vec<u32>) {
        self.bytes(&datagram(seq), from)
    }

    /// It counts at once, and only it.
    fn takes(&mut self, seq: u32, from: u16) {
        let (judged, taken) = self.hears(seq, from);
        assert!(judged.is_ok() && taken == [seq], "{seq}: {judged:?}, {taken:?}");
    }

    fn drops(&mut self, seq: u32, from: u16, cause: Cause) {
        assert_eq!(self.hears(seq, from), (Err(cause), vec![]), "{seq}");
    }

    /// Where its frames go.
    fn sends_to(&mut self) -> Option<u16> {
        self.channel.seal(&[0x58], self.now).ok().map(|(route, _)| route.peer.port())
    }
}

fn datagram(seq: u32) -> Bytes {
    Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq }, &[0x58, 1, 2, 3]).unwrap()
}

/// As somebody makes it who read the ssrc on the wire but has no key.
fn forged(seq: u32, secret: &[u8]) -> Vec<u8> {
    let length = u16::try_from(secret.len()).unwrap();
    [&Header { ssrc: SSRC, ts_ms: 0, seq }.write(length)[..], secret].concat()
}

#[test]
fn the_first_datagram_that_fits_says_where_the_device_is() {
    let mut bench = Bench::new();
    assert_eq!(bench.channel.seal(&[0x58], Duration::ZERO), Err(Unsent::NoAddress));
    let (judged, taken) = bench.hears(1, 7_000);
    assert_eq!(judged, Ok(Some(Moved { from: None, to: address(7_000).peer })));
    assert_eq!(taken, [1]);
    assert_eq!(bench.sends_to(), Some(7_000));
}

#[test]
fn what_deciphers_to_something_else_than_speech_teaches_no_address_and_takes_no_number() {
    let mut bench = Bench::new();
    let stereo = Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq: 1 }, &[0x5c, 1, 2]).unwrap();
    let long = Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq: 1 }, &[0x59, 1, 2]).unwrap();
    for bad in [&stereo[..], &long, &forged(1, &[])] {
        assert_eq!(bench.bytes(bad, 6_666), (Err(Cause::Format), vec![]));
    }
    assert_eq!(bench.sends_to(), None);
    bench.takes(1, 7_000);
}

#[test]
fn silence_of_one_to_three_bytes_is_speech_too() {
    let mut bench = Bench::new();
    for (seq, packet) in [(1, &[0x58][..]), (2, &[0x58, 0xff]), (3, &[0x58, 0xff, 0xfe])] {
        let datagram = Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq }, packet).unwrap();
        assert_eq!(bench.bytes(&datagram, 7_000).1, [seq]);
        bench.wait(400);
    }
}

#[test]
fn loss_and_reordering_lose_nothing_that_came_and_nothing_counts_twice() {
    let mut bench = Bench::new();
    for seq in [1, 2, 5, 3, 9, 8] {
        bench.takes(seq, 7_000);
    }
    for seq in [1, 2, 5, 3, 9, 8] {
        bench.drops(seq, 7_000, Cause::Replay);
    }
    bench.takes(4, 7_000);
    bench.takes(60, 7_000);
    bench.takes(120, 7_000);
    bench.drops(6, 7_000, Cause::Late);
    bench.takes(119, 7_000);
}

#[test]
fn a_recorded_session_sent_again_is_never_heard_again() {
    let mut bench = Bench::new();
    // as it was: loss, reordering, a gap of seconds that had to be confirmed, another address in the end
    let mut record: Vec<u32> = (1..=200).filter(|seq| seq % 11 != 0).collect();
    record.swap(20, 23);
    record.extend(400..=500);
    for seq in record.clone() {
        let _ = bench.hears(seq, 7_000);
        bench.wait(FRAME);
    }
    bench.wait(2_500);
    for seq in 501..=510 {
        let _ = bench.hears(seq, 7_100);
        record.push(seq);
        bench.wait(FRAME);
    }
    assert_eq!(bench.sends_to(), Some(7_100));
    // at once, and after all addresses have been silent for long
    for pause in [0, 10_000] {
        for from in [7_100, 7_000, 6_666] {
            let singly = record.iter().map(|seq| vec![*seq]);
            let pairs = record.windows(2).map(<[u32]>::to_vec);
            let backwards = std::iter::once(record.iter().rev().copied().collect());
            for part in std::iter::once(record.clone()).chain(singly).chain(pairs).chain(backwards) {
                bench.wait(pause);
                for seq in part {
                    let (judged, taken) = bench.hears(seq, from);
                    assert!(judged.is_err() && taken.is_empty(), "{seq} from {from} after {pause}: {judged:?}");
                }
            }
        }
    }
    assert_eq!(bench.sends_to(), Some(7_100));
    bench.takes(511, 7_100);
}

#[test]
fn one_wild_number_deafens_nobody() {
    for wild in [65, 1_000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut bench = Bench::new();
        bench.takes(1, 7_000);
        let (judged, taken) = bench.hears(wild, 7_000);
        assert!(
            matches!(judged, Err(Cause::Jump | Cause::Late | Cause::Replay)) && taken.is_empty(),
            "{wild}: {judged:?}"
        );
        for seq in 2..200 {
            bench.takes(seq, 7_000);
        }
    }
}

#[test]
fn a_forged_number_just_ahead_costs_no_other_one() {
    let mut bench = Bench::new();
    bench.takes(100 - 63, 7_000);
    // of all that may stand there without a key something passes for speech
    let passed = (0..=255_u8).any(|byte| bench.bytes(&forged(100, &[byte, 1]), 7_000).0.is_ok());
    assert!(passed);
    for seq in (100 - 62)..100 {
        bench.takes(seq, 7_000);
    }
}

#[test]
fn a_gap_of_seconds_is_confirmed_by_the_next_and_loses_nothing() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.drops(300, 7_000, Cause::Jump);
    // the same one again confirms nothing
    bench.drops(300, 7_000, Cause::Jump);
    assert_eq!(bench.hears(302, 7_000), (Ok(None), vec![300, 302]));
    bench.takes(301, 7_000);
    bench.drops(2, 7_000, Cause::Late);
}

#[test]
fn a_device_that_is_first_heard_late_is_heard() {
    let mut bench = Bench::new();
    bench.drops(5_000, 7_000, Cause::Jump);
    assert_eq!(bench.sends_to(), None, "one far number teaches no address");
    let (judged, taken) = bench.hears(5_001, 7_000);
    assert_eq!((judged.unwrap().unwrap().to.port(), taken), (7_000, vec![5_000, 5_001]));
}

#[test]
fn while_the_device_sends_nobody_else_is_heard_and_nothing_changes() {
    let mut bench = Bench::new();
    for seq in 1..=20 {
        bench.takes(seq, 7_000);
        // another one is ahead with the very next numbers, in clear and with the key
        for ahead in 1..=5 {
            bench.drops(seq + ahead, 6_666, Cause::Address);
        }
        bench.wait(400);
    }
    assert_eq!(bench.sends_to(), Some(7_000));
}

#[test]
fn a_device_goes_on_from_another_address_after_three_in_a_row_and_loses_none_of_them() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.wait(2_000);
    bench.drops(2, 7_100, Cause::Address);
    bench.drops(3, 7_100, Cause::Address);
    assert_eq!(bench.sends_to(), Some(7_000));
    let moved = Moved { from: Some(address(7_000).peer), to: address(7_100).peer };
    assert_eq!(bench.hears(4, 7_100), (Ok(Some(moved)), vec![2, 3, 4]));
    assert_eq!(bench.sends_to(), Some(7_100));
    bench.takes(5, 7_100);
    bench.drops(6, 7_000, Cause::Address);
}

#[test]
fn a_move_across_a_gap_takes_one_more() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.wait(5_000);
    for seq in [500, 501, 503] {
        bench.drops(seq, 7_100, Cause::Address);
    }
    assert_eq!(bench.hears(504, 7_100).1, [500, 501, 503, 504]);
}

#[test]
fn what_is_not_in_a_row_moves_nothing() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.wait(2_000);
    // the device itself in between, or a third one
    bench.drops(2, 7_100, Cause::Address);
    bench.drops(3, 7_100, Cause::Address);
    bench.takes(2, 7_000);
    bench.drops(4, 7_100, Cause::Address);
    bench.wait(2_000);
    for seq in [5, 6, 7, 8] {
        bench.drops(seq, 7_100, Cause::Address);
        bench.drops(seq, 7_200, Cause::Address);
    }
    // one number three times, falling numbers, far apart in number or time
    for seq in [9, 9, 9, 8, 7, 6, 106, 306, 506] {
        bench.drops(seq, 7_100, Cause::Address);
    }
    for seq in [10, 11, 12, 13] {
        bench.drops(seq, 7_100, Cause::Address);
        bench.wait(3_000);
    }
    assert_eq!(bench.sends_to(), Some(7_000));
}

#[test]
fn packets_of_another_length_in_time_move_nothing_and_disturb_nobody_elses_move() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.wait(2_000);
    let other = |seq| Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq }, &[0x48, 1, 2, 3]).unwrap();
    for seq in [2, 3, 4, 5] {
        assert_eq!(bench.bytes(&other(seq), 6_666), (Err(Cause::Format), vec![]));
    }
    for seq in [500, 501, 502] {
        assert_eq!(bench.bytes(&other(seq), 7_000), (Err(Cause::Format), vec![]));
    }
    // from another address they disturb nobody's move, from the same they end the row
    bench.drops(2, 7_100, Cause::Address);
    assert_eq!(bench.bytes(&other(3), 6_666).0, Err(Cause::Format));
    bench.drops(3, 7_100, Cause::Address);
    assert_eq!(bench.bytes(&other(4), 7_100).0, Err(Cause::Format));
    bench.drops(4, 7_100, Cause::Address);
    assert_eq!(bench.bytes(&other(5), 6_666).0, Err(Cause::Format));
    bench.drops(5, 7_100, Cause::Address);
    assert_eq!(bench.hears(6, 7_100).1, [4, 5, 6]);
}

#[test]
fn datagrams_that_never_arrived_are_no_way_to_move_a_channel_later() {
    let mut bench = Bench::new();
    for seq in [1, 10, 11] {
        bench.takes(seq, 7_000);
    }
    bench.wait(10_000);
    // somebody kept them on their way, and has no newer ones
    for seq in 2..10 {
        bench.drops(seq, 6_666, Cause::Address);
    }
    assert_eq!(bench.sends_to(), Some(7_000));
    bench.takes(12, 7_000);
}

#[test]
fn who_reads_the_wire_without_a_key_moves_a_silent_channel_nowhere() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    bench.wait(60_000);
    // a number ahead each time, all kinds of ciphertext, ever again; from a fixed seed, as chance is small and not none
    let mut noise = 0x9e37_79b9_u32;
    let mut passed = 0;
    for round in 0..20_000_u32 {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let secret = [noise.to_be_bytes(), noise.rotate_left(9).to_be_bytes()].concat();
        let (judged, taken) = bench.bytes(&forged(2 + round % 30, &secret), 6_666);
        assert!(taken.is_empty(), "moved in round {round}");
        passed += u32::from(judged == Err(Cause::Address));
    }
    assert!((20..1_000).contains(&passed), "of 20,000 so many looked like speech of the right length: {passed}");
    assert_eq!(bench.sends_to(), Some(7_000));
}

#[test]
fn the_gateways_own_address_follows_the_device() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    let local = Some(IpAddr::from([10, 0, 0, 2]));
    let (next, mut out) = (datagram(2), Vec::new());
    let route = Route { local, ..address(7_000) };
    let judged = bench.channel.receive((Header::read(&next).unwrap(), &next), route, (bench.now, HOLD), &mut out);
    assert_eq!(judged, Ok(None));
    assert_eq!(bench.channel.seal(&[0x58], bench.now).unwrap().0, route);
}

#[test]
fn no_two_datagrams_share_a_counter_block_either_way() {
    let mut bench = Bench::new();
    let mut blocks = BTreeSet::new();
    let mut add = |datagram: &[u8]| {
        let first = u128::from_be_bytes(datagram[..HEADER].try_into().unwrap());
        for block in 0..(datagram.len() - HEADER).div_ceil(16) as u128 {
            assert!(blocks.insert(first + block), "a block twice");
        }
    };
    bench.takes(1, 7_000);
    let mut last = 0;
    for seq in 1..=500 {
        // replies all as long as what the device says
        let (_, datagram) = bench.channel.seal(&[0x58; 120], bench.now).unwrap();
        let header = Header::read(&datagram).unwrap();
        assert_eq!((header.ssrc, header.seq), (SSRC, seq));
        assert!(header.ts_ms > last);
        last = header.ts_ms;
        add(&datagram);
    }
    // firmware's own time is 0; its blocks overlap each other's, which is not ours to mend, but none of ours
    for seq in (1..=500).step_by(8) {
        add(&datagram_of_120(seq));
    }
}

fn datagram_of_120(seq: u32) -> Bytes {
    Cipher::new(&KEY).seal(Header { ssrc: SSRC, ts_ms: 0, seq }, &[0x58; 120]).unwrap()
}

#[test]
fn a_frame_too_long_for_a_datagram_takes_no_number() {
    let mut bench = Bench::new();
    bench.takes(1, 7_000);
    assert_eq!(bench.channel.seal(&[0x58; 1_276], bench.now), Err(Unsent::TooLong));
    let (_, datagram) = bench.channel.seal(&[0x58; 1_275], bench.now).unwrap();
    assert_eq!(Header::read(&datagram).unwrap().seq, 1);
}

#[test]
fn a_channel_is_idle_since_the_last_that_counted() {
    let mut bench = Bench::new();
    bench.wait(1_000);
    assert_eq!(bench.channel.idle(bench.now), Duration::from_secs(1));
    bench.takes(1, 7_000);
    bench.wait(1_000);
    bench.drops(1, 7_000, Cause::Replay);
    assert_eq!(bench.channel.idle(bench.now), Duration::from_secs(1));
    bench.sends_to();
    assert_eq!(bench.channel.idle(bench.now), Duration::ZERO);
}
