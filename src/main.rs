//! Maps a run of the command line to an exit code, and names the allocator.

/// What every turn allocates and frees on many threads leaves glibc's heap in pieces, which grow for weeks; this one
/// levels off. See docs/decisions/04-allocator.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    voxgate::cli::run(std::env::args_os())
}
