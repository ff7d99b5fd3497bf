//! `voxgate config`: check it, show it, begin one.

use std::path::Path;

use clap::Subcommand;

use crate::config::{self, Config, ConfigError, example, schema_text};

use super::context::Context;

/// Check, show and begin a configuration
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check(Check),
    Show(Show),
    Example(Example),
    Schema(Schema),
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

/// Asks nobody.
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
        Command::Schema(_) => write!(context.out, "{}", schema_text())?,
    }
    Ok(())
}

/// The certificates: what does not work is a mistake as any other, the rest is worth a warning.
fn check_files(config: &Config, path: &Path, context: &Context<'_>) -> Result<Vec<String>, ConfigError> {
    let now = i64::try_from(context.clock.wall().0 / 1_000).unwrap_or(i64::MAX);
    config.mqtt.check_files(now).map_err(|problem| ConfigError::outside(&path.display().to_string(), problem))
}
