//! `voxgate bench`: how fast this machine is.

use std::path::PathBuf;

use clap::ValueEnum;

use super::context::Context;

/// Measure this machine: frames to sessions, store commits, whole turns with instant providers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench
  voxgate bench --only turns --devices 1,50,200 --json")]
pub(super) struct Args {
    /// Measure this only; may be given more than once
    #[arg(long, value_enum)]
    pub only: Vec<What>,
    /// Numbers of devices for whole turns
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 50, 200])]
    pub devices: Vec<u32>,
    /// Seconds a measurement
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// The disk to measure the store on [default: a scratch folder in the system's]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Opus frame → router → session
    Frames,
    /// Store commits
    Store,
    /// Whole turns with instant providers
    Turns,
}

/// Needs no gateway.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (context, &args.only, &args.devices, args.seconds, &args.dir, args.json);
    anyhow::bail!("not wired yet: bench")
}
