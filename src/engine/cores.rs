//! A gate in front of the machine's cores: each engine call holds one, the most urgent waiter is next. A call may hold more
//! while nobody waits for one.
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
    a_call: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: [usize; 4],
}

impl State {
    fn is_awaited(&self) -> bool {
        self.waiting.iter().any(|n| *n > 0)
    }

    fn awaited_by_more_urgent(&self, than: Urgency) -> bool {
        self.waiting[..than as usize].iter().any(|n| *n > 0)
    }
}

impl Cores {
    /// A gate for `cores` calls at a time, at least one. A call may hold up to `a_call` of them.
    pub fn new(cores: usize, a_call: usize) -> Arc<Self> {
        let cores = cores.max(1);
        let state = State { free: cores, waiting: [0; 4] };
        Arc::new(Self { state: Mutex::new(state), freed: Condvar::new(), a_call: a_call.clamp(1, cores) })
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
        Pass { cores: Arc::clone(self), urgency, held: 1 }
    }

    fn give_back(&self, cores: usize) {
        self.lock().free += cores;
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The counters are whole after each statement: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One core or more, given back when dropped.
#[derive(Debug)]
pub struct Pass {
    cores: Arc<Cores>,
    urgency: Urgency,
    held: usize,
}

impl Pass {
    /// Lets those in who are more urgent, then goes on; with one core, where anybody waits.
    pub fn breathe(mut self) -> Self {
        let (awaited, urgently) = {
            let state = self.cores.lock();
            (state.is_awaited(), state.awaited_by_more_urgent(self.urgency))
        };
        if awaited {
            self.hold(1);
        }
        if !urgently {
            return self;
        }
        let (cores, urgency) = (Arc::clone(&self.cores), self.urgency);
        drop(self);
        cores.enter(urgency)
    }

    /// Cores that a call may hold.
    pub fn most(&self) -> usize {
        self.cores.a_call
    }

    /// Holds up to `most` cores (no more than a call may, nor are free), if nobody waits for one. How many it has.
    pub fn widen(&mut self, most: usize) -> usize {
        let mut state = self.cores.lock();
        if !state.is_awaited() {
            let more = self.cores.a_call.min(most).saturating_sub(self.held).min(state.free);
            state.free -= more;
            self.held += more;
        }
        self.held
    }

    fn hold(&mut self, cores: usize) {
        let rest = self.held.saturating_sub(cores);
        if rest > 0 {
            self.held -= rest;
            self.cores.give_back(rest);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.cores.give_back(self.held);
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
        let cores = Cores::new(1, 1);
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
    fn a_call_takes_what_is_free_and_gives_it_back_when_somebody_waits_for_it() {
        let cores = Cores::new(2, 2);
        let mut chat = cores.enter(Urgency::Chat);
        assert_eq!(chat.widen(9), 2);
        assert_eq!(chat.widen(9), 2, "a call may hold no more");
        let mut chat = std::thread::scope(|scope| {
            let other = scope.spawn(|| cores.enter(Urgency::Background));
            until_waiting(&cores, Urgency::Background);
            let mut chat = chat.breathe();
            let mut other = other.join().unwrap();
            assert_eq!((chat.widen(9), other.widen(9)), (1, 1), "each has one");
            chat
        });
        assert_eq!(chat.widen(9), 2);
        drop(chat);
        assert_eq!(cores.lock().free, 2);
    }

    #[test]
    fn a_call_holds_no_more_than_there_are_and_than_it_may_and_asks_for() {
        assert_eq!(Cores::new(2, 8).enter(Urgency::Hearing).widen(9), 2);
        assert_eq!(Cores::new(4, 1).enter(Urgency::Hearing).widen(9), 1);
        assert_eq!(Cores::new(4, 4).enter(Urgency::Hearing).widen(3), 3);
    }

    #[test]
    fn a_chat_answer_lets_speech_in_between_two_tokens() {
        let cores = Cores::new(1, 1);
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
