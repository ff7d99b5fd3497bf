//! `voxgate status`: how the gateway is.

use crate::admin::Status;
use crate::observe::Component;

use super::context::{Context, block_on};
use super::table;

/// Show how the gateway is: its parts, and what mends them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object: {gateway, version, boot, uptime_s, devices, online, sessions, listeners, health}
    #[arg(long)]
    json: bool,
}

/// Asks the gateway that runs.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let status = block_on(async { Ok(context.gateway()?.status().await?) })?;
    if args.json { context.json(&status) } else { show(&status, context) }
}

fn show(status: &Status, context: &mut Context<'_>) -> anyhow::Result<()> {
    let Status { gateway, version, uptime_s, devices, online, sessions, .. } = status;
    let verdict = status.health.status.name();
    writeln!(context.out, "{gateway} {verdict}, voxgate {version}, up {}", uptime(*uptime_s))?;
    writeln!(context.out, "{online} of {devices} devices connected, {sessions} open sessions")?;
    for (name, address) in &status.listeners {
        writeln!(context.out, "listens: {name} {address}")?;
    }
    writeln!(context.out)?;
    let row = |c: &Component| {
        let remedy = c.remedy.clone().unwrap_or_default();
        vec![c.name.clone(), c.state.name().to_owned(), c.detail.clone(), remedy]
    };
    let rows: Vec<Vec<String>> = status.health.components.iter().map(row).collect();
    Ok(table::write(context.out, &["part", "state", "detail", "remedy"], &rows, "no parts")?)
}

/// `3d 4h`, `4h 5m`, `5m 6s`, `6s`.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_units_are_enough() {
        assert_eq!([6, 66, 3_660, 90_000].map(uptime), ["6s", "1m 6s", "1h 1m", "1d 1h"]);
    }
}
