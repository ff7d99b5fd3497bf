//! Maps a run of the command line to an exit code, and nothing else.

fn main() -> std::process::ExitCode {
    voxgate::cli::run(std::env::args_os())
}
