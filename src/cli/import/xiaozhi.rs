//! `voxgate import xiaozhi-server`: devices, agents and services of xinnan-tech/xiaozhi-esp32-server.
//!
//! Devices are written, each a step of its own, so that a second run goes on where a first one ended; settings are printed
//! for a person to put into `voxgate.toml`; keys go to files. Nothing is done without `--apply`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use crate::admin::{Admin, ImportBoard, ImportOutcome};
use crate::domain::Span;

use super::super::context::{Context, block_on};
use super::{Trouble, text};

mod boards;
mod database;
mod dump;
mod keys;
mod old;
mod services;
mod settings;
mod yaml;

use boards::Board;
use old::Old;
use settings::{Note, Settings};

/// Bytes of a dump that are read at once.
const BUFFER: usize = 1 << 20;

/// Take over devices, agents and services of xiaozhi-esp32-server
///
/// Says what it would do, and does nothing, until --apply is given. Each device is expected from then on: the first board
/// that says its MAC within --within is let in without a code, with the name, instructions, language and voice that it had;
/// a second one that says the same MAC is not. What is there already stays as it is, so this can be run again. Settings are
/// printed, to be put into voxgate.toml; a service that is not in OpenAI's form is named with what to do instead. Keys of
/// services are never printed: with --keys they are written to files, mode 0600.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mysqldump --result-file=dump.sql xiaozhi_esp32_server        on the old server, which has a console
  voxgate import xiaozhi-server --dump dump.sql
  voxgate import xiaozhi-server --dump dump.sql --keys /etc/voxgate/keys --apply
  voxgate import xiaozhi-server --yaml config.yaml --yaml data/.config.yaml --mac f4:12:fa:00:00:01 --apply
  voxgate import xiaozhi-server --dump dump.sql --json | jq -r .settings")]
pub(in crate::cli) struct XiaozhiServer {
    /// A dump of the console's database, as mysqldump writes it
    #[arg(long, value_name = "FILE", required_unless_present = "yaml", conflicts_with = "yaml")]
    dump: Option<PathBuf>,
    /// The configuration of a server without a console: data/.config.yaml; may be given more than once, a later one counts
    /// before an earlier one
    #[arg(long, value_name = "FILE")]
    yaml: Vec<PathBuf>,
    /// One more board to expect, which the files do not name (may be given more than once)
    #[arg(long, value_name = "MAC")]
    mac: Vec<String>,
    /// How long boards are expected: a minute to thirty days
    #[arg(long, value_name = "TIME", value_parser = Span::parse, default_value = "7d")]
    within: Span,
    /// The folder for keys of services; it must be there, and the gateway must be able to read it
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Print one JSON object: {applied, devices, notes, settings, keys}
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    applied: bool,
    devices: Vec<Row>,
    notes: Vec<Told>,
    /// For `voxgate.toml`.
    settings: String,
    /// Files of keys.
    keys: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    mac: String,
    name: Option<String>,
    agent: Option<String>,
    outcome: ImportOutcome,
}

#[derive(Debug, Serialize)]
struct Told {
    what: String,
    then: String,
}

/// Works on the gateway that runs, else on the store.
pub(in crate::cli) fn run(args: &XiaozhiServer, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (file, mut old) = read(args)?;
    let folder = args.keys.as_deref().map(std::path::absolute).transpose()?;
    let settings = Settings::of(&old, folder.as_deref());
    let boards = boards::of(&mut old, &args.mac, &settings, args.within);
    let mut complaints = complain(&file, &old.troubles);
    if boards.list.is_empty() && settings.piece.is_empty() {
        bail!(
            "{}: there is nothing in it that could be taken: is it a dump of the console's database?",
            file.display()
        );
    }
    block_on(async {
        let admin = context.gateway_or_store().await?;
        if args.apply {
            for key in &settings.keys {
                keys::write(key)?;
            }
        }
        let rows = give(&*admin, &boards.list, args.apply).await?;
        complaints += refused(&file, &boards.list, &rows);
        let notes = settings.notes.iter().chain(&boards.notes).map(told).collect();
        let keys = settings.keys.iter().map(|key| key.file.clone()).collect();
        let piece = toml::to_string_pretty(&settings.piece).context("the settings")?;
        let report = Report { applied: args.apply, devices: rows, notes, settings: piece, keys };
        if args.json {
            context.json(&report)?;
        } else {
            print(&report, args, context)?;
        }
        ensure!(complaints == 0, "{complaints} things were not taken, as said above; what else there was is listed");
        Ok(())
    })
}

fn told(note: &Note) -> Told {
    Told { what: note.what.clone(), then: note.then.clone() }
}

/// The file for complaints, and what stands there.
fn read(args: &XiaozhiServer) -> anyhow::Result<(PathBuf, Old)> {
    if let Some(path) = &args.dump {
        let name = || path.display().to_string();
        let mut input = BufReader::with_capacity(BUFFER, File::open(path).with_context(name)?);
        is_text(path, input.fill_buf().with_context(name)?)?;
        return Ok((path.clone(), database::read(input).with_context(name)?));
    }
    let mut sources = Vec::with_capacity(args.yaml.len());
    for path in &args.yaml {
        sources.push((path.as_path(), text(path)?));
    }
    let old = yaml::read(&sources).map_err(|(path, Trouble { line, what, remedy })| {
        anyhow::anyhow!("{}:{line}: {what}; {remedy}", path.display())
    })?;
    Ok((args.yaml.last().cloned().unwrap_or_default(), old))
}

/// What a dump is not, told by how it begins.
fn is_text(path: &Path, head: &[u8]) -> anyhow::Result<()> {
    let path = path.display();
    ensure!(!head.starts_with(&[0x1F, 0x8B]), "{path}: is packed; unpack it first: gunzip {path}");
    ensure!(!head.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]), "{path}: is packed; unpack it first: unzstd {path}");
    let wide = head.starts_with(&[0xFF, 0xFE]) || head.starts_with(&[0xFE, 0xFF]);
    ensure!(!wide, "{path}: is UTF-16, as PowerShell writes it; make the dump with mysqldump --result-file=FILE");
    Ok(())
}

/// Each device by itself: what was done stays done when a later one fails.
async fn give(admin: &dyn Admin, boards: &[Board], apply: bool) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(boards.len());
    for board in boards {
        let ImportBoard { mac, name, .. } = board.import.clone();
        let given = admin.import_board(board.import.clone(), !apply).await;
        let outcome = given.with_context(|| {
            let (done, all) = (rows.len(), boards.len());
            format!("device {mac}: after {done} of {all} devices; when it is mended, run this again and it goes on")
        })?;
        rows.push(Row { mac, name, agent: board.agent.clone(), outcome });
    }
    Ok(rows)
}

/// Names what was found wrong in the file, on standard error; says how much.
fn complain(file: &Path, troubles: &[Trouble]) -> usize {
    for Trouble { line, what, remedy } in troubles {
        let at = if *line == 0 { String::new() } else { format!(":{line}") };
        eprintln!("{}{at}: {what}: {remedy}", file.display());
    }
    troubles.len()
}

fn refused(file: &Path, boards: &[Board], rows: &[Row]) -> usize {
    let trouble = |(board, row): (&Board, &Row)| match &row.outcome {
        ImportOutcome::Refused(why) => {
            Some(Trouble { line: board.line, what: format!("device {}", row.mac), remedy: why.clone() })
        }
        ImportOutcome::Added | ImportOutcome::There => None,
    };
    complain(file, &boards.iter().zip(rows).filter_map(trouble).collect::<Vec<_>>())
}

fn print(report: &Report, args: &XiaozhiServer, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (mut added, mut there) = (0, 0);
    let would = if args.apply { "" } else { "would be " };
    for row in &report.devices {
        let said = match row.outcome {
            ImportOutcome::Added => format!("{would}expected for {}", args.within),
            ImportOutcome::There => "is there already".to_owned(),
            ImportOutcome::Refused(_) => continue,
        };
        added += usize::from(row.outcome == ImportOutcome::Added);
        there += usize::from(row.outcome == ImportOutcome::There);
        let named: Vec<&str> = [row.name.as_deref(), row.agent.as_deref()].into_iter().flatten().collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        writeln!(context.out, "device {}{named}: {said}", row.mac)?;
    }
    for Told { what, then } in &report.notes {
        writeln!(context.out, "{what}: {then}")?;
    }
    if !report.settings.is_empty() {
        writeln!(context.out, "\n# for voxgate.toml\n{}", report.settings)?;
    }
    let keys = if args.apply { "" } else { "would be " };
    for key in &report.keys {
        writeln!(context.out, "{}: {keys}written", key.display())?;
    }
    let then = if args.apply { "" } else { "; nothing was done: --apply does it" };
    writeln!(context.out, "{added} devices {would}expected, {there} there already{then}")?;
    Ok(())
}
