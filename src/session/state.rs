//! The states of a session, as two tables: what has to be true for each, and which may follow which. Knows no message, no
//! clock and no device.
//!
//! What is true lies where it is kept anyway (the record, the ears, the turn, the line): a state that were kept beside it
//! could contradict it. A heartbeat changes nothing that a row asks for.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

/// The states of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The device has not opened a session yet.
    Connecting,
    /// Nothing is going on.
    Ready,
    /// The microphone is heard.
    Listening,
    /// A turn runs, nothing is spoken yet.
    Thinking,
    /// A turn is being spoken.
    Speaking,
    /// The session is over; the next message opens it again, or another.
    Closed,
}

impl State {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Ready => "ready",
            State::Listening => "listening",
            State::Thinking => "thinking",
            State::Speaking => "speaking",
            State::Closed => "closed",
        }
    }
}

/// What is true of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// A session was opened, at whatever time.
    pub(super) opened: bool,
    /// It is not over.
    pub(super) open: bool,
    /// What the device sends is listened to.
    pub(super) listens: bool,
    /// A turn runs.
    pub(super) turn: bool,
    /// The turn has begun to speak, and has not ended it.
    pub(super) speaks: bool,
}

/// A row: all that it names must be so.
struct Row {
    state: State,
    opened: Option<bool>,
    open: Option<bool>,
    listens: Option<bool>,
    turn: Option<bool>,
    speaks: Option<bool>,
}

const ANY: Row = Row { state: State::Ready, opened: None, open: None, listens: None, turn: None, speaks: None };

/// The first row that fits is the state.
const STATES: [Row; 6] = [
    // an operator may have something said to a device that has opened nothing
    Row { state: State::Speaking, turn: Some(true), speaks: Some(true), ..ANY },
    Row { state: State::Thinking, turn: Some(true), ..ANY },
    Row { state: State::Connecting, opened: Some(false), ..ANY },
    Row { state: State::Closed, open: Some(false), ..ANY },
    Row { state: State::Listening, listens: Some(true), ..ANY },
    Row { state: State::Ready, ..ANY },
];

/// What may follow, by state; the same state may always.
const FOLLOW: [(State, &[State]); 6] = [
    (State::Connecting, &[State::Ready, State::Listening, State::Thinking, State::Closed]),
    (State::Ready, &[State::Listening, State::Thinking, State::Closed]),
    (State::Listening, &[State::Ready, State::Thinking, State::Closed]),
    (State::Thinking, &[State::Speaking, State::Ready, State::Listening, State::Closed, State::Connecting]),
    (State::Speaking, &[State::Ready, State::Listening, State::Thinking, State::Closed, State::Connecting]),
    (State::Closed, &[State::Ready, State::Listening, State::Thinking]),
];

impl Row {
    fn fits(&self, facts: Facts) -> bool {
        let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        fits(self.opened, facts.opened)
            && fits(self.open, facts.open)
            && fits(self.listens, facts.listens)
            && fits(self.turn, facts.turn)
            && fits(self.speaks, facts.speaks)
    }
}

impl State {
    /// The state of a session of which this is true.
    pub(super) fn of(facts: Facts) -> Self {
        STATES.iter().find(|row| row.fits(facts)).map_or(State::Ready, |row| row.state)
    }

    /// The table has this step.
    fn may_become(self, next: Self) -> bool {
        self == next || FOLLOW.iter().any(|(from, to)| *from == self && to.contains(&next))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    from: &'static str,
    to: &'static str,
}

/// How many sessions are in each state.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    states: Family<In, Gauge>,
    odd: Family<Step, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("voxgate_session_states", "Sessions in memory, by state", metrics.states.clone());
        registry.register(
            "voxgate_session_odd_steps",
            "Steps of sessions that the table of states does not have: a fault of the gateway's own",
            metrics.odd.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for the reference.
    pub(super) fn show_labels(&self) {
        for (state, _) in FOLLOW {
            let _ = self.states.get_or_create(&In { state: state.name() });
        }
        let _ = self.odd.get_or_create(&Step { from: State::Closed.name(), to: State::Speaking.name() });
    }
}

/// The state of one session, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Shown {
    state: State,
    metrics: Metrics,
}

impl Shown {
    /// A session begins to be shown.
    pub(super) fn new(state: State, metrics: Metrics) -> Self {
        metrics.states.get_or_create(&In { state: state.name() }).inc();
        Self { state, metrics }
    }

    /// It is in this state now. A step that is in no table is counted, and taken: what is true is true.
    pub(super) fn is(&mut self, state: State) {
        if state == self.state {
            return;
        }
        let (from, to) = (self.state.name(), state.name());
        if !self.state.may_become(state) {
            tracing::warn!(from, to, "a session took a step that it should not");
            self.metrics.odd.get_or_create(&Step { from, to }).inc();
        }
        self.metrics.states.get_or_create(&In { state: from }).dec();
        self.metrics.states.get_or_create(&In { state: to }).inc();
        self.state = state;
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.metrics.states.get_or_create(&In { state: self.state.name() }).dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_facts() -> impl Iterator<Item = Facts> {
        (0..32).map(|bits: u8| {
            let is = |bit: u8| bits >> bit & 1 == 1;
            Facts { opened: is(0), open: is(1), listens: is(2), turn: is(3), speaks: is(4) }
        })
    }

    #[test]
    fn each_row_is_needed_and_the_last_takes_the_rest() {
        for row in &STATES {
            assert!(all_facts().any(|facts| State::of(facts) == row.state), "{:?} is never reached", row.state);
        }
        assert!(all_facts().all(|facts| STATES[5].fits(facts)));
    }

    #[test]
    fn a_turn_outweighs_the_microphone_and_speech_needs_a_turn() {
        let open = Facts { opened: true, open: true, ..Facts::default() };
        assert_eq!(State::of(Facts { listens: true, ..open }), State::Listening);
        assert_eq!(State::of(Facts { listens: true, turn: true, ..open }), State::Thinking);
        assert_eq!(State::of(Facts { listens: true, turn: true, speaks: true, ..open }), State::Speaking);
        assert_eq!(State::of(Facts { speaks: true, ..open }), State::Ready);
        assert_eq!(State::of(Facts { opened: true, listens: true, ..Facts::default() }), State::Closed);
        assert_eq!(State::of(Facts::default()), State::Connecting);
    }

    #[test]
    fn nobody_speaks_without_having_thought_and_no_opened_session_connects_again() {
        for (from, _) in FOLLOW {
            let speaks = from.may_become(State::Speaking);
            assert_eq!(speaks, matches!(from, State::Thinking | State::Speaking), "{from:?}");
        }
        assert!(![State::Ready, State::Listening, State::Closed].iter().any(|from| from.may_become(State::Connecting)));
    }

    #[test]
    fn an_odd_step_is_counted_and_taken_and_a_session_that_ends_leaves_its_state() {
        let metrics = Metrics::default();
        let gauge = |state: State| metrics.states.get_or_create(&In { state: state.name() }).get();
        let mut shown = Shown::new(State::Ready, metrics.clone());
        shown.is(State::Speaking);
        assert_eq!((gauge(State::Ready), gauge(State::Speaking)), (0, 1));
        assert_eq!(metrics.odd.get_or_create(&Step { from: "ready", to: "speaking" }).get(), 1);
        drop(shown);
        assert_eq!(gauge(State::Speaking), 0);
    }
}
