//! One request to one service: a place at its gate, leave of its breaker, and what is learnt of how it ended.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::Leave;
use super::gate::Slot;
use super::{Inner, number};
use crate::provider::{ErrorKind, ProviderError};

/// One request to one service. Dropped without a word, nothing is learnt of the service.
pub(super) struct Ticket<P: ?Sized> {
    inner: Arc<Inner<P>>,
    n: usize,
    leave: Leave,
    slot: Slot,
    begun: Duration,
}

impl<P: ?Sized> Ticket<P> {
    pub(super) fn new(inner: &Arc<Inner<P>>, n: usize, leave: Leave, slot: Slot) -> Self {
        Self { inner: Arc::clone(inner), n, leave, slot, begun: inner.clock.mono() }
    }

    /// Which service.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Since it was asked.
    fn took(&self) -> Duration {
        self.inner.clock.mono().saturating_sub(self.begun)
    }

    /// The first of the answer is here, and its reader is busy with it.
    pub(super) fn heard(&mut self) {
        let Inner { capability, routes, clock, metrics, .. } = &*self.inner;
        let took = self.took();
        metrics.first(capability, number(self.n), took.as_secs_f64());
        routes[self.n].window().first(clock.mono(), took);
        self.slot.rests();
    }

    /// The reader wants more.
    pub(super) fn works(&mut self) {
        self.slot.works();
    }

    /// The reader has more.
    pub(super) fn rests(&mut self) {
        self.slot.rests();
    }

    /// The answer is whole, or as much of it as somebody wanted.
    pub(super) fn answered(self) {
        let Self { inner, n, leave, slot, .. } = self;
        inner.metrics.asked(inner.capability, number(n), "answered");
        inner.routes[n].window().ended(inner.clock.mono(), false);
        slot.served();
        leave.answered();
    }

    /// It failed.
    pub(super) fn failed(self, error: &ProviderError) {
        let Self { inner, n, leave, .. } = self;
        let (capability, kind) = (inner.capability, error.kind.name());
        tracing::warn!(capability, route = n, kind, %error, "a service failed");
        inner.metrics.asked(capability, number(n), kind);
        inner.routes[n].window().ended(inner.clock.mono(), true);
        leave.failed(error);
    }

    /// Another was first. It would have taken longer than this; when that is too long, it has failed.
    pub(super) fn outrun(self) {
        let (took, inner) = (self.took(), Arc::clone(&self.inner));
        inner.routes[self.n].window().first(inner.clock.mono(), took);
        let slow = inner.settings.slow_after;
        if took >= slow.0 {
            let what = format!("not the first of an answer within {slow}, and another service had one");
            self.failed(&ProviderError::new(ErrorKind::Timeout, inner.capability, what));
        } else {
            inner.metrics.asked(inner.capability, number(self.n), "outrun");
        }
    }
}
