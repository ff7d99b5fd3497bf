//! From which state an operation may come to which, and no other way.
//!
//! queued → sent → acked | failed; canceled and expired from either. A device that was not known to have got it may still
//! say that it did it: its word counts, since a record of the sending can be lost with the power.

use crate::store::records::OperationState as State;

/// It may.
pub(super) fn may(from: State, to: State) -> bool {
    match to {
        State::Queued => false,
        // sent again, on another connection
        State::Sent | State::Acked | State::Failed | State::Canceled | State::Expired => !from.is_final(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 6] = [State::Queued, State::Sent, State::Acked, State::Failed, State::Canceled, State::Expired];

    /// Fault 25 of OpenCane: any state could be followed by any.
    #[test]
    fn nothing_follows_a_final_state_and_nothing_is_queued_again() {
        for from in ALL {
            for to in ALL {
                assert_eq!(may(from, to), !from.is_final() && to != State::Queued, "{from:?} -> {to:?}");
            }
        }
    }
}
