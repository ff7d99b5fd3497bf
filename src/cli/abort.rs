//! `voxgate abort`: silence a device.

use crate::domain::DeviceId;

use super::context::{Context, block_on};

/// End what a device is saying
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device
    id: DeviceId,
    /// Print true (it spoke) or false
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs.
pub(super) fn run(args: Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let id = args.id.clone();
    let spoke = block_on(async { Ok(context.gateway()?.abort(args.id).await?) })?;
    if args.json {
        return context.json(&spoke);
    }
    writeln!(context.out, "{id} {}", if spoke { "is silent now" } else { "was silent" })?;
    Ok(())
}
