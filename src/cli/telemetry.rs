//! `voxgate telemetry`: what a device measured.

use serde_json::{Map, Value};

use crate::admin::{TelemetryQuery, TelemetryRow};
use crate::domain::{DeviceId, Wall};

use super::context::{Context, block_on};
use super::{table, when};

/// Show what a device measured, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate telemetry cane-1 --since 2h
  voxgate telemetry cane-1 --json | jq '.[].sample.battery.percent'")]
pub(super) struct Args {
    /// The device's id
    id: DeviceId,
    /// Not before: 2h (ago), today, 2026-11-20, 2026-11-20T10:00, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many, up to 5000
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one JSON array, as the control API shows it
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs, else the store.
pub(super) fn run(args: Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let now = context.clock.wall();
    let since = args.since.as_deref().map(|text| when::parse(text, now, &context.zone)).transpose()?;
    let query = TelemetryQuery { device: Some(args.id), since, limit: args.limit.max(1), ..TelemetryQuery::default() };
    let rows = block_on(async { Ok(context.gateway_or_store().await?.telemetry_samples(query).await?) })?;
    if args.json {
        return context.json(&rows);
    }
    let row = |row: &TelemetryRow| {
        let measured = if row.schema_version.is_empty() { row.raw.as_ref() } else { Some(&row.sample) };
        vec![table::time(Wall(row.ts), &context.zone), measured.map(words).unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    Ok(table::write(context.out, &["time", "measured"], &rows, "no samples")?)
}

/// `battery.percent=81 network.rssi_dbm=-67`
fn words(groups: &Map<String, Value>) -> String {
    let mut words = Vec::new();
    for (group, value) in groups {
        match value {
            Value::Object(fields) => words.extend(fields.iter().map(|(name, value)| format!("{group}.{name}={value}"))),
            value => words.push(format!("{group}={value}")),
        }
    }
    words.join(" ")
}
