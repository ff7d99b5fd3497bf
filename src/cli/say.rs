//! `voxgate say`: speak a text on a device.

use anyhow::ensure;

use crate::domain::DeviceId;

use super::context::{Context, block_on};

/// Speak a text on a device
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  voxgate say cane-1 'dinner is ready'")]
pub(super) struct Args {
    /// The device
    id: DeviceId,
    /// What to say
    #[arg(required = true)]
    text: Vec<String>,
    /// Print one JSON object: {now, detail}
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs.
pub(super) fn run(args: Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let text = args.text.join(" ");
    ensure!(!text.trim().is_empty(), "there is nothing to say");
    let said = block_on(async { Ok(context.gateway()?.say(args.id, text).await?) })?;
    if args.json {
        return context.json(&said);
    }
    writeln!(context.out, "{}", said.detail)?;
    Ok(())
}
