//! How the gateway is, and how it was: noted by a clock, not by who asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Ask, Endpoint, Nothing};
use super::fault::Fault;
use crate::admin::{ProviderRow, Reloaded, Role, Runtime, Sample};

/// The endpoints.
pub(super) fn table() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/runtime/status", Role::Viewer, "How the gateway and its devices are", status),
        Endpoint::get("/v1/runtime/providers", Role::Viewer, "How the services stand that the gateway asks", providers),
        Endpoint::get("/v1/runtime/observability", Role::Viewer, "Whether the gateway is within thresholds", now),
        Endpoint::get("/v1/runtime/observability/history", Role::Viewer, "How the gateway was, in buckets", history),
        Endpoint::post("/v1/config/reload", Role::Admin, "Reads services, prompts, voices and keys anew", reload),
    ]
}

async fn status(ask: Ask<Nothing>) -> Result<Runtime, Fault> {
    Ok(ask.api.admin.runtime().await?)
}

async fn reload(ask: Ask<Nothing>) -> Result<Reloaded, Fault> {
    Ok(ask.api.admin.config_reload().await?)
}

/// The services.
#[derive(Debug, Serialize, JsonSchema)]
struct Services {
    /// How many there are.
    count: usize,
    /// The service itself of each ability, then those that stand in for it.
    items: Vec<ProviderRow>,
}

async fn providers(ask: Ask<Nothing>) -> Result<Services, Fault> {
    let items = ask.api.admin.providers().await?;
    Ok(Services { count: items.len(), items })
}

/// What is too much.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct Limits {
    /// Share of devices that are offline [default: 0.3].
    #[serde(default, alias = "deviceOfflineRateMax")]
    device_offline_rate_max: Option<f64>,
    /// Share of turns that failed, since the start [default: 0.3].
    #[serde(default, alias = "voiceTurnFailureRateMax")]
    voice_turn_failure_rate_max: Option<f64>,
    /// Share of tasks that failed, since the start [default: 0.3].
    #[serde(default, alias = "taskFailureRateMax")]
    task_failure_rate_max: Option<f64>,
    /// With fewer devices their share is not looked at [default: 1].
    #[serde(default, alias = "minDevicesTotalForAlert")]
    min_devices_total_for_alert: Option<u64>,
    /// With fewer turns their share is not looked at [default: 10].
    #[serde(default, alias = "minVoiceTurnTotalForAlert")]
    min_voice_turn_total_for_alert: Option<u64>,
    /// With fewer tasks their share is not looked at [default: 10].
    #[serde(default, alias = "minTaskTotalForAlert", alias = "min_task_total")]
    min_task_total_for_alert: Option<u64>,
}

/// The thresholds that were looked at.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Thresholds {
    device_offline_rate_max: f64,
    voice_turn_failure_rate_max: f64,
    task_failure_rate_max: f64,
    min_devices_total_for_alert: u64,
    min_voice_turn_total_for_alert: u64,
    min_task_total_for_alert: u64,
}

impl Limits {
    fn read(&self) -> Result<Thresholds, Fault> {
        let share = |value: Option<f64>| match value.unwrap_or(0.3) {
            share if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(Fault::bad("a share is a number from 0 to 1")),
        };
        Ok(Thresholds {
            device_offline_rate_max: share(self.device_offline_rate_max)?,
            voice_turn_failure_rate_max: share(self.voice_turn_failure_rate_max)?,
            task_failure_rate_max: share(self.task_failure_rate_max)?,
            min_devices_total_for_alert: self.min_devices_total_for_alert.unwrap_or(1),
            min_voice_turn_total_for_alert: self.min_voice_turn_total_for_alert.unwrap_or(10),
            min_task_total_for_alert: self.min_task_total_for_alert.unwrap_or(10),
        })
    }
}

/// Something is beyond its threshold.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Alert {
    metric: String,
    value: f64,
    threshold: f64,
}

/// What is beyond its threshold.
fn alerts(sample: &Sample, limits: &Thresholds) -> Vec<Alert> {
    let shares = [
        (
            "device_offline_rate",
            sample.device_offline_rate,
            limits.device_offline_rate_max,
            sample.devices_total >= limits.min_devices_total_for_alert,
        ),
        (
            "voice_turn_failure_rate",
            sample.voice_turn_failure_rate,
            limits.voice_turn_failure_rate_max,
            sample.voice_turn_total >= limits.min_voice_turn_total_for_alert,
        ),
        (
            "task_failure_rate",
            sample.task_failure_rate,
            limits.task_failure_rate_max,
            sample.tasks_done_total + sample.tasks_failed_total >= limits.min_task_total_for_alert,
        ),
    ];
    let beyond = shares.into_iter().filter(|(_, value, threshold, enough)| *enough && value > threshold);
    beyond.map(|(metric, value, threshold, _)| Alert { metric: metric.to_owned(), value, threshold }).collect()
}

/// How the gateway is.
#[derive(Debug, Serialize, JsonSchema)]
struct Now {
    /// There is no alert.
    healthy: bool,
    ts: u64,
    metrics: Sample,
    thresholds: Thresholds,
    alerts: Vec<Alert>,
}

async fn now(ask: Ask<Limits>) -> Result<Now, Fault> {
    let thresholds = ask.input.read()?;
    let metrics = ask.api.admin.sample().await?;
    let alerts = alerts(&metrics, &thresholds);
    Ok(Now { healthy: alerts.is_empty(), ts: metrics.ts, metrics, thresholds, alerts })
}

/// Of which time, in what steps. The shares of [`Limits`] say what is healthy.
#[derive(Debug, Deserialize, JsonSchema)]
struct Span {
    /// How far back, 60 to 86400 [default: 1800].
    #[serde(default, alias = "windowSeconds")]
    window_seconds: Option<u32>,
    /// How long a bucket is, 5 to 3600 [default: 60].
    #[serde(default, alias = "bucketSeconds")]
    bucket_seconds: Option<u32>,
    /// The last so many buckets, 1 to 1000 [default: 240].
    #[serde(default, alias = "maxPoints")]
    max_points: Option<u32>,
    /// The notes themselves too.
    #[serde(default, alias = "includeRaw")]
    include_raw: Option<bool>,
    /// Share of devices that are offline [default: 0.3].
    #[serde(default, alias = "deviceOfflineRateMax")]
    device_offline_rate_max: Option<f64>,
    /// Share of turns that failed, since the start [default: 0.3].
    #[serde(default, alias = "voiceTurnFailureRateMax")]
    voice_turn_failure_rate_max: Option<f64>,
    /// Share of tasks that failed, since the start [default: 0.3].
    #[serde(default, alias = "taskFailureRateMax")]
    task_failure_rate_max: Option<f64>,
}

/// One bucket that has notes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Point {
    bucket_index: u64,
    ts_start: u64,
    ts_end: u64,
    count: u64,
    healthy_ratio: f64,
    device_offline_rate_avg: f64,
    device_offline_rate_max: f64,
    voice_turn_failure_rate_avg: f64,
    voice_turn_failure_rate_max: f64,
    task_failure_rate_avg: f64,
    task_failure_rate_max: f64,
    operations_under_way_max: u64,
    sessions_max: u64,
    tasks_running_max: u64,
}

/// From the first to the last note.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
struct Trend {
    device_offline_rate_delta: f64,
    voice_turn_failure_rate_delta: f64,
    task_failure_rate_delta: f64,
}

/// All of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Summary {
    sample_count: usize,
    point_count: usize,
    healthy_ratio: f64,
    trend: Trend,
}

/// How the gateway was.
#[derive(Debug, Serialize, JsonSchema)]
struct History {
    window_seconds: u32,
    bucket_seconds: u32,
    points: Vec<Point>,
    summary: Summary,
    /// The last note.
    latest: Option<Sample>,
    /// Where it comes from: always `store`.
    source: String,
    /// The notes, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Vec<Sample>>,
}

async fn history(ask: Ask<Span>) -> Result<History, Fault> {
    let Span { window_seconds, bucket_seconds, max_points, include_raw, .. } = ask.input;
    let limits = Limits {
        device_offline_rate_max: ask.input.device_offline_rate_max,
        voice_turn_failure_rate_max: ask.input.voice_turn_failure_rate_max,
        task_failure_rate_max: ask.input.task_failure_rate_max,
        min_devices_total_for_alert: None,
        min_voice_turn_total_for_alert: None,
        min_task_total_for_alert: None,
    };
    let thresholds = limits.read()?;
    // as OpenCane does: what is out of range is brought into it
    let window = window_seconds.unwrap_or(1_800).clamp(60, 86_400);
    let bucket = bucket_seconds.unwrap_or(60).clamp(5, 3_600);
    let most = max_points.unwrap_or(240).clamp(1, 1_000) as usize;
    let now = ask.api.clock.wall().0;
    let since = now.saturating_sub(u64::from(window) * 1_000);
    let samples = ask.api.admin.samples(since).await?;
    let mut points = buckets(&samples, since, u64::from(bucket) * 1_000, &thresholds);
    points.drain(..points.len().saturating_sub(most));
    let healthy = samples.iter().filter(|sample| alerts(sample, &thresholds).is_empty()).count();
    let summary = Summary {
        sample_count: samples.len(),
        point_count: points.len(),
        healthy_ratio: if samples.is_empty() { 1.0 } else { healthy as f64 / samples.len() as f64 },
        trend: trend(&samples),
    };
    Ok(History {
        window_seconds: window,
        bucket_seconds: bucket,
        points,
        summary,
        latest: samples.last().cloned(),
        source: "store".to_owned(),
        raw: include_raw.unwrap_or_default().then_some(samples),
    })
}

fn trend(samples: &[Sample]) -> Trend {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Trend::default() };
    Trend {
        device_offline_rate_delta: last.device_offline_rate - first.device_offline_rate,
        voice_turn_failure_rate_delta: last.voice_turn_failure_rate - first.voice_turn_failure_rate,
        task_failure_rate_delta: last.task_failure_rate - first.task_failure_rate,
    }
}

/// The notes, which are in the order of time, by buckets of `width` ms from `since` on; empty ones are left out.
fn buckets(samples: &[Sample], since: u64, width: u64, limits: &Thresholds) -> Vec<Point> {
    let index = |sample: &Sample| sample.ts.saturating_sub(since) / width.max(1);
    samples
        .chunk_by(|a, b| index(a) == index(b))
        .filter_map(|group| {
            let at = index(group.first()?);
            let count = group.len() as f64;
            let average = |of: fn(&Sample) -> f64| group.iter().map(of).sum::<f64>() / count;
            let largest = |of: fn(&Sample) -> f64| group.iter().map(of).fold(0.0, f64::max);
            let healthy = group.iter().filter(|sample| alerts(sample, limits).is_empty()).count() as f64;
            Some(Point {
                bucket_index: at,
                ts_start: since + at * width,
                ts_end: since + (at + 1) * width,
                count: group.len() as u64,
                healthy_ratio: healthy / count,
                device_offline_rate_avg: average(|sample| sample.device_offline_rate),
                device_offline_rate_max: largest(|sample| sample.device_offline_rate),
                voice_turn_failure_rate_avg: average(|sample| sample.voice_turn_failure_rate),
                voice_turn_failure_rate_max: largest(|sample| sample.voice_turn_failure_rate),
                task_failure_rate_avg: average(|sample| sample.task_failure_rate),
                task_failure_rate_max: largest(|sample| sample.task_failure_rate),
                operations_under_way_max: group.iter().map(|s| s.operations_under_way).max().unwrap_or_default(),
                sessions_max: group.iter().map(|s| s.sessions).max().unwrap_or_default(),
                tasks_running_max: group.iter().map(|s| s.tasks_running).max().unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ts: u64, offline: f64) -> Sample {
        Sample { ts, devices_total: 10, device_offline_rate: offline, ..Sample::default() }
    }

    const LIMITS: Thresholds = Thresholds {
        device_offline_rate_max: 0.3,
        voice_turn_failure_rate_max: 0.3,
        task_failure_rate_max: 0.3,
        min_devices_total_for_alert: 1,
        min_voice_turn_total_for_alert: 10,
        min_task_total_for_alert: 10,
    };

    #[test]
    fn buckets_hold_what_was_noted_in_their_time_and_empty_ones_are_left_out() {
        let samples = [at(1_000, 0.0), at(1_900, 0.5), at(9_000, 0.25)];
        let points = buckets(&samples, 1_000, 1_000, &LIMITS);
        assert_eq!(points.iter().map(|p| (p.bucket_index, p.count)).collect::<Vec<_>>(), [(0, 2), (8, 1)]);
        assert!((points[0].device_offline_rate_avg - 0.25).abs() < 1e-9);
        assert!((points[0].device_offline_rate_max - 0.5).abs() < 1e-9);
        assert!((points[0].healthy_ratio - 0.5).abs() < 1e-9);
        assert_eq!((points[1].ts_start, points[1].ts_end), (9_000, 10_000));
    }

    #[test]
    fn few_turns_make_no_alert_and_many_do() {
        let failing = |turns| Sample {
            voice_turn_total: turns,
            voice_turn_failure_rate: 0.9,
            devices_total: 0,
            ..Sample::default()
        };
        assert!(alerts(&failing(9), &LIMITS).is_empty());
        assert_eq!(alerts(&failing(10), &LIMITS).len(), 1);
    }

    #[test]
    fn tasks_that_fail_are_told_when_there_were_enough_of_them() {
        let failing = |done, failed| Sample {
            tasks_done_total: done,
            tasks_failed_total: failed,
            task_failure_rate: failed as f64 / (done + failed) as f64,
            ..Sample::default()
        };
        assert!(alerts(&failing(0, 9), &LIMITS).is_empty());
        assert!(alerts(&failing(8, 2), &LIMITS).is_empty());
        let found = alerts(&failing(5, 5), &LIMITS);
        assert_eq!(found.iter().map(|alert| alert.metric.as_str()).collect::<Vec<_>>(), ["task_failure_rate"]);
    }

    #[test]
    fn a_note_of_an_older_version_is_read() {
        let mut note = serde_json::to_value(at(1, 0.5)).unwrap_or_default();
        note.as_object_mut().into_iter().for_each(|note| note.retain(|name, _| !name.contains("task")));
        assert_eq!(serde_json::from_value::<Sample>(note).ok(), Some(at(1, 0.5)));
    }
}
