//! The memory that clients' messages may take, all clients together.
//!
//! It counts what grows with what clients send or leave unread: messages on the bus, in queues, under way and
//! retained, once each however many wait for them; downlinks that wait; packets that are half there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget and what is taken from it. Share it as an `Arc`.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    most: usize,
}

impl Memory {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most })
    }

    /// Takes so many bytes, also beyond the limit: who may grow it asks [`Memory::full`] before.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { memory: Arc::clone(self), bytes }
    }

    /// Nothing more should be taken.
    pub fn full(&self) -> bool {
        self.used() >= self.most
    }

    /// Bytes that are taken.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A share of the budget; dropping it gives it back. A clone takes as much again.
#[derive(Debug)]
pub(super) struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Clone for Charge {
    fn clone(&self) -> Self {
        self.memory.charge(self.bytes)
    }
}

impl PartialEq for Charge {
    /// What is charged for makes no difference to what a message says.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_comes_back_however_often_it_was_cloned() {
        let memory = Memory::new(100);
        let first = memory.charge(60);
        let second = first.clone();
        assert_eq!((memory.used(), memory.full()), (120, true));
        drop(first);
        assert_eq!((memory.used(), memory.full()), (60, false));
        drop(second);
        assert_eq!(memory.used(), 0);
    }
}
