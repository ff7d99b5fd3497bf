//! What a load run found: percentiles, losses, errors; for a person, as JSON, as a plot.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::interrupt::Interrupted;
use super::outage::Outage;
use super::soak::Soak;
use super::turn::Turn;

/// A frame that is later than this against its slot is late, ms; 99 of 100 must not be.
pub const LATE_MS: f64 = 20.0;

/// The spread of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// How many values.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// 90 of 100 are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank below the length")]
            let at = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
            values.get(at).copied().unwrap_or_default()
        };
        Self {
            count: values.len(),
            p50: rank(0.5),
            p90: rank(0.9),
            p99: rank(0.99),
            max: values.last().copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:8.1}  p90 {:8.1}  p99 {:8.1}  max {:8.1}  ({} values)",
            self.p50, self.p90, self.p99, self.max, self.count
        )
    }
}

/// A load run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Simulated devices.
    pub devices: usize,
    /// Turns asked for.
    pub turns: usize,
    /// Turns with an answer.
    pub answered: usize,
    /// Milliseconds from the end of speech (auto) or `listen_stop` (manual), by stage.
    pub stages_ms: BTreeMap<String, Spread>,
    /// Lateness of downlink frames against their slots, ms.
    pub late_ms: Spread,
    /// Downlink frames.
    pub frames: u64,
    /// Holes in their numbers.
    pub lost: u64,
    /// Frames of a turn that was over.
    pub stale: u64,
    /// Errors by text.
    pub errors: BTreeMap<String, usize>,
    /// What would trouble stock firmware, by text; xiaozhi devices only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub complaints: BTreeMap<String, usize>,
    /// What came too early, too late or too fast for it by this machine's clock, by text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mistimed: BTreeMap<String, usize>,
    /// Times at which devices were without the gateway that they had not left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// What the gateway's process took, in a run that was given a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Soak>,
    /// What interruptions came to, when answers were interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Interrupted>,
    /// From the first word to the last answer, s.
    pub seconds: f64,
    /// CPU seconds of the load generator's own process in that time.
    pub generator_cpu_s: f64,
    /// Most resident memory of the load generator's own process, bytes.
    pub generator_rss: u64,
}

impl Report {
    /// Sums up turns; failed ones come as errors.
    pub fn of(devices: usize, results: Vec<Result<Turn, String>>) -> Self {
        let mut report = Self { devices, turns: results.len(), ..Self::default() };
        let mut interruptions = Vec::new();
        let (mut transcript, mut first, mut total, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for result in results {
            let turn = match result {
                Ok(turn) => turn,
                Err(error) => {
                    *report.errors.entry(error).or_default() += 1;
                    continue;
                }
            };
            report.answered += usize::from(turn.answered());
            if let Some(interruption) = turn.interruption {
                interruptions.push(interruption);
            } else {
                transcript.extend(turn.transcript_ms);
                first.extend(turn.first_audio_ms);
                total.push(turn.total_ms);
            }
            late.extend(turn.late_ms.iter().map(|ms| f64::from(*ms)));
            report.frames += u64::from(turn.frames);
            report.lost += u64::from(turn.lost);
            report.stale += u64::from(turn.stale);
            for error in turn.errors {
                *report.errors.entry(error).or_default() += 1;
            }
        }
        report.late_ms = Spread::of(late);
        report.interrupted = (!interruptions.is_empty()).then(|| Interrupted::of(&interruptions));
        if report.interrupted.is_some() {
            return report;
        }
        for (stage, values) in [("transcript", transcript), ("first_audio", first), ("total", total)] {
            report.stages_ms.insert(stage.to_owned(), Spread::of(values));
        }
        report
    }

    /// Every turn was answered, no frame was lost, and 99 of 100 were not late.
    pub fn on_time(&self) -> bool {
        self.clean() && self.late_ms.p99 <= LATE_MS
    }

    /// Every turn was answered, no frame was lost, none of a dead turn was heard, no device complained.
    pub fn clean(&self) -> bool {
        let quiet = self.errors.is_empty() && self.complaints.is_empty();
        let dead = self.interrupted.as_ref().map_or(0, |interrupted| interrupted.after_stop);
        self.answered == self.turns && self.lost == 0 && dead == 0 && self.stale == 0 && quiet
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} devices, {} turns, {} answered, {:.1} s",
            self.devices, self.turns, self.answered, self.seconds
        )?;
        for (stage, spread) in &self.stages_ms {
            writeln!(f, "  {stage:<12} ms  {spread}")?;
        }
        if let Some(interrupted) = &self.interrupted {
            write!(f, "{interrupted}")?;
        } else {
            writeln!(f, "  {:<12} ms  {}", "late frames", self.late_ms)?;
            writeln!(f, "  {} frames, {} lost, {} stale", self.frames, self.lost, self.stale)?;
        }
        let mb = self.generator_rss as f64 / 1e6;
        writeln!(f, "  load generator: {:.1} CPU s, {mb:.0} MB", self.generator_cpu_s)?;
        for outage in &self.outages {
            writeln!(f, "  {outage}")?;
        }
        if let Some(gateway) = &self.gateway {
            write!(f, "{gateway}")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "  {count} x {error}")?;
        }
        for (complaint, count) in &self.complaints {
            writeln!(f, "  {count} x firmware would complain: {complaint}")?;
        }
        for (what, count) in &self.mistimed {
            writeln!(f, "  {count} x mistimed: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let spread = Spread::of((1..=100).map(f64::from).collect());
        assert_eq!((spread.p50, spread.p90, spread.p99, spread.max), (50.0, 90.0, 99.0, 100.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn an_unanswered_turn_is_no_clean_run() {
        let report = Report::of(1, vec![Err("no answer within 30s".into())]);
        assert!(!report.clean());
        assert!(report.to_string().contains("1 x no answer"));
    }
}
