//! The window against examples and a naive model.
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SURE: Rule = Rule::Sure;
const RESTART: Rule = Rule::Audio { restart: true };
const DATAGRAM: Rule = Rule::Audio { restart: false };

fn done(window: &mut Window, number: u32, rule: Rule) -> Verdict {
    let verdict = window.accept(number, rule);
    if verdict == Verdict::New {
        window.committed(number);
    }
    verdict
}

#[test]
fn a_failed_commit_makes_the_number_new_again() {
    let mut window = Window::new(Stream::Control);
    assert_eq!(window.accept(1, SURE), Verdict::New);
    assert_eq!(window.accept(1, SURE), Verdict::Pending);
    window.failed(1);
    assert_eq!(window.ack(), 0);
    assert_eq!(window.accept(1, SURE), Verdict::New);
    window.committed(1);
    assert_eq!((window.accept(1, SURE), window.ack()), (Verdict::Duplicate, 1));
}

#[test]
fn a_number_that_fails_after_later_ones_is_a_hole_again() {
    let mut window = Window::new(Stream::Control);
    for n in 1..=3 {
        assert_eq!(window.accept(n, SURE), Verdict::New);
    }
    window.committed(1);
    window.committed(3);
    window.failed(2);
    assert_eq!(window.ack(), 1);
    assert_eq!(window.accept(2, SURE), Verdict::New);
    window.committed(2);
    assert_eq!(window.ack(), 3);
}

#[test]
fn a_hole_is_given_up_only_when_the_window_has_passed_it() {
    let mut window = Window::new(Stream::Telemetry);
    for n in 2..=64 {
        done(&mut window, n, SURE);
    }
    assert_eq!((window.ack(), window.take_lost()), (0, 0), "number 1 may still come");
    done(&mut window, 65, SURE);
    assert_eq!((window.ack(), window.take_lost()), (65, 1));
    assert_eq!(window.accept(1, SURE), Verdict::Late);
    assert_eq!(window.accept(2, SURE), Verdict::Duplicate);
}

#[test]
fn control_waits_for_a_hole_over_256_numbers() {
    let mut window = Window::new(Stream::Control);
    for n in 2..=256 {
        done(&mut window, n, SURE);
    }
    assert_eq!(window.ack(), 0);
    assert_eq!(done(&mut window, 1, SURE), Verdict::New);
    assert_eq!(window.ack(), 256);
}

#[test]
fn the_device_may_say_what_it_no_longer_holds() {
    let mut window = Window::new(Stream::Control);
    for n in [1, 2, 7, 8] {
        done(&mut window, n, SURE);
    }
    window.oldest(5);
    assert_eq!(window.ack(), 4, "5 and 6 may still come");
    window.oldest(7);
    assert_eq!(window.ack(), 8);
    window.oldest(3);
    assert_eq!(window.ack(), 8, "never back");
    window.oldest(100_000);
    assert_eq!(window.ack(), 8, "a wild number is not believed");
    assert_eq!(window.accept(3, SURE), Verdict::Late);
}

#[test]
fn an_acknowledgement_never_passes_a_number_that_is_still_pending() {
    let mut window = Window::new(Stream::Telemetry);
    assert_eq!(window.accept(1, SURE), Verdict::New);
    for n in 2..=100 {
        done(&mut window, n, SURE);
    }
    assert_eq!(window.ack(), 0);
    window.committed(1);
    assert_eq!(window.ack(), 100);
}

#[test]
fn one_wild_control_number_is_done_and_deafens_nobody() {
    let mut window = Window::new(Stream::Control);
    done(&mut window, 1, SURE);
    assert_eq!(done(&mut window, 50_000, SURE), Verdict::New);
    assert_eq!(window.accept(50_000, SURE), Verdict::Duplicate);
    assert_eq!(done(&mut window, 2, SURE), Verdict::New);
    assert_eq!(done(&mut window, 50_500, SURE), Verdict::New, "done, but it confirms nothing: 2 came in between");
    assert_eq!(done(&mut window, 3, SURE), Verdict::New);
    assert_eq!(window.ack(), 3);
}

#[test]
fn a_jump_is_followed_when_any_of_the_next_thousand_confirms_it() {
    let mut window = Window::new(Stream::Control);
    done(&mut window, 1, SURE);
    assert_eq!(done(&mut window, 1_500, SURE), Verdict::New);
    assert_eq!(window.ack(), 1);
    assert_eq!(done(&mut window, 2_500, SURE), Verdict::New);
    assert_eq!(window.ack(), 2_244, "what lies between may still come");
    assert_eq!(window.accept(1_500, SURE), Verdict::Late);
}

#[test]
fn an_audio_jump_is_dropped_until_the_next_confirms_it() {
    let mut window = Window::new(Stream::Audio);
    done(&mut window, 1, RESTART);
    assert_eq!(done(&mut window, 9_000, RESTART), Verdict::Unconfirmed);
    assert_eq!(done(&mut window, 9_001, RESTART), Verdict::New);
    assert_eq!(window.ack(), 9_001);
}

#[test]
fn firmware_that_begins_to_count_anew_is_heard_from_its_second_frame() {
    for before in [30, 5_000] {
        let mut window = Window::new(Stream::Audio);
        for n in 1..=before {
            done(&mut window, n, RESTART);
        }
        assert_ne!(done(&mut window, 1, RESTART), Verdict::New);
        for n in 2..200 {
            assert_eq!(done(&mut window, n, RESTART), Verdict::New, "{n} after {before}");
        }
    }
}

#[test]
fn a_recording_played_again_by_datagrams_is_never_new() {
    let mut window = Window::new(Stream::Audio);
    for n in 1..=500 {
        assert_eq!(done(&mut window, n, DATAGRAM), Verdict::New);
    }
    for n in (1..=500).chain((1..=500).flat_map(|n| [n, n])) {
        assert_ne!(done(&mut window, n, DATAGRAM), Verdict::New);
    }
}

#[test]
fn a_repeat_of_the_last_frames_over_a_connection_does_not_restart_it() {
    let mut window = Window::new(Stream::Audio);
    for n in 1..=500 {
        done(&mut window, n, RESTART);
    }
    for n in 480..=500 {
        assert_eq!(done(&mut window, n, RESTART), Verdict::Duplicate);
    }
    assert_eq!(done(&mut window, 501, RESTART), Verdict::New);
}

#[test]
fn one_counter_for_all_streams_is_found_out_and_nothing_is_lost_by_it() {
    let mut windows = Windows::new(false);
    let mut number = 0;
    for _ in 0..12 {
        number += 1;
        assert_eq!(windows.accept(Stream::Control, number, SURE), Verdict::New);
        windows.stream(Stream::Control).committed(number);
        for _ in 0..30 {
            number += 1;
            assert_eq!(windows.accept(Stream::Audio, number, RESTART), Verdict::New);
            windows.stream(Stream::Audio).committed(number);
        }
    }
    assert!(windows.shared());
    assert_eq!(windows.ack(Stream::Control), number);
    assert_eq!(windows.accept(Stream::Control, number - 30, SURE), Verdict::Duplicate);
}

#[test]
fn two_counters_are_not_taken_for_one() {
    let mut windows = Windows::new(false);
    for control in 1..=40 {
        windows.accept(Stream::Control, control, SURE);
        windows.stream(Stream::Control).committed(control);
        for audio in 1..=30 {
            let number = (control - 1) * 30 + audio;
            windows.accept(Stream::Audio, number, RESTART);
            windows.stream(Stream::Audio).committed(number);
        }
    }
    assert!(!windows.shared());
}

#[test]
fn a_record_counts_what_was_handed_in_and_not_what_was_only_seen() {
    let mut windows = Windows::new(false);
    for n in 1..=3 {
        windows.accept(Stream::Control, n, SURE);
    }
    windows.stream(Stream::Control).hand_in(1);
    windows.stream(Stream::Control).hand_in(3);
    let mut read = Windows::decode(&windows.encode()).unwrap();
    assert_eq!(read.accept(Stream::Control, 1, SURE), Verdict::Duplicate);
    assert_eq!(read.accept(Stream::Control, 2, SURE), Verdict::New);
    assert_eq!(read.accept(Stream::Control, 3, SURE), Verdict::Duplicate);
    assert!(windows.encode().len() <= 78);
}

#[test]
fn the_first_layout_stays_readable() {
    let mut bytes = vec![1, 0];
    for (words, mark, low) in [(4_u8, 7_u32, 0b10_u64), (1, u32::MAX, 0), (1, 0, 0), (1, 3, 0b100)] {
        bytes.push(words);
        bytes.extend(mark.to_le_bytes());
        bytes.extend(low.to_le_bytes());
        bytes.extend(vec![0; usize::from(words - 1) * 8]);
    }
    let windows = Windows::decode(&bytes).unwrap();
    assert_eq!(Stream::ALL.map(|s| windows.ack(s)), [7, u32::MAX, 0, 3]);
    assert_eq!(windows.streams[0].high(), 9);
    assert_eq!(windows.encode(), bytes);
}

#[test]
fn a_number_that_the_window_passed_while_its_commit_was_under_way_is_not_lost() {
    let mut window = Window::new(Stream::Telemetry);
    assert_eq!(window.accept(1, SURE), Verdict::New);
    assert_eq!(window.accept(70, SURE), Verdict::New);
    window.committed(70);
    window.committed(1);
    assert_eq!(window.accept(1, SURE), Verdict::Duplicate);
    assert_eq!(window.accept(2, SURE), Verdict::Late);
    assert_eq!(window.take_lost(), 5, "2 to 6");
}

/// What is done with a number.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A number so far from the highest seen arrives.
    Arrive(i32),
    /// The oldest pending commit ends well, or fails.
    End(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (-80..20_i32).prop_map(Step::Arrive),
        2 => Just(Step::Arrive(1)),
        1 => (20..900_i32).prop_map(Step::Arrive),
        4 => prop::bool::weighted(0.8).prop_map(Step::End),
    ]
}

/// The same in sets of unbounded numbers, by the words of the rule.
#[derive(Default)]
struct Model {
    durable: BTreeSet<u64>,
    pending: Vec<u64>,
    mark: u64,
}

impl Model {
    fn verdict(&self, n: u64) -> Verdict {
        if self.pending.contains(&n) {
            Verdict::Pending
        } else if self.durable.contains(&n) {
            Verdict::Duplicate
        } else if n <= self.mark {
            Verdict::Late
        } else {
            Verdict::New
        }
    }

    fn committed(&mut self, n: u64, size: u64) {
        self.pending.retain(|p| *p != n);
        self.durable.insert(n);
        let passed = self.durable.last().map_or(0, |high| high.saturating_sub(size));
        self.mark = self.mark.max(passed);
        while self.durable.contains(&(self.mark + 1)) {
            self.mark += 1;
        }
    }

    fn ack(&self) -> u64 {
        self.pending.iter().map(|p| p - 1).chain([self.mark]).min().unwrap_or(0)
    }
}

proptest! {
    #[test]
    fn the_window_does_what_the_sets_do(
        // the start shows the wrap at 2^32 too
        start in prop_oneof![Just(0_u32), Just(u32::MAX - 100), Just(i32::MAX.cast_unsigned() - 50)],
        control: bool,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut window = Window::new(if control { Stream::Control } else { Stream::Telemetry });
        window.mark = start;
        let size = u64::from(window.size());
        // the model counts from a base that leaves room below
        let base = 10_000_u64;
        let mut model = Model { mark: base, ..Model::default() };
        let real = |n: u64| start.wrapping_add(u32::try_from(n - base).unwrap_or(0));
        for step in steps {
            match step {
                Step::Arrive(by) => {
                    let high = model.durable.last().copied().into_iter().chain(model.pending.iter().copied());
                    let n = high.max().unwrap_or(base).max(model.mark).saturating_add_signed(by.into());
                    if n <= base {
                        continue;
                    }
                    let (expected, got) = (model.verdict(n), window.accept(real(n), SURE));
                    let dropped = |v| matches!(v, Verdict::Late | Verdict::Duplicate);
                    // far below the mark the window has forgotten which of the two it was
                    let forgotten = n + size <= model.mark && dropped(expected) && dropped(got);
                    prop_assert!(expected == got || forgotten, "{n}: {expected:?}, not {got:?}");
                    if got == Verdict::New {
                        model.pending.push(n);
                    }
                }
                Step::End(well) if !model.pending.is_empty() => {
                    let n = model.pending[0];
                    if well {
                        window.committed(real(n));
                        model.committed(n, size);
                    } else {
                        window.failed(real(n));
                        model.pending.remove(0);
                    }
                }
                Step::End(_) => {}
            }
            if model.pending.iter().all(|p| *p > base) {
                prop_assert_eq!(window.ack(), real(model.ack().max(base)));
            }
        }
        let mut windows = Windows::new(false);
        windows.streams[0] = window.clone();
        let read = Windows::decode(&windows.encode()).unwrap();
        prop_assert_eq!((read.streams[0].mark, read.streams[0].bits), (window.mark, window.bits));
    }

    #[test]
    fn any_bytes_give_windows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        if let Ok(windows) = Windows::decode(&bytes) {
            prop_assert!(windows.encode().len() == bytes.len());
        }
    }

    #[test]
    fn any_numbers_in_any_order_are_taken_without_a_panic(numbers: Vec<u32>, rule in 0..3) {
        let rule = [SURE, RESTART, DATAGRAM][usize::try_from(rule).unwrap_or(0)];
        let mut windows = Windows::new(false);
        for number in numbers {
            for stream in Stream::ALL {
                if windows.accept(stream, number, rule) == Verdict::New {
                    windows.stream(stream).committed(number);
                }
                windows.stream(stream).oldest(number);
            }
        }
    }
}
