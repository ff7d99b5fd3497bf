//! One pull at a time in a folder: a locked file, free again when its process is gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

/// The locked file below the models' folder.
const FILE: &str = ".lock";
/// The kernel has no "tell me when it is free" that an async task could await.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The folder is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Takes the lock if it is free.
    pub fn try_take(dir: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(FILE))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(Self { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Takes the lock, waiting at most so long; `None` when it never came free. `waiting` is called once if there is
    /// a wait at all.
    pub async fn take(dir: &Path, patience: Duration, waiting: impl FnOnce()) -> io::Result<Option<Self>> {
        if let Some(lock) = Self::try_take(dir)? {
            return Ok(Some(lock));
        }
        waiting();
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
            if let Some(lock) = Self::try_take(dir)? {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_waits_and_gives_up() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::try_take(dir.path()).unwrap().unwrap();
        let mut waited = false;
        assert!(Lock::take(dir.path(), Duration::from_mins(1), || waited = true).await.unwrap().is_none());
        assert!(waited);
        drop(first);
        assert!(Lock::take(dir.path(), Duration::ZERO, || panic!("it is free")).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_gets_it_when_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::try_take(dir.path()).unwrap().unwrap();
        let path = dir.path().to_owned();
        let second = tokio::spawn(async move { Lock::take(&path, Duration::from_mins(1), || drop(first)).await });
        assert!(second.await.unwrap().unwrap().is_some());
    }
}
