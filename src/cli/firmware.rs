//! `voxgate firmware`: what boards are offered to run.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;

use crate::admin::{Admin, FirmwareName, FirmwarePart, FirmwareRow, NewFirmware};
use crate::domain::ByteSize;

use super::context::{Context, block_on};
use super::table;

/// Bytes of a file in one request.
const PART: usize = 32 << 10;

/// Offer firmware to boards, step by step, and take it back
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    List(List),
    Rollout(Rollout),
    /// Offer a version to nobody from now on; running downloads of it end, boards that run it keep it
    Hold(Which),
    /// Remove a version; running downloads of it end, boards that run it keep it
    Remove(Which),
}

/// Offer an image to boards of a type
///
/// Boards ask when they start. One that runs an older version is told of the newest that is meant for it, fetches it
/// and restarts. The version is the image's own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate firmware add bread-compact-wifi build/xiaozhi.bin --share 10
  voxgate firmware rollout bread-compact-wifi 2.4.2 100    when these ten percent are well
  voxgate firmware hold bread-compact-wifi 2.4.2           when they are not")]
pub(super) struct Add {
    /// The board's type, as it says it (`voxgate device pending` shows it)
    board: String,
    /// The application image (build/xiaozhi.bin), not merged-binary.bin
    file: PathBuf,
    /// Refuse the image when it is not of this version
    #[arg(long)]
    version: Option<String>,
    /// Boards that are offered it, percent
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100))]
    share: u32,
    /// Print one JSON object of {board, version, share, size, sha256, added}
    #[arg(long)]
    json: bool,
}

/// Show all firmware
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON array of {board, version, share, size, sha256, added}
    #[arg(long)]
    json: bool,
}

/// Offer a version to another share of the boards
///
/// Which boards these are stays the same: those of ten percent are among those of twenty.
#[derive(Debug, clap::Args)]
pub(super) struct Rollout {
    /// The board's type
    board: String,
    /// The version
    version: String,
    /// Boards that are offered it, percent
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    share: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The board's type
    board: String,
    /// The version
    version: String,
}

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let admin = context.gateway_or_store().await?;
        match command {
            Command::Add(args) => add(args, &*admin, context).await,
            Command::List(args) => list(&args, &*admin, context).await,
            Command::Rollout(Rollout { board, version, share }) => {
                let row = admin.firmware_rollout(FirmwareName { board, version }, share).await?;
                tell(&row, context)
            }
            Command::Hold(Which { board, version }) => {
                let row = admin.firmware_rollout(FirmwareName { board, version }, 0).await?;
                tell(&row, context)
            }
            Command::Remove(Which { board, version }) => {
                let name = FirmwareName { board, version };
                admin.firmware_remove(name.clone()).await?;
                eprintln!("firmware {} for {} removed", name.version, name.board);
                Ok(())
            }
        }
    })
}

async fn add(args: Add, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let shown = args.file.display().to_string();
    let mut file = std::fs::File::open(&args.file).with_context(|| shown.clone())?;
    let upload = format!("{:032x}", rand::random::<u128>());
    let mut offset = 0;
    let mut part = Vec::with_capacity(PART);
    loop {
        part.clear();
        (&mut file as &mut dyn Read).take(PART as u64).read_to_end(&mut part).with_context(|| shown.clone())?;
        if part.is_empty() && offset > 0 {
            break;
        }
        let length = part.len() as u64;
        admin.firmware_upload(FirmwarePart { upload: upload.clone(), offset, data: STANDARD.encode(&part) }).await?;
        offset += length;
        if length == 0 {
            break;
        }
    }
    let new = NewFirmware { upload, board: args.board, version: args.version, share: args.share };
    let row = admin.firmware_add(new).await?;
    if args.json { context.json(&row) } else { tell(&row, context) }
}

fn tell(row: &FirmwareRow, context: &mut Context<'_>) -> anyhow::Result<()> {
    let FirmwareRow { board, version, share, .. } = row;
    if *share == 0 {
        return Ok(writeln!(context.out, "{board} {version} is held: no board is offered it")?);
    }
    Ok(writeln!(context.out, "{board} {version} is offered to {share} % of the boards, each when it next starts")?)
}

async fn list(args: &List, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let all = admin.firmware_list().await?;
    if args.json {
        return context.json(&all);
    }
    let row = |row: &FirmwareRow| {
        let share = if row.share == 0 { "held".to_owned() } else { format!("{} %", row.share) };
        let digest = row.sha256.chars().take(12).collect();
        let (size, added) = (ByteSize(row.size).to_string(), table::time(row.added, &context.zone));
        vec![row.board.clone(), row.version.clone(), share, size, digest, added]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heading = ["board", "version", "offered to", "size", "sha-256", "added"];
    Ok(table::write(context.out, &heading, &rows, "no firmware; offer some with `voxgate firmware add BOARD FILE`")?)
}
