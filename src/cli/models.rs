//! `voxgate models`: the weights of the local engines.

use std::path::PathBuf;

use clap::Subcommand;

use super::context::Context;

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
    let asked = match command {
        Command::Pull(args) => format!("{:?} {} {:?} {}", args.names, args.lang, args.dir, args.json),
        Command::List(args) => format!("{:?} {}", args.dir, args.json),
        Command::Verify(args) => format!("{:?} {}", args.dir, args.json),
    };
    let _ = context.config()?;
    anyhow::bail!("not wired yet: models ({asked})")
}
