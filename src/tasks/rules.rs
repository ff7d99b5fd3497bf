//! From which state a task may come to which, and no other way.
//!
//! pending → running → success | failed | timeout; canceled from either; running → pending when the gateway that worked on
//! it is gone; pending → failed when that happened too often.

use crate::store::records::TaskState as State;

/// It may.
pub(super) fn may(from: State, to: State) -> bool {
    match to {
        State::Pending | State::Success | State::Timeout => from == State::Running,
        State::Running => from == State::Pending,
        State::Failed | State::Canceled => !from.is_final(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_final_state_so_that_a_late_success_never_undoes_a_cancellation() {
        for from in State::ALL.into_iter().filter(|state| state.is_final()) {
            for to in State::ALL {
                assert!(!may(from, to), "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn what_was_never_begun_is_neither_done_nor_late() {
        assert!(!may(State::Pending, State::Success) && !may(State::Pending, State::Timeout));
        assert!(may(State::Pending, State::Canceled) && may(State::Running, State::Canceled));
        assert!(may(State::Running, State::Pending) && !may(State::Pending, State::Pending));
    }
}
