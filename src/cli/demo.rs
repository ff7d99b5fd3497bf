//! `voxgate demo`: one spoken question, one spoken answer, on this machine alone.

use std::path::PathBuf;

use super::context::Context;

/// Ask one spoken question and hear the answer, everything on loopback in a scratch folder
///
/// Starts the broker, the gateway and the local engines, connects a simulated device through the real broker,
/// plays a WAV as Opus in real time, and prints transcript, reply and the time of each stage as they happen.
/// Exits with 1 when there is no answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate demo
  voxgate demo --wav question.wav --out answer.wav
  voxgate demo --json | jq .stages_ms")]
pub(super) struct Args {
    /// The question [default: a short one that comes with Voxgate]
    #[arg(long, value_name = "FILE")]
    pub wav: Option<PathBuf>,
    /// Where to write the answer
    #[arg(long, value_name = "FILE", default_value = "answer.wav")]
    pub out: PathBuf,
    /// The models' folder [default: models in the gateway's data_dir, else the user's cache]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Keep the scratch folder here, and do not remove it
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print one JSON object: {transcript, reply, stages_ms{endpoint, transcribe, first_token, first_audio, total},
    /// audio{frames, seconds}, wav}
    #[arg(long)]
    pub json: bool,
}

/// Starts an app of its own; no gateway needs to run.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let _ = (context, &args.wav, &args.out, &args.models, &args.keep, args.json);
    anyhow::bail!("not wired yet: demo")
}
