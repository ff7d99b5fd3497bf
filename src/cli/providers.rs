//! `voxgate providers`: how the services stand that the gateway asks, and how it shares requests among them.

use crate::admin::{ProviderRow, ProviderState};

use super::context::{Context, block_on};
use super::table;

/// Show the services that are asked: how they stand, how fast they are, what their weights have become and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Route 0 is the service itself, others stand in for it. WEIGHT is as configured, NOW what it has become, WHY by which terms
(those that are not 1). P50 and P95 are times to the first of an answer; FAILED counts the last five minutes.

Examples:
  voxgate providers
  voxgate providers --json | jq '.[] | select(.state != \"asked\")'")]
pub(super) struct Args {
    /// Print one JSON array: [{capability, route, type, state, weight, present_weight, why, in_flight, queued, p50_ms, …}]
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let rows = block_on(async { Ok(context.gateway()?.providers().await?) })?;
    if args.json {
        return context.json(&rows);
    }
    let heading =
        ["capability", "route", "type", "state", "weight", "now", "why", "at work", "queued", "p50", "p95", "failed"];
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    Ok(table::write(context.out, &heading, &rows, "no services: all are off")?)
}

fn row(row: &ProviderRow) -> Vec<String> {
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    let of = |limit: u32| format!("{} of {limit}", row.in_flight);
    vec![
        row.capability.clone(),
        row.route.to_string(),
        row.kind.clone(),
        state(row),
        row.weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string()),
        row.weight.map_or_else(|| "-".to_owned(), |_| format!("{:.1}", row.present_weight)),
        why(row),
        row.at_once.map_or_else(|| row.in_flight.to_string(), of),
        row.queued.to_string(),
        time(row.p50_ms),
        time(row.p95_ms),
        format!("{} of {}", row.failed, row.asked),
    ]
}

fn state(row: &ProviderRow) -> String {
    match row.state {
        ProviderState::Asked => "asked".to_owned(),
        ProviderState::LeftAlone if row.left_alone_ms == 0 => "tried next".to_owned(),
        ProviderState::LeftAlone => format!("left alone {} s", row.left_alone_ms.div_ceil(1_000)),
        ProviderState::Tried => "tried".to_owned(),
    }
}

/// `latency 0.50 load 0.75`: the terms that change something.
fn why(row: &ProviderRow) -> String {
    let terms =
        [("latency", row.why.latency), ("errors", row.why.errors), ("load", row.why.load), ("cost", row.why.cost)];
    let told = terms.into_iter().filter(|(_, term)| (term - 1.0).abs() >= 0.005);
    let told: Vec<String> = told.map(|(name, term)| format!("{name} {term:.2}")).collect();
    if told.is_empty() { "-".to_owned() } else { told.join(" ") }
}
