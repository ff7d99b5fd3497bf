//! `voxgate lifelog`: what happened.

use clap::Subcommand;
use futures::StreamExt;
use serde_json::Value;

use crate::admin::{LifelogQuery, LifelogRow};
use crate::domain::DeviceId;

use super::context::{Context, block_on};
use super::{table, when};

/// Read the lifelog: sessions, turns, images, telemetry
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    Tail(Tail),
}

/// Show entries, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate lifelog list --device cane-1 --since today
  voxgate lifelog list --kind turn --since 2h --json | jq '.[].detail.transcript'")]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Not before: 2h (ago), today, 2026-11-20, 2026-11-20T10:00, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before; written like --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many, the newest of them
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print one JSON array of {at, device, session, kind, detail}
    #[arg(long)]
    json: bool,
}

/// Show entries as they are written, until interrupted
#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    #[command(flatten)]
    filter: Filter,
    /// Print one JSON object a line: {at, device, session, kind, detail}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Of this device only
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Of this kind only: session, turn, image, telemetry, …
    #[arg(long)]
    kind: Option<String>,
}

/// `list` works on the gateway that runs, else on the store; `tail` on the gateway.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(args, context),
        Command::Tail(args) => block_on(tail(args, context)),
    }
}

fn list(args: List, context: &mut Context<'_>) -> anyhow::Result<()> {
    let now = context.clock.wall();
    let at = |text: &Option<String>| text.as_deref().map(|text| when::parse(text, now, &context.zone)).transpose();
    let (since, until) = (at(&args.since)?, at(&args.until)?);
    let query =
        LifelogQuery { device: args.filter.device, since, until, kind: args.filter.kind, limit: args.limit.max(1) };
    let entries = block_on(async { Ok(context.gateway_or_store().await?.lifelog_list(query).await?) })?;
    if args.json {
        return context.json(&entries);
    }
    if entries.is_empty() {
        writeln!(context.out, "no entry matches")?;
    }
    for entry in &entries {
        writeln!(context.out, "{}", line(entry, context))?;
    }
    Ok(())
}

async fn tail(args: Tail, context: &mut Context<'_>) -> anyhow::Result<()> {
    let query = LifelogQuery { device: args.filter.device, kind: args.filter.kind, ..LifelogQuery::default() };
    let mut entries = context.gateway()?.lifelog_tail(query).await?;
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if args.json {
            context.json(&entry)?;
        } else {
            writeln!(context.out, "{}", line(&entry, context))?;
        }
        context.out.flush()?;
    }
    Ok(())
}

/// One entry on one line: a turn as what was said, a photo as what was asked and told about it, anything else as its details.
fn line(entry: &LifelogRow, context: &Context<'_>) -> String {
    let device = entry.device.as_ref().map_or("-", DeviceId::as_str);
    let text = |key: &str| entry.detail.get(key).and_then(Value::as_str);
    let detail = match (text("transcript"), text("reply"), text("question")) {
        (Some(transcript), reply, _) => {
            let outcome = text("outcome").filter(|outcome| *outcome != "done").unwrap_or_default();
            format!("{transcript:?} → {:?} {outcome}", reply.unwrap_or_default())
        }
        (None, _, Some(question)) if text("path").is_some() => {
            let answer = text("answer").map_or_else(|| text("unanswered").unwrap_or_default().to_owned(), quoted);
            format!("{question:?} → {answer} {}", text("path").unwrap_or_default())
        }
        _ => details(&entry.detail),
    };
    let time = table::time(entry.at, &context.zone);
    format!("{time}  {device}  {}  {detail}", entry.kind).trim_end().to_owned()
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn details(detail: &Value) -> String {
    match detail {
        Value::Object(object) => {
            let pairs: Vec<String> = object.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
