//! `voxgate config`: check it, show it, begin one.

use std::path::Path;

use clap::Subcommand;

use crate::admin::Reloaded;
use crate::config::{self, Config, ConfigError, example, schema_text};

use super::context::{Context, block_on};

/// Check, show and begin a configuration
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check(Check),
    Show(Show),
    Example(Example),
    Schema(Schema),
    Reload(Reload),
}

/// Find every mistake in the configuration; exits with 64 when there is one
///
/// Reads the file and the certificates that it names, and changes nothing: systemd runs it before each start.
#[derive(Debug, clap::Args)]
pub(super) struct Check {}

/// Show the configuration that is in force, defaults included, secrets left out
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Print an example with every key, what it means, and its default
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  voxgate config example > /etc/voxgate/voxgate.toml")]
pub(super) struct Example {}

/// Print the JSON Schema of the configuration, for editors
#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

/// Read the configuration of the gateway that runs anew: services, prompts, voices and keys
///
/// What is new counts from the next turn on; turns that run end with what they began with. A file with a mistake changes
/// nothing. Keys that count from the next start on only are told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate config check && voxgate config reload
  systemctl reload voxgate                       the same, its answer in the journal")]
pub(super) struct Reload {
    /// Print one JSON object: {renewed, restart}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Check(_) => {
            let path = context.config_path();
            let config = config::load(&path)?;
            for warning in check_files(&config, &path, context)? {
                eprintln!("{warning}");
            }
            writeln!(context.out, "{}: no mistakes", path.display())?;
        }
        Command::Show(args) => {
            let shown = context.config()?.shown();
            if args.json {
                return context.json(&shown);
            }
            write!(context.out, "{}", toml::to_string(&shown)?)?;
        }
        Command::Example(_) => write!(context.out, "{}", example())?,
        Command::Reload(args) => reload(args, context)?,
        Command::Schema(_) => write!(context.out, "{}", schema_text())?,
    }
    Ok(())
}

fn reload(args: &Reload, context: &mut Context<'_>) -> anyhow::Result<()> {
    let reloaded = block_on(async { Ok(context.gateway()?.config_reload().await?) })?;
    if args.json {
        return context.json(&reloaded);
    }
    for key in &reloaded.renewed {
        writeln!(context.out, "{key}: counts from the next turn on")?;
    }
    for key in &reloaded.restart {
        writeln!(context.out, "{key}: counts from the next start on")?;
    }
    if reloaded == Reloaded::default() {
        writeln!(context.out, "nothing is other than before; the keys of services were read")?;
    }
    Ok(())
}

/// The certificates: what does not work is a mistake as any other, the rest is worth a warning.
fn check_files(config: &Config, path: &Path, context: &Context<'_>) -> Result<Vec<String>, ConfigError> {
    let now = i64::try_from(context.clock.wall().0 / 1_000).unwrap_or(i64::MAX);
    config.mqtt.check_files(now).map_err(|problem| ConfigError::outside(&path.display().to_string(), problem))
}
