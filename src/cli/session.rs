//! `voxgate session`: who talks.

use clap::Subcommand;

use crate::admin::SessionRow;

use super::context::{Context, block_on};
use super::table;

/// Show sessions
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
}

/// Show the open sessions
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON array of {device, session, state, opened, last_seen, turns, connected}
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs.
pub(super) fn run(command: &Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    let Command::List(args) = command;
    let sessions = block_on(async { Ok(context.gateway()?.session_list().await?) })?;
    if args.json {
        return context.json(&sessions);
    }
    let row = |s: &SessionRow| {
        vec![
            s.device.to_string(),
            s.session.to_string(),
            s.state.clone(),
            s.turns.to_string(),
            table::yes(Some(s.connected)),
            table::time(s.opened, &context.zone),
            table::time(s.last_seen, &context.zone),
        ]
    };
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    let heading = ["device", "session", "state", "turns", "connected", "opened", "last seen"];
    Ok(table::write(context.out, &heading, &rows, "no open session")?)
}
