//! What tasks count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Use {
    source: &'static str,
    outcome: &'static str,
}

/// `recovered` is taken up again after a restart, `refused` was not taken.
const STEPS: [&str; 8] = ["accepted", "running", "recovered", "success", "failed", "timeout", "canceled", "refused"];
/// Whose tools, and what became of the call.
const SOURCES: [&str; 4] = ["device", "gateway", "mcp", "web"];
const OUTCOMES: [&str; 2] = ["ok", "error"];

/// Counters of tasks.
#[derive(Debug, Clone)]
pub struct Metrics {
    steps: Family<Step, Counter>,
    tools: Family<Use, Counter>,
    pub(super) under_way: Gauge,
    pub(super) running: Gauge,
    pub(super) seconds: Histogram,
    /// Commits of a task's state that failed.
    pub(super) failed_commits: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            steps: Family::default(),
            tools: Family::default(),
            under_way: Gauge::default(),
            running: Gauge::default(),
            seconds: Histogram::new([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0]),
            failed_commits: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("voxgate_tasks", "Steps of digital tasks; refused was not taken", metrics.steps.clone());
        registry.register("voxgate_tasks_under_way", "Tasks that wait or run", metrics.under_way.clone());
        registry.register("voxgate_tasks_running", "Tasks that run", metrics.running.clone());
        registry.register("voxgate_task_tools", "Calls of tools by tasks", metrics.tools.clone());
        registry.register_with_unit(
            "voxgate_task",
            "How long tasks ran, to their end",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "voxgate_task_failed_commits",
            "States of tasks that could not be written",
            metrics.failed_commits.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for step in STEPS {
            drop(self.steps.get_or_create(&Step { step }));
        }
        for source in SOURCES {
            for outcome in OUTCOMES {
                drop(self.tools.get_or_create(&Use { source, outcome }));
            }
        }
    }

    /// Tasks that were done, and that failed or were not done in their time.
    pub(super) fn ended(&self) -> (u64, u64) {
        let of = |step| self.steps.get_or_create(&Step { step }).get();
        (of("success"), of("failed") + of("timeout"))
    }

    pub(super) fn step(&self, step: &'static str) {
        self.steps.get_or_create(&Step { step }).inc();
    }

    pub(super) fn tool(&self, source: &'static str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.tools.get_or_create(&Use { source, outcome }).inc();
    }
}
