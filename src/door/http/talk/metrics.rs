//! What is counted of browsers that talk.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What asking for a conversation comes to: let in with a `ticket`, or back with a `pass`; or why not.
pub(super) const RESULTS: [&str; 7] = ["ticket", "pass", "refused", "origin", "protocol", "full", "failed"];
/// What becomes of a ticket that is asked for.
pub(super) const TICKETS: [&str; 2] = ["made", "refused"];

type Labels = [(&'static str, &'static str); 1];

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connects: Family<Labels, Counter>,
    tickets: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Requests of browsers for a conversation at /talk, by result";
        registry.register("voxgate_talk_connects", help, metrics.connects.clone());
        let help = "Tickets for browsers that operators asked for, by result";
        registry.register("voxgate_talk_tickets", help, metrics.tickets.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS {
            drop(self.connects.get_or_create(&[("result", result)]));
        }
        for result in TICKETS {
            drop(self.tickets.get_or_create(&[("result", result)]));
        }
    }

    /// One of [`RESULTS`].
    pub(super) fn connect(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "{result} is missing in RESULTS");
        self.connects.get_or_create(&[("result", result)]).inc();
    }

    /// One of [`TICKETS`].
    pub(super) fn ticket(&self, result: &'static str) {
        debug_assert!(TICKETS.contains(&result), "{result} is missing in TICKETS");
        self.tickets.get_or_create(&[("result", result)]).inc();
    }
}
