//! A gate in front of the machine's cores: each engine call holds one, the most urgent waiter is next.
//!
//! Speech goes before hearing and hearing before chat, because a listener is waiting for the next clause
//! and a chat answer takes seconds: it lets others in between its tokens. It knows nothing of what is run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Tens of milliseconds, and a listener hears the gap.
    Speech = 0,
    /// Hundreds of milliseconds, and a speaker waits.
    Hearing = 1,
    /// Seconds, in steps.
    Chat = 2,
    /// Whenever.
    Background = 3,
}

/// The gate.
#[derive(Debug)]
pub struct Cores {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: [usize; 4],
}

impl State {
    fn awaited_by_more_urgent(&self, than: Urgency) -> bool {
        self.waiting[..than as usize].iter().any(|n| *n > 0)
    }
}

impl Cores {
    /// A gate for `cores` calls at a time, at least one.
    pub fn new(cores: usize) -> Arc<Self> {
        let state = State { free: cores.max(1), waiting: [0; 4] };
        Arc::new(Self { state: Mutex::new(state), freed: Condvar::new() })
    }

    /// Blocks the thread until a core is free and nobody more urgent waits.
    pub fn enter(self: &Arc<Self>, urgency: Urgency) -> Pass {
        let mut state = self.lock();
        state.waiting[urgency as usize] += 1;
        while state.free == 0 || state.awaited_by_more_urgent(urgency) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting[urgency as usize] -= 1;
        state.free -= 1;
        let more = state.free > 0;
        drop(state);
        if more {
            // Somebody less urgent may have been held back only by this waiter.
            self.freed.notify_all();
        }
        Pass { cores: Arc::clone(self), urgency }
    }

    fn leave(&self) {
        self.lock().free += 1;
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The counters are whole after each statement: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One core, given back when dropped.
#[derive(Debug)]
pub struct Pass {
    cores: Arc<Cores>,
    urgency: Urgency,
}

impl Pass {
    /// Lets those in who are more urgent, then goes on.
    pub fn breathe(self) -> Self {
        if !self.cores.lock().awaited_by_more_urgent(self.urgency) {
            return self;
        }
        let (cores, urgency) = (Arc::clone(&self.cores), self.urgency);
        drop(self);
        cores.enter(urgency)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.cores.leave();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn until_waiting(cores: &Cores, urgency: Urgency) {
        while cores.lock().waiting[urgency as usize] == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_most_urgent_waiter_is_next_whoever_came_first() {
        let cores = Cores::new(1);
        let held = cores.enter(Urgency::Background);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for urgency in [Urgency::Chat, Urgency::Hearing, Urgency::Speech] {
                let (cores, order) = (&cores, &order);
                scope.spawn(move || {
                    let _pass = cores.enter(urgency);
                    order.lock().unwrap().push(urgency);
                });
                until_waiting(cores, urgency);
            }
            drop(held);
        });
        assert_eq!(*order.lock().unwrap(), [Urgency::Speech, Urgency::Hearing, Urgency::Chat]);
    }

    #[test]
    fn a_chat_answer_lets_speech_in_between_two_tokens() {
        let cores = Cores::new(1);
        let chat = cores.enter(Urgency::Chat);
        let spoken = Mutex::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _pass = cores.enter(Urgency::Speech);
                *spoken.lock().unwrap() = true;
            });
            until_waiting(&cores, Urgency::Speech);
            let _chat = chat.breathe();
            assert!(*spoken.lock().unwrap());
        });
    }
}
