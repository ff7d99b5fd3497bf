//! `voxgate sim`: many simulated devices against a running gateway.

use std::path::PathBuf;

use super::context::Context;

/// Play a question on many simulated devices against a running gateway, and report
///
/// Devices `sim-1` … are made over the control socket and removed afterwards, unless --credentials names their passwords.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate sim --devices 50 --turns 10 --wav question.wav
  voxgate sim --devices 200 --turns 5 --wav question.wav --json --plot load.svg")]
pub(super) struct Args {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// How many turns each
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub turns: u32,
    /// The question: a WAV of any rate
    #[arg(long, value_name = "FILE")]
    pub wav: PathBuf,
    /// The gateway's MQTT address [default: that of the configuration]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Lines of user:password to connect with, one a device, in the place of devices made for it
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Add devices step by step until the first frame is late, and report how many that took
    #[arg(long)]
    pub ladder: bool,
    /// Draw the latencies by stage
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object in the place of progress and tables
    #[arg(long)]
    pub json: bool,
}

/// Needs a gateway that runs.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (context.config()?, args.devices, args.turns, &args.wav, &args.address, &args.credentials);
    let _ = (args.ladder, &args.plot, args.json);
    anyhow::bail!("not wired yet: sim")
}
