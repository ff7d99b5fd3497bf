//! `voxgate cache`: what is kept so that no service need be asked twice.

use clap::{Subcommand, ValueEnum};

use super::context::{Context, block_on};
use super::table;
use crate::admin::{CacheName, CacheRow};
use crate::domain::ByteSize;

/// Answers, speech and transcripts that are kept
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Stats(Stats),
    Clear(Clear),
    Warm(Warm),
}

/// Show what caches hold, and how often they were asked in vain
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Print one JSON array of {cache, on, entries, bytes, hits, misses, note}
    #[arg(long)]
    json: bool,
}

/// Forget what a cache holds
#[derive(Debug, clap::Args)]
pub(super) struct Clear {
    /// Which cache
    #[arg(default_value = "all")]
    cache: Which,
    /// Print one JSON array of {cache, entries}
    #[arg(long)]
    json: bool,
}

/// Make the phrases of `cache.speech.phrases` that are not there, in the gateway's own voice and in those of its devices
#[derive(Debug, clap::Args)]
pub(super) struct Warm {
    /// Print one JSON object: {made, there, failed}, in clauses
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Chat,
    Speech,
    Transcripts,
    All,
}

/// Asks the gateway that runs.
pub(super) fn run(command: &Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Stats(args) => stats(args, context),
        Command::Clear(args) => clear(args, context),
        Command::Warm(args) => warm(args, context),
    }
}

fn stats(args: &Stats, context: &mut Context<'_>) -> anyhow::Result<()> {
    let rows = block_on(async { Ok(context.gateway()?.cache_stats().await?) })?;
    if args.json {
        return context.json(&rows);
    }
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let heading = ["cache", "state", "entries", "size", "hits", "misses", "found", "remark"];
    Ok(table::write(context.out, &heading, &rows, "no caches")?)
}

fn row(row: &CacheRow) -> Vec<String> {
    let asked = row.hits + row.misses;
    let found = (row.hits * 100).checked_div(asked).map_or("-".to_owned(), |share| format!("{share} %"));
    vec![
        row.cache.clone(),
        if row.on { "on" } else { "off" }.to_owned(),
        row.entries.to_string(),
        ByteSize(row.bytes.div_ceil(1 << 10) << 10).to_string(),
        row.hits.to_string(),
        row.misses.to_string(),
        found,
        row.note.clone(),
    ]
}

fn clear(args: &Clear, context: &mut Context<'_>) -> anyhow::Result<()> {
    let which = match args.cache {
        Which::Chat => CacheName::Chat,
        Which::Speech => CacheName::Speech,
        Which::Transcripts => CacheName::Transcripts,
        Which::All => CacheName::All,
    };
    let cleared = block_on(async { Ok(context.gateway()?.cache_clear(which).await?) })?;
    if args.json {
        return context.json(&cleared);
    }
    for gone in cleared {
        eprintln!("{}: {} forgotten", gone.cache, gone.entries);
    }
    Ok(())
}

fn warm(args: &Warm, context: &mut Context<'_>) -> anyhow::Result<()> {
    let made = block_on(async { Ok(context.gateway()?.cache_warm().await?) })?;
    if args.json {
        context.json(&made)?;
    } else {
        eprintln!("{} clauses made, {} were there, {} failed", made.made, made.there, made.failed);
    }
    anyhow::ensure!(made.failed == 0, "{} clauses could not be made: see the log, and voxgate status", made.failed);
    Ok(())
}
