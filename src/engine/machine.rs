//! What else runs on this machine at the moment.

use std::time::Duration;

/// The threads that brought a call are asleep again after so many looks, so far apart.
const LOOKS: usize = 5;
const APART: Duration = Duration::from_micros(200);

/// This machine has work for none but so many cores: those of whoever asks. Takes a millisecond where it has.
pub fn has_nothing_else_to_do(cores: usize) -> bool {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let idle = || {
        let running = std::fs::read_to_string("/proc/loadavg").ok().as_deref().and_then(running);
        // the thread that asks is one of those that run
        running.is_some_and(|running| running.saturating_sub(1) + cores <= machine)
    };
    cores <= machine
        && (0..LOOKS).any(|look| {
            if look > 0 {
                #[expect(clippy::disallowed_methods, reason = "nothing tells when other threads have gone to sleep")]
                std::thread::sleep(APART);
            }
            idle()
        })
}

/// How many threads run or could, from the fourth word of `/proc/loadavg`: "0.20 0.18 0.12 1/80 11206".
fn running(loadavg: &str) -> Option<usize> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_run_are_read_and_nonsense_is_none() {
        assert_eq!(running("0.20 0.18 0.12 3/80 11206\n"), Some(3));
        for nonsense in ["", "0.20 0.18 0.12", "0.20 0.18 0.12 80 11206", "0.20 0.18 0.12 x/80 11206"] {
            assert_eq!(running(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn there_is_never_room_for_more_threads_than_cores() {
        assert!(!has_nothing_else_to_do(100_000));
    }
}
