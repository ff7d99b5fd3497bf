//! `voxgate engine`: the local engines, in a process of their own.

use super::context::Context;

/// Run the local engines: speech over Wyoming, chat and embeddings over OpenAI's HTTP
///
/// The gateway starts it by itself (`engine.start = "spawn"`); systemd does in its place where it is installed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Hosts the engines until SIGTERM.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (args, context.config()?);
    anyhow::bail!("not wired yet: engine")
}
