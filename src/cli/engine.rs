//! `voxgate engine`: the local engines, in a process of their own.

use super::context::Context;

/// Run the local engines: speech over Wyoming, chat and embeddings over OpenAI's HTTP
///
/// The gateway starts it by itself (`engine.start = "spawn"`); systemd does in its place where it is installed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take `[engine]` from the first line of standard input, as JSON, end when standard input ends, and say on
    /// standard output where it listens: how the gateway starts it
    #[arg(long, hide = true)]
    die_with_parent: bool,
    /// Take `[log]` from this JSON instead of from the configuration file
    #[arg(long, hide = true, value_name = "JSON")]
    log: Option<String>,
}

#[cfg(not(feature = "engine"))]
pub(super) fn run(args: &Args, _: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (args.die_with_parent, &args.log);
    anyhow::bail!(
        "this voxgate was built without the local engines (cargo feature \"engine\"): configure other providers"
    )
}

/// Hosts the engines until SIGTERM, or until the parent is gone.
#[cfg(feature = "engine")]
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    use std::sync::Arc;

    use anyhow::Context as _;
    use tokio::signal::unix::{SignalKind, signal};
    use tokio_util::sync::CancellationToken;

    crate::engine::settle(&std::env::current_exe()?, std::env::args_os().skip(1))?;
    let settings: crate::engine::Settings = if args.die_with_parent {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("standard input")?;
        serde_json::from_str(&line).context("the first line of standard input is not [engine] as JSON")?
    } else {
        context.config()?.engine()
    };
    let log = match &args.log {
        Some(json) => serde_json::from_str(json).context("--log is not [log] as JSON")?,
        None => context.config()?.log,
    };
    crate::observe::logging::init(&log, std::env::var("JOURNAL_STREAM").ok().as_deref())?;
    // before there is any thread
    crate::engine::give_way(settings.nice);
    let clock = Arc::clone(&context.clock);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut term = signal(SignalKind::terminate())?;
        let mut serve = std::pin::pin!(crate::engine::serve(&settings, args.die_with_parent, clock, stop.clone()));
        tokio::select! {
            ended = &mut serve => return Ok(ended?),
            _ = term.recv() => stop.cancel(),
            result = tokio::signal::ctrl_c() => {
                result?;
                stop.cancel();
            }
        }
        Ok(serve.await?)
    })
}
