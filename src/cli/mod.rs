//! The command line: one file a subcommand, one definition for parsing, help and `docs/cli.md`.
//!
//! Exit codes: 0 done, 1 not done, 2 wrong usage, 64 wrong configuration, 69 the gateway is not running.
//! `anyhow` is allowed here and nowhere else: what arrives here is for a person to read.

mod abort;
mod bench;
mod binding;
mod cache;
mod config;
mod context;
mod demo;
mod device;
mod engine;
mod firmware;
mod import;
mod inbox;
mod lifelog;
mod models;
mod operation;
mod operator;
mod password;
mod providers;
mod reference;
mod rule;
mod say;
mod serve;
mod session;
mod sim;
mod status;
mod table;
mod task;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod when;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::admin::{AdminError, AdminErrorKind};
use crate::config::ConfigError;

use context::Context;
pub use reference::reference;

/// The configuration is wrong (`EX_USAGE` of sysexits).
const EXIT_CONFIG: u8 = 64;
/// The gateway is not running (`EX_UNAVAILABLE` of sysexits).
const EXIT_NOT_RUNNING: u8 = 69;

/// Voice and vision gateway for edge devices.
#[derive(Debug, Parser)]
#[command(name = "voxgate", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    /// The configuration file [default: $VOXGATE_CONFIG, else /etc/voxgate/voxgate.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 not done, 2 wrong usage, 64 wrong configuration, 69 the gateway is not running.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Engine(engine::Args),
    #[command(subcommand)]
    Config(config::Command),
    Status(status::Args),
    Providers(providers::Args),
    #[command(subcommand)]
    Device(device::Command),
    #[command(subcommand)]
    Firmware(firmware::Command),
    #[command(subcommand)]
    Operator(operator::Command),
    #[command(subcommand)]
    Rule(rule::Command),
    #[command(subcommand)]
    Import(import::Command),
    #[command(subcommand)]
    Session(session::Command),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Inbox(inbox::Command),
    #[command(subcommand)]
    Cache(cache::Command),
    #[command(subcommand)]
    Lifelog(lifelog::Command),
    Telemetry(telemetry::Args),
    Say(say::Args),
    Abort(abort::Args),
    #[command(subcommand)]
    Models(models::Command),
    #[command(subcommand)]
    Tls(tls::Command),
    Demo(demo::Args),
    Sim(sim::Args),
    Bench(bench::Args),
}

/// Runs one command line, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // nobody is left to tell when standard error is closed
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // not locked: the engine tells its addresses from another thread
    let mut out = io::stdout();
    let mut context = Context::of_process(cli.config, &mut out);
    match dispatch(cli.command, &mut context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn dispatch(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args, context),
        Command::Engine(args) => engine::run(&args, context),
        Command::Config(command) => config::run(&command, context),
        Command::Status(args) => status::run(&args, context),
        Command::Providers(args) => providers::run(&args, context),
        Command::Device(command) => device::run(command, context),
        Command::Firmware(command) => firmware::run(command, context),
        Command::Operator(command) => operator::run(command, context),
        Command::Rule(command) => rule::run(command, context),
        Command::Import(command) => import::run(command, context),
        Command::Session(command) => session::run(&command, context),
        Command::Task(command) => task::run(command, context),
        Command::Inbox(command) => inbox::run(command, context),
        Command::Cache(command) => cache::run(&command, context),
        Command::Lifelog(command) => lifelog::run(command, context),
        Command::Telemetry(args) => telemetry::run(args, context),
        Command::Say(args) => say::run(args, context),
        Command::Abort(args) => abort::run(args, context),
        Command::Models(command) => models::run(&command, context),
        Command::Tls(command) => tls::run(&command, context),
        Command::Demo(args) => demo::run(&args, context),
        Command::Sim(args) => sim::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
    }
}

/// Tells what went wrong on standard error, and the exit code for it.
fn complain(error: &anyhow::Error) -> ExitCode {
    // `voxgate lifelog list | head` is no failure
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("voxgate: {error:#}");
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() {
        return EXIT_CONFIG;
    }
    match error.downcast_ref::<AdminError>() {
        Some(error) if error.kind == AdminErrorKind::NotRunning => EXIT_NOT_RUNNING,
        _ => 1,
    }
}
