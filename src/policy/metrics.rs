//! What the policies measure.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Source;
use crate::domain::Level;

/// What may be done to a reply.
const ACTIONS: [&str; 9] = [
    "caution_prefix",
    "truncated",
    "low_confidence",
    "semantic_guard_conflict",
    "semantic_guard_directional",
    "empty",
    "silent_low_priority",
    "silent_quiet_hours",
    "hint",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    source: &'static str,
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Acted {
    source: &'static str,
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rule {
    rule: String,
}

/// Counters; clones share them. Rules are as many as the packs have.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    judged: Family<Judged, Counter>,
    acted: Family<Acted, Counter>,
    rules: Family<Rule, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Replies that were looked at, by who says them and by the worst level (P0 to P3)";
        registry.register("voxgate_policy_judged", help, metrics.judged.clone());
        let help = "What the policies did to replies: a warning put before them, cut, replaced for a reason, not spoken, a hint added";
        registry.register("voxgate_policy_actions", help, metrics.acted.clone());
        let help = "Replies in which a rule held, by the rule's id";
        registry.register("voxgate_policy_rules", help, metrics.rules.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for source in Source::ALL {
            for level in Level::ALL {
                drop(self.judged.get_or_create(&Judged { source: source.name(), level: level.name() }));
            }
            for action in ACTIONS {
                drop(self.acted.get_or_create(&Acted { source: source.name(), action }));
            }
        }
        drop(self.rules.get_or_create(&Rule { rule: "en.traffic".to_owned() }));
    }

    pub(super) fn judged(&self, source: Source, level: Level) {
        self.judged.get_or_create(&Judged { source: source.name(), level: level.name() }).inc();
    }

    pub(super) fn acted(&self, source: Source, action: &'static str) {
        self.acted.get_or_create(&Acted { source: source.name(), action }).inc();
    }

    pub(super) fn rule(&self, rule: &str) {
        self.rules.get_or_create(&Rule { rule: rule.to_owned() }).inc();
    }
}
