//! `voxgate inbox`: what devices asked and nobody has done.

use clap::Subcommand;

use super::context::{Context, block_on};
use super::table;
use crate::admin::{Admin, InboxName, InboxQuery, InboxRow};
use crate::domain::DeviceId;

/// Messages that were taken in and are not done
///
/// A message that was being handled when the gateway ended uncleanly is tried once more. When that ends the gateway too,
/// the message is put aside, and everybody else is served.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    /// Take a message that was put aside back: it is tried when its device is there
    Retry(One),
    /// Drop a message that was put aside
    Drop(One),
}

/// Show what waits, and what was put aside
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of this device
    id: Option<DeviceId>,
    /// Only what was put aside
    #[arg(long)]
    put_aside: bool,
    /// At most so many of each
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print one JSON array of {device, n, kind, state, received, not_after, attempts, reason}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The device's id
    id: DeviceId,
    /// The message's number, as the list shows it
    n: u64,
}

/// Asks the gateway that runs, else the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let admin = context.gateway_or_store().await?;
        match command {
            Command::List(args) => list(args, &*admin, context).await,
            Command::Retry(One { id, n }) => {
                admin.inbox_retry(InboxName { device: id.clone(), n }).await?;
                eprintln!("{id} is answered when it is there: message {n} is in its inbox again");
                Ok(())
            }
            Command::Drop(One { id, n }) => {
                admin.inbox_drop(InboxName { device: id.clone(), n }).await?;
                eprintln!("message {n} of {id} is gone");
                Ok(())
            }
        }
    })
}

async fn list(args: List, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let query = InboxQuery { device: args.id, put_aside: args.put_aside, limit: args.limit.max(1) };
    let rows = admin.inbox_list(query).await?;
    if args.json {
        return context.json(&rows);
    }
    let row = |row: &InboxRow| {
        vec![
            row.device.to_string(),
            row.n.to_string(),
            row.kind.clone(),
            row.state.clone(),
            table::time(row.received, &context.zone),
            row.attempts.to_string(),
            row.reason.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let heading = ["device", "n", "kind", "state", "received", "tries", "why"];
    Ok(table::write(context.out, &heading, &rows, "nothing waits")?)
}
