//! Maps a run of the command line to an exit code, and nothing else.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
