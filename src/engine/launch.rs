//! How the engine process settles on the machine before it serves: the right build, no threads of the libraries' own, the
//! first to go when memory ends, and not alive longer than its parent.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::io::AsyncReadExt;

use super::EngineError;

/// Set in the process that has settled, so that it does not do it again.
const SETTLED: &str = "VOXGATE_ENGINE_SETTLED";
/// Where the package puts the build for newer processors.
const PACKAGED: &str = "/usr/lib/voxgate/x86-64-v3/voxgate";
/// What the libraries read at their first call. The gate counts the cores that calls use: their own thread pools would spin
/// against each other.
const ONE_THREAD: [(&str, &str); 3] =
    [("CANDLE_NUM_THREADS", "1"), ("RAYON_NUM_THREADS", "1"), ("RTEN_NUM_THREADS", "1")];

/// Starts this process again as it should run, in its place: the x86-64-v3 build where there is one and the
/// processor can, and the environment that the libraries read. Returns when nothing is to change. To be called
/// before there is any thread.
pub fn settle(exe: &Path, args: impl IntoIterator<Item = OsString>) -> Result<(), EngineError> {
    first_to_go();
    if std::env::var_os(SETTLED).is_some() {
        report_build();
        return Ok(());
    }
    let packaged = PathBuf::from(PACKAGED);
    let program = faster_build(exe, &packaged, cfg!(target_feature = "avx2"), processor_is_v3());
    let program = program.unwrap_or_else(|| exe.to_owned());
    let error = Command::new(&program).args(args).env(SETTLED, "1").envs(ONE_THREAD).exec();
    Err(EngineError::Failed(format!("{} cannot be started: {error}", program.display())))
}

/// The build to run instead of this one.
fn faster_build(exe: &Path, packaged: &Path, is_v3: bool, processor_is_v3: bool) -> Option<PathBuf> {
    if is_v3 || !processor_is_v3 {
        return None;
    }
    let mut beside = exe.as_os_str().to_owned();
    beside.push("-v3");
    [PathBuf::from(beside), packaged.to_owned()].into_iter().find(|path| path.is_file() && path != exe)
}

#[cfg(target_arch = "x86_64")]
fn processor_is_v3() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("f16c") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("movbe")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_is_v3() -> bool {
    false
}

fn report_build() {
    let build = if cfg!(target_feature = "avx2") { "x86-64-v3" } else { std::env::consts::ARCH };
    if processor_is_v3() && !cfg!(target_feature = "avx2") {
        tracing::warn!(
            build,
            "this build does not use the processor's AVX2: chat is about five times slower; install the package, or \
             build with RUSTFLAGS=\"-C target-cpu=x86-64-v3\""
        );
    } else {
        tracing::info!(build, "engine build");
    }
}

/// Where memory ends, the engine ends first: it can be started again in a second, and the doors stay up.
fn first_to_go() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "800") {
        tracing::debug!(%error, "oom_score_adj not set");
    }
}

/// Lets everything else on the machine go first, above all the doors: the engine's calls take all cores while they run, and nobody
/// hears a tenth of a second more of them. Threads that are started later inherit it; a niceness that is higher already stays.
pub fn give_way(nice: u8) {
    use rustix::process::{getpriority_process, setpriority_process};
    let niceness = i32::from(nice);
    let raised = getpriority_process(None)
        .and_then(|now| if now < niceness { setpriority_process(None, niceness) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, nice, "the engine's niceness cannot be raised: it may delay the doors");
    }
}

/// Resolves when the standard input ends, which it does when the parent does, however it ends. Never, when the
/// standard input is no pipe.
pub async fn parent_gone() {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let Ok(mut pipe) = input.and_then(tokio::net::unix::pipe::Receiver::from_owned_fd) else {
        tracing::warn!("the standard input is no pipe: this process will not notice when its parent ends");
        return std::future::pending().await;
    };
    let mut ignored = [0; 256];
    while pipe.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn niceness_is_raised_for_threads_that_come_and_never_lowered() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        // a thread of its own: it could not go back
        let began = std::thread::spawn(move || {
            let began = niceness();
            give_way(19);
            let inherited = std::thread::spawn(niceness).join().unwrap();
            assert_eq!((niceness(), inherited), (19, 19));
            give_way(3);
            assert_eq!(niceness(), 19);
            began
        });
        assert_eq!(niceness(), began.join().unwrap(), "no other thread is touched");
    }

    #[test]
    fn the_faster_build_is_taken_only_where_it_is_and_can_run() {
        let dir = tempfile::tempdir().unwrap();
        let (exe, packaged) = (dir.path().join("voxgate"), dir.path().join("packaged"));
        assert_eq!(faster_build(&exe, &packaged, false, true), None);
        std::fs::write(&packaged, "").unwrap();
        assert_eq!(faster_build(&exe, &packaged, false, true), Some(packaged.clone()));
        std::fs::write(dir.path().join("voxgate-v3"), "").unwrap();
        assert_eq!(faster_build(&exe, &packaged, false, true), Some(dir.path().join("voxgate-v3")));
        assert_eq!(faster_build(&exe, &packaged, false, false), None);
        assert_eq!(faster_build(&exe, &packaged, true, true), None);
    }
}
