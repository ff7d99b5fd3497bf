//! `voxgate serve`: the gateway itself.

use super::context::Context;

/// Run the gateway until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate serve --config config/quickstart.toml
  systemctl start voxgate                        the same, as a service")]
pub(super) struct Args {}

/// Starts the app, tells systemd, waits for the end, stops.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (args, context.config()?);
    anyhow::bail!("not wired yet: serve")
}
