//! Which telemetry is a milestone: worth a line in the lifelog.

use serde_json::{Map, Value, json};

use crate::domain::{Telemetry, Wall};

/// Battery levels (percent) whose crossing is a milestone.
const BATTERY_STEPS: [f64; 5] = [50.0, 20.0, 10.0, 5.0, 2.0];
/// A sample is kept at least this often while telemetry comes, ms.
const SAMPLE_EVERY: u64 = 3_600_000;

/// What the milestones are measured against.
#[derive(Debug, Clone, Default)]
pub struct TelemetryMemory {
    last_kept: Option<Wall>,
    /// When a sample was kept, of those that can be asked for.
    pub(super) sampled: Option<Wall>,
    battery: Option<f64>,
    charging: Option<bool>,
    network: Option<String>,
    location: Option<(Wall, Value)>,
}

impl TelemetryMemory {
    /// Where the device was last, and when it said so.
    pub fn location(&self) -> Option<&(Wall, Value)> {
        self.location.as_ref()
    }

    /// The body of a lifelog entry when this object is a milestone: the first of a session, a battery step,
    /// a change of charging or network, and one sample an hour.
    pub fn milestone(&mut self, telemetry: &Telemetry, now: Wall) -> Option<Value> {
        if let Some(location) = telemetry.groups.get("location") {
            self.location = Some((now, location.clone()));
        }
        let mut why = Vec::new();
        let group = |name: &str| telemetry.groups.get(name).and_then(Value::as_object);
        if let Some(percent) = number(group("battery"), "percent") {
            let step = |level: f64| BATTERY_STEPS.iter().filter(|step| level <= **step).count();
            if self.battery.is_some_and(|before| step(percent) > step(before)) {
                why.push("battery");
            }
            self.battery = Some(percent);
        }
        if let Some(charging) = group("battery").and_then(|battery| battery.get("charging")).and_then(Value::as_bool) {
            if self.charging.is_some_and(|before| before != charging) {
                why.push("charging");
            }
            self.charging = Some(charging);
        }
        if let Some(network) = group("network").and_then(|network| network.get("type")).and_then(Value::as_str) {
            if self.network.as_deref().is_some_and(|before| before != network) {
                why.push("network");
            }
            self.network = Some(network.to_owned());
        }
        match self.last_kept {
            None => why.push("first"),
            Some(kept) if now.0.saturating_sub(kept.0) >= SAMPLE_EVERY => why.push("sample"),
            Some(_) => {}
        }
        if why.is_empty() {
            return None;
        }
        self.last_kept = Some(now);
        Some(json!({"why": why, "telemetry": telemetry.groups}))
    }
}

fn number(group: Option<&Map<String, Value>>, name: &str) -> Option<f64> {
    group?.get(name)?.as_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn battery(percent: f64) -> Telemetry {
        let Value::Object(groups) = json!({"battery": {"percent": percent}}) else { unreachable!() };
        Telemetry { groups, ..Telemetry::default() }
    }

    #[test]
    fn a_battery_that_runs_down_is_noted_at_its_steps_only() {
        let mut memory = TelemetryMemory::default();
        let kept: Vec<bool> = [90.0, 80.0, 50.0, 40.0, 19.0, 18.0, 4.0, 60.0]
            .into_iter()
            .map(|percent| memory.milestone(&battery(percent), Wall(1)).is_some())
            .collect();
        assert_eq!(kept, [true, false, true, false, true, false, true, false]);
    }

    #[test]
    fn a_sample_an_hour_is_kept() {
        let mut memory = TelemetryMemory::default();
        assert!(memory.milestone(&battery(90.0), Wall(0)).is_some());
        assert!(memory.milestone(&battery(90.0), Wall(SAMPLE_EVERY - 1)).is_none());
        assert!(memory.milestone(&battery(90.0), Wall(SAMPLE_EVERY)).is_some());
    }
}
