//! Where speech starts and where a turn ends: hysteresis over speech probabilities.
//!
//! A pure state machine that counts samples; it knows neither a model nor a codec nor a clock.

use serde::{Deserialize, Serialize};

use super::pauses::Pauses;
use crate::domain::{ByteSize, Problem, Span, UP_RATE};

/// `[voice.endpoint]`: when speech counts as begun and a turn as ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Probability of speech from which a frame counts as speech. 0 to 1; default 0.5.
    pub start_threshold: f32,
    /// Probability below which a frame counts as silence; between the two it counts as what came before.
    /// 0 to 1, at most `start_threshold`; default 0.35.
    pub stop_threshold: f32,
    /// Speech shorter than this is a click or a cough, and starts nothing. Default 96ms.
    pub min_speech: Span,
    /// Silence after speech that ends the turn (the hang-over). Default 480ms.
    pub silence: Span,
    /// After so much silence the turn is likely over: what takes long is begun ahead (`voice.reply.speculate`). 64ms
    /// to 2s; more than `silence` is of no use. Default 160ms.
    pub likely_end: Span,
    /// Ask the end-of-turn model at each likely end, not in manual mode; `voxgate models pull smart-turn-v3.2` fetches it, and
    /// without its file silence decides alone; it is made for `likely_end = "200ms"`. Default false: docs/decisions/06-turn-speed.md
    /// says why.
    pub model: bool,
    /// Threads of the model; a run takes about 45 ms of one. 1 to 16; default 1.
    pub model_threads: u32,
    /// A run that cannot begin within this is left out. Default 40ms.
    pub model_wait: Span,
    /// The model's probability from which what was said is complete. 0 to 1; default 0.98.
    pub complete: f32,
    /// The probability below which more is to follow. 0 to 1, at most `complete`; default 0.5.
    pub incomplete: f32,
    /// Silence that ends the turn where the model says that it is complete; more than `silence` counts as
    /// `silence`. Default 480ms: the model only makes the wait longer.
    pub complete_silence: Span,
    /// Silence that ends the turn where the model says that more follows; less than `silence` counts as `silence`.
    /// At most 3s; default 1200ms.
    pub max_silence: Span,
    /// Learn from the pauses that somebody makes in mid-speech how much silence ends his turn: `silence` until some were heard,
    /// then so much that 3 in 100 of his pauses are longer. Default true.
    pub adapt: bool,
    /// The least that is learnt; more than `silence` counts as `silence`. Default 400ms.
    pub adapt_least: Span,
    /// The most that is learnt; less than `silence` counts as `silence`. Default 900ms.
    pub adapt_most: Span,
    /// Audio kept from before the first speech, so that no first consonant is cut off. Default 300ms.
    pub pre_roll: Span,
    /// Audio kept after the last speech. Default 160ms.
    pub post_roll: Span,
    /// The longest utterance; what is longer is cut there and answered. Default 60s.
    pub max_utterance: Span,
    /// The most memory that one utterance may hold, as packets; what is larger is cut there. Default 2MB.
    pub max_bytes: ByteSize,
    /// A listening device that hears no speech for so long is told so; 0s is never. Default 20s.
    pub no_speech: Span,
    /// `realtime` mode: speech of so long interrupts the answer. Default 300ms.
    pub barge_in: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_threshold: 0.5,
            stop_threshold: 0.35,
            min_speech: Span::ms(96),
            silence: Span::ms(480),
            likely_end: Span::ms(160),
            model: false,
            model_threads: 1,
            model_wait: Span::ms(40),
            complete: 0.98,
            incomplete: 0.5,
            complete_silence: Span::ms(480),
            max_silence: Span::ms(1_200),
            adapt: true,
            adapt_least: Span::ms(400),
            adapt_most: Span::ms(900),
            pre_roll: Span::ms(300),
            post_roll: Span::ms(160),
            max_utterance: Span::secs(60),
            max_bytes: ByteSize::mb(2),
            no_speech: Span::secs(20),
            barge_in: Span::ms(300),
        }
    }
}

impl Settings {
    /// What is known of the pauses of somebody who was not heard yet.
    pub fn pauses(&self) -> Pauses {
        let silence = samples(self.silence);
        if !self.adapt {
            return Pauses::new(silence, silence..=silence);
        }
        Pauses::new(silence, samples(self.adapt_least.max(self.post_roll))..=samples(self.adapt_most))
    }

    /// What is wrong with the settings at `path`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut expect = |good: bool, key: &str, what: &str, remedy: &str| {
            if !good {
                problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
            }
        };
        let start = self.start_threshold;
        expect(start > 0.0 && start < 1.0, "start_threshold", "not between 0 and 1", "use 0.5");
        let stop = self.stop_threshold;
        expect(stop > 0.0 && stop <= start, "stop_threshold", "not between 0 and start_threshold", "use 0.35");
        expect(within(self.min_speech, 0, 1_000), "min_speech", "more than 1s", "use 96ms");
        expect(within(self.silence, 100, 5_000), "silence", "outside 100ms to 5s", "use 300ms to 800ms");
        expect(within(self.likely_end, 64, 2_000), "likely_end", "outside 64ms to 2s", "use 160ms");
        expect((1..=16).contains(&self.model_threads), "model_threads", "outside 1 to 16", "use 1");
        expect(within(self.model_wait, 1, 1_000), "model_wait", "outside 1ms to 1s", "use 40ms");
        let complete = self.complete;
        expect(complete > 0.0 && complete <= 1.0, "complete", "not between 0 and 1", "use 0.98");
        let incomplete = self.incomplete;
        let sound = (0.0..=complete).contains(&incomplete);
        expect(sound, "incomplete", "not between 0 and complete", "use 0.5, or 0 never to wait longer");
        expect(within(self.complete_silence, 64, 5_000), "complete_silence", "outside 64ms to 5s", "use 480ms");
        expect(within(self.max_silence, 64, 3_000), "max_silence", "outside 64ms to 3s", "use 1200ms");
        expect(within(self.adapt_least, 100, 5_000), "adapt_least", "outside 100ms to 5s", "use 400ms");
        let sound = within(self.adapt_most, 100, 5_000) && self.adapt_most >= self.adapt_least;
        expect(sound, "adapt_most", "less than adapt_least, or outside 100ms to 5s", "use 900ms");
        expect(within(self.pre_roll, 0, 2_000), "pre_roll", "more than 2s", "use 300ms");
        expect(self.post_roll <= self.silence, "post_roll", "more than silence", "use less than silence");
        expect(within(self.max_utterance, 1_000, 600_000), "max_utterance", "outside 1s to 10m", "use 60s");
        expect(self.max_bytes >= ByteSize::kb(64), "max_bytes", "less than 64KB", "use 2MB");
        expect(within(self.barge_in, 32, 5_000), "barge_in", "outside 32ms to 5s", "use 300ms");
        problems
    }
}

fn within(span: Span, low: u128, high: u128) -> bool {
    (low..=high).contains(&span.0.as_millis())
}

/// A span in samples at 16 kHz.
pub(crate) fn samples(span: Span) -> u64 {
    u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX / 32).min(u64::MAX / 32) * u64::from(UP_RATE / 1_000)
}

/// What the endpointer decides. Positions are samples since the last [`Endpointer::reset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Speech has begun, at `from`.
    Started {
        /// The first sample of speech.
        from: u64,
    },
    /// The speech that goes on is long enough to interrupt; once a speech.
    BargeIn,
    /// The turn is over: silence has followed speech for long enough.
    Ended {
        /// The first sample of speech.
        from: u64,
        /// One past the last sample of speech.
        to: u64,
    },
    /// The utterance has its greatest length and goes on.
    TooLong {
        /// The first sample of speech.
        from: u64,
    },
    /// Nobody has spoken for the configured time.
    NoSpeech,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nobody speaks; counted since `since`.
    Idle { since: u64 },
    /// Perhaps somebody speaks, since `from`.
    Maybe { since: u64, from: u64, voiced: u64, last: u64 },
    /// Somebody speaks, since `from`; last heard at `last`.
    Speech { from: u64, last: u64, voiced: u64, barged: bool },
}

/// Who speaks again within this has only paused.
const RESUMES: Span = Span::ms(1_500);

/// Decides on a stream of frames; a few dozen bytes.
#[derive(Debug)]
pub struct Endpointer {
    start: f32,
    stop: f32,
    min_speech: u64,
    pauses: Pauses,
    max_utterance: u64,
    no_speech: u64,
    barge_in: u64,
    /// Where the speech ended that was taken for a turn.
    ended: Option<u64>,
    /// Times that somebody spoke on shortly after his turn was taken for over.
    resumed: u64,
    /// Of the pause that goes on: the silence that ends the turn, in place of `silence`.
    pause: Option<u64>,
    at: u64,
    state: State,
}

impl Endpointer {
    /// At position 0, in silence.
    pub fn new(settings: &Settings) -> Self {
        Self {
            start: settings.start_threshold,
            stop: settings.stop_threshold,
            min_speech: samples(settings.min_speech),
            pauses: settings.pauses(),
            max_utterance: samples(settings.max_utterance),
            no_speech: samples(settings.no_speech),
            barge_in: samples(settings.barge_in),
            ended: None,
            resumed: 0,
            pause: None,
            at: 0,
            state: State::Idle { since: 0 },
        }
    }

    /// How those who speak pause, as far as it is known.
    pub fn pauses(&self) -> Pauses {
        self.pauses
    }

    /// Goes on from what is known of their pauses.
    pub fn used_to(&mut self, pauses: Pauses) {
        self.pauses = pauses;
    }

    /// Times that somebody spoke on shortly after his turn was taken for over.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Back to position 0 and silence.
    pub fn reset(&mut self) {
        self.at = 0;
        (self.pause, self.ended) = (None, None);
        self.state = State::Idle { since: 0 };
    }

    /// Samples since the last reset.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The first sample that may still become part of an utterance, before any pre-roll.
    pub fn earliest(&self) -> u64 {
        match self.state {
            State::Idle { .. } => self.at,
            State::Maybe { from, .. } | State::Speech { from, .. } => from,
        }
    }

    /// One past the last sample of the speech that goes on.
    pub fn last_speech(&self) -> Option<u64> {
        match self.state {
            State::Speech { last, .. } => Some(last),
            _ => None,
        }
    }

    /// Whether somebody speaks (or has just stopped).
    pub fn speaking(&self) -> bool {
        matches!(self.state, State::Speech { .. })
    }

    /// Of the pause that goes on: so much silence ends the turn. It may be over with that.
    pub fn end_after(&mut self, silence: u64) -> Option<Endpoint> {
        let State::Speech { from, last, voiced, barged } = self.state else { return None };
        self.pause = Some(silence);
        self.speech(from, last, voiced, barged)
    }

    /// Takes the next `length` samples, which are speech with `probability`.
    pub fn push(&mut self, length: u32, probability: f32) -> Option<Endpoint> {
        let length = u64::from(length);
        let begin = self.at;
        self.at += length;
        // Written so that a NaN is silence.
        let loud = probability >= self.start;
        let held = probability >= self.stop;
        match self.state {
            State::Idle { since } if loud => {
                self.maybe(State::Maybe { since, from: begin, voiced: length, last: self.at })
            }
            State::Idle { since } => self.idle(since),
            State::Maybe { since, from, voiced, last } => {
                if held {
                    self.maybe(State::Maybe { since, from, voiced: voiced + length, last: self.at })
                } else if self.at - last > self.min_speech.max(length) {
                    self.state = State::Idle { since };
                    self.idle(since)
                } else {
                    None
                }
            }
            State::Speech { from, last, voiced, barged } => {
                if held {
                    self.pauses.paused(begin - last);
                }
                let (last, voiced) = if held { (self.at, voiced + length) } else { (last, voiced) };
                self.pause = self.pause.filter(|_| !held);
                self.speech(from, last, voiced, barged)
            }
        }
    }

    fn idle(&mut self, since: u64) -> Option<Endpoint> {
        if self.no_speech == 0 || self.at - since < self.no_speech {
            return None;
        }
        self.state = State::Idle { since: self.at };
        Some(Endpoint::NoSpeech)
    }

    fn maybe(&mut self, state: State) -> Option<Endpoint> {
        self.state = state;
        let State::Maybe { from, voiced, last, .. } = state else { return None };
        if voiced < self.min_speech {
            return None;
        }
        if let Some(pause) =
            self.ended.take().map(|ended| from.saturating_sub(ended)).filter(|p| *p <= samples(RESUMES))
        {
            // it was a pause, and was taken for the end
            self.pauses.paused(pause);
            self.resumed += 1;
        }
        self.state = State::Speech { from, last, voiced, barged: false };
        Some(Endpoint::Started { from })
    }

    fn speech(&mut self, from: u64, last: u64, voiced: u64, barged: bool) -> Option<Endpoint> {
        if self.at - last >= self.pause.unwrap_or(self.pauses.silence()) {
            (self.pause, self.ended) = (None, Some(last));
            self.state = State::Idle { since: self.at };
            return Some(Endpoint::Ended { from, to: last });
        }
        if self.at - from >= self.max_utterance {
            self.state = State::Idle { since: self.at };
            return Some(Endpoint::TooLong { from });
        }
        let barges = !barged && voiced >= self.barge_in;
        self.state = State::Speech { from, last, voiced, barged: barged || barges };
        barges.then_some(Endpoint::BargeIn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: u32 = 512;

    /// Plays (frames, probability) runs; each event with the millisecond of its decision.
    fn play(settings: &Settings, runs: &[(usize, f32)]) -> Vec<(u64, Endpoint)> {
        let mut endpointer = Endpointer::new(settings);
        let mut events = Vec::new();
        for (frames, probability) in runs {
            for _ in 0..*frames {
                let event = endpointer.push(FRAME, *probability);
                events.extend(event.map(|event| (endpointer.position() / 16, event)));
            }
        }
        events
    }

    #[test]
    fn silence_starts_nothing_and_is_reported_each_time_it_has_lasted() {
        let settings = Settings { no_speech: Span::secs(2), ..Settings::default() };
        let events = play(&settings, &[(150, 0.01)]);
        assert_eq!(events, [(2_016, Endpoint::NoSpeech), (4_032, Endpoint::NoSpeech)]);
        let never = Settings { no_speech: Span::secs(0), ..Settings::default() };
        assert!(play(&never, &[(10_000, 0.01)]).is_empty());
    }

    #[test]
    fn a_click_is_no_speech() {
        assert!(play(&Settings::default(), &[(10, 0.0), (1, 0.99), (20, 0.0), (2, 0.9), (40, 0.0)]).is_empty());
    }

    #[test]
    fn a_turn_ends_480_ms_after_the_last_speech() {
        let events = play(&Settings::default(), &[(10, 0.0), (30, 0.9), (30, 0.0)]);
        assert_eq!(
            events,
            [
                (13 * 32, Endpoint::Started { from: 5_120 }),
                (20 * 32, Endpoint::BargeIn),
                (40 * 32 + 480, Endpoint::Ended { from: 5_120, to: 40 * 512 }),
            ]
        );
    }

    #[test]
    fn a_pause_shorter_than_the_hang_over_does_not_split_a_turn() {
        let events = play(&Settings::default(), &[(30, 0.9), (14, 0.0), (30, 0.9), (20, 0.0)]);
        assert_eq!(events.len(), 3);
        assert_eq!(events[2].1, Endpoint::Ended { from: 0, to: 74 * 512 });
    }

    #[test]
    fn who_often_pauses_for_long_is_not_cut_off_by_a_longer_pause() {
        let mut runs = [(10, 0.9), (13, 0.0)].repeat(6);
        runs.extend([(10, 0.9), (17, 0.0), (10, 0.9), (40, 0.0)]);
        let ends = |settings: &Settings| {
            let events = play(settings, &runs);
            events.into_iter().filter(|(_, event)| matches!(event, Endpoint::Ended { .. })).count()
        };
        assert_eq!(ends(&Settings::default()), 1, "544 ms are a pause");
        assert_eq!(ends(&Settings { adapt: false, ..Settings::default() }), 2, "544 ms are the end");
    }

    #[test]
    fn who_speaks_on_after_the_end_is_given_more_time_and_counted() {
        let mut endpointer = Endpointer::new(&Settings::default());
        let mut play = |frames: usize, probability: f32| {
            for _ in 0..frames {
                let _ = endpointer.push(FRAME, probability);
            }
            (endpointer.resumed(), endpointer.pauses().silence_ms())
        };
        play(20, 0.9);
        assert_eq!(play(20, 0.0), (0, 480), "it was taken for the end");
        let (resumed, silence) = play(20, 0.9);
        assert_eq!(resumed, 1);
        assert!(silence > 600, "{silence}");
        play(60, 0.0);
        assert_eq!(play(20, 0.9).0, 1, "after two seconds it is another turn");
        endpointer.reset();
        assert_eq!(endpointer.pauses().silence_ms(), silence, "what is known of somebody outlives the turn");
    }

    #[test]
    fn between_the_thresholds_what_was_goes_on() {
        let events = play(&Settings::default(), &[(10, 0.4), (10, 0.9), (100, 0.4)]);
        assert_eq!(events.len(), 2, "started and barge-in, not ended: {events:?}");
        assert_eq!(events[0].1, Endpoint::Started { from: 5_120 });
    }

    #[test]
    fn speech_without_end_is_cut_at_the_greatest_length() {
        let settings = Settings { max_utterance: Span::secs(3), ..Settings::default() };
        let cuts: Vec<u64> = play(&settings, &[(18_750, 0.9)])
            .into_iter()
            .filter_map(|(_, event)| if let Endpoint::TooLong { from } = event { Some(from) } else { None })
            .collect();
        // Ten minutes: a cut every 94 frames of 32 ms.
        assert_eq!(cuts.len(), 18_750 / 94);
        assert!(cuts.windows(2).all(|pair| pair[1] - pair[0] == 94 * 512));
    }

    #[test]
    fn settings_that_contradict_each_other_are_all_named() {
        assert!(Settings::default().check("voice.endpoint").is_empty());
        let settings = Settings {
            start_threshold: 0.3,
            stop_threshold: 0.5,
            silence: Span::ms(10),
            max_utterance: Span::ms(1),
            ..Settings::default()
        };
        let keys: Vec<String> = settings.check("voice.endpoint").into_iter().map(|problem| problem.key).collect();
        let named = ["stop_threshold", "silence", "post_roll", "max_utterance"];
        assert_eq!(keys, named.map(|key| format!("voice.endpoint.{key}")));
    }

    proptest! {
        #[test]
        fn whatever_the_model_says_events_alternate_and_lengths_are_bounded(
            probabilities in proptest::collection::vec(prop_oneof![Just(0.0f32), Just(0.4), Just(1.0), any::<f32>()], 0..2_000)
        ) {
            let settings = Settings { max_utterance: Span::secs(4), ..Settings::default() };
            let mut endpointer = Endpointer::new(&settings);
            let (mut open, mut last_end) = (None, 0);
            for probability in probabilities {
                match endpointer.push(FRAME, probability) {
                    Some(Endpoint::Started { from }) => {
                        prop_assert!(open.is_none() && from >= last_end);
                        open = Some(from);
                    }
                    Some(Endpoint::Ended { from, to }) => {
                        prop_assert_eq!(open.take(), Some(from));
                        prop_assert!(to > from && (400 * 16..932 * 16).contains(&(endpointer.position() - to)));
                        prop_assert!(to - from < (4_000 + 32) * 16);
                        last_end = to;
                    }
                    Some(Endpoint::TooLong { from }) => {
                        prop_assert_eq!(open.take(), Some(from));
                        last_end = from;
                    }
                    Some(Endpoint::BargeIn) => prop_assert!(open.is_some()),
                    Some(Endpoint::NoSpeech) => prop_assert!(open.is_none()),
                    None => {}
                }
            }
        }
    }
}
