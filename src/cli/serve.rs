//! `voxgate serve`: the gateway itself.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use crate::app::{Gateway, Outside};
use crate::config::Config;

/// How long sessions and connections may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// Run the gateway until SIGTERM or SIGINT
///
/// SIGHUP reads the configuration anew, as `voxgate config reload` does, and looks at the files of the TLS certificate.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate serve --config config/quickstart.toml
  systemctl start voxgate                        the same, as a service")]
pub(super) struct Args {}

/// Runs until SIGTERM or SIGINT, or until a part has died without which nothing may be promised.
pub(super) fn run(_: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (config, file) = (context.config()?, context.config_path());
    crate::observe::logging::init(&config.log, std::env::var("JOURNAL_STREAM").ok().as_deref())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")?;
    runtime.block_on(serve(config, file))
}

async fn serve(config: Config, file: PathBuf) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let gateway = Gateway::start(config, Outside { file: Some(file), ..Outside::default() }).await?;
    let failed = loop {
        tokio::select! {
            _ = hang_up.recv() => gateway.reload().await,
            _ = term.recv() => break None,
            result = tokio::signal::ctrl_c() => {
                result?;
                break None;
            }
            why = gateway.failed() => break Some(why),
        }
    };
    gateway.stop(GRACE).await;
    match failed {
        Some(why) => anyhow::bail!("{why}: the gateway ends, so that nothing is promised that cannot be kept"),
        None => Ok(()),
    }
}
