//! `voxgate models`: the weights of the local engines.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Subcommand;
use serde_json::json;

use super::context::{Context, block_on};
use super::table;
use crate::config::Config;
use crate::models::{Event, ModelStatus, Models, Selection};
use crate::provider::http::Client;

/// Fetch, list and verify the models of the local engines
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Pull(Pull),
    List(List),
    Verify(Verify),
}

/// Fetch, verify and convert models; goes on where it was interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate models pull                the default set
  voxgate models pull whisper-base   one more")]
pub(super) struct Pull {
    /// Names in the manifest [default: those of the default set that are missing]
    names: Vec<String>,
    /// The language to fetch models for
    #[arg(long, value_name = "TAG", default_value = "en")]
    lang: String,
    /// Fetch also what is there: mends damaged files
    #[arg(long)]
    force: bool,
    /// The folder [default: models in the gateway's data_dir]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object a line: {name, event, bytes, total}
    #[arg(long)]
    json: bool,
}

/// Show the models of the manifest, and which are there
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The folder [default: models in the gateway's data_dir]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON array of {name, part, state, bytes, licence}
    #[arg(long)]
    json: bool,
}

/// Compare the models that are there with their checksums
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The folder [default: models in the gateway's data_dir]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON array of {name, part, state, bytes, licence}
    #[arg(long)]
    json: bool,
}

/// Works on the folder itself.
pub(super) fn run(command: &Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Pull(args) => pull(args, context),
        Command::List(args) => list(args, context),
        Command::Verify(args) => verify(args, context),
    }
}

fn open(dir: Option<&PathBuf>, context: &Context<'_>) -> anyhow::Result<(Models, Config)> {
    let config = context.config()?;
    let mut settings = config.models.clone();
    if let Some(dir) = dir {
        settings.dir = Some(dir.clone());
    }
    Ok((Models::open(&settings, &config.gateway.data_dir)?, config))
}

fn pull(args: &Pull, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (models, config) = open(args.dir.as_ref(), context)?;
    let selection = match (args.names.is_empty(), args.lang.as_str()) {
        (true, "en") => Selection::Default,
        (true, language) => Selection::Language(language.to_owned()),
        (false, _) => Selection::Names(args.names.clone()),
    };
    let client = Client::new(&config.http_client)?;
    let json = args.json;
    let shown = Mutex::new(Shown::default());
    let progress = Arc::new(move |model: &str, event: &Event| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.tell(model, event, json);
    });
    let pulled = block_on(async { Ok(models.pull(&selection, args.force, &client, progress).await?) })?;
    let mut failed = Vec::new();
    for model in &pulled {
        match &model.result {
            Ok(folder) if json => context.json(&json!({"model": model.name, "ready": true, "folder": folder}))?,
            Ok(folder) => writeln!(context.out, "{}: {}", model.name, folder.display())?,
            Err(error) => failed.push(format!("{}: {error}", model.name)),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(failed.join("\n"))) }
}

/// Progress on standard error: a line a step, a download's at most once for each tenth of it.
#[derive(Default)]
struct Shown {
    last: String,
}

impl Shown {
    fn tell(&mut self, model: &str, event: &Event, json: bool) {
        let line = match (json, event) {
            (true, event) => serde_json::to_string(&json!({"model": model, "event": event})).unwrap_or_default(),
            (false, Event::Already) => format!("{model}: is there"),
            (false, Event::Waiting) => format!("{model}: another pull is at work, waiting for it"),
            (false, Event::Source { source }) => format!("{model}: from {source}"),
            (false, Event::Download { file, done, total }) if *total > 0 => {
                format!("{model}: {file} {}% of {} MB", done * 10 / total * 10, total >> 20)
            }
            (false, Event::Download { file, done, .. }) => format!("{model}: {file} {} MB", done >> 22 << 2),
            (false, Event::Resume { file, have }) => format!("{model}: {file} goes on after {} MB", have >> 20),
            (false, Event::Retry { file, error }) => format!("{model}: {file} again: {error}"),
            (false, Event::Verify { file }) => format!("{model}: verifying {file}"),
            (false, Event::Unpack { .. }) => format!("{model}: unpacking"),
            (false, Event::Convert { .. }) => format!("{model}: converting"),
            (false, Event::SourceFailed { source, error }) => format!("{model}: {source} failed: {error}"),
            (false, Event::Ready { size }) => format!("{model}: ready, {} MB", size >> 20),
        };
        if line != self.last {
            eprintln!("{line}");
            self.last = line;
        }
    }
}

fn list(args: &List, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (models, _) = open(args.dir.as_ref(), context)?;
    show(&models.status(), args.json, context)
}

fn verify(args: &Verify, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (models, _) = open(args.dir.as_ref(), context)?;
    let there = models.status().into_iter().filter(ModelStatus::usable);
    let verified = there.map(|model| models.verify(&model.name, |_, _| true)).collect::<Result<Vec<_>, _>>()?;
    show(&verified, args.json, context)?;
    match verified.iter().find(|model| !model.usable()) {
        Some(model) => anyhow::bail!("{} is damaged: run voxgate models pull --force {}", model.name, model.name),
        None => Ok(()),
    }
}

fn show(models: &[ModelStatus], json: bool, context: &mut Context<'_>) -> anyhow::Result<()> {
    if json {
        let rows: Vec<_> = models
            .iter()
            .map(|m| {
                json!({"name": m.name, "part": m.purpose.name(), "ready": m.usable(),
            "default": m.default, "bytes": m.size, "download": m.download, "licence": m.licence, "folder": m.folder,
            "remedy": m.remedy})
            })
            .collect();
        return context.json(&rows);
    }
    let row = |m: &ModelStatus| {
        let state = if m.usable() { "ready".to_owned() } else { m.remedy.clone().unwrap_or_default() };
        vec![m.name.clone(), m.purpose.name().to_owned(), m.licence.clone(), format!("{} MB", m.download >> 20), state]
    };
    let rows: Vec<Vec<String>> = models.iter().map(row).collect();
    Ok(table::write(context.out, &["model", "part", "licence", "download", "state"], &rows, "no models")?)
}
