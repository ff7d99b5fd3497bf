//! When a service that failed is asked once more: pure.

use std::time::Duration;

use crate::provider::{ErrorKind, ProviderError};

/// The wait before the first further attempt, in the middle; it doubles with each.
const WAIT: Duration = Duration::from_millis(100);
/// Nobody is kept waiting for longer than this before a further attempt.
const LONGEST: Duration = Duration::from_secs(1);

/// How long to wait before the same service is asked again; none: it is of no use. `chance` is of [0, 1). A service that took its
/// time to fail would take it again: a timeout is not repeated.
pub(super) fn pause(error: &ProviderError, attempt: u32, chance: f64) -> Option<Duration> {
    if !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Internal) {
        return None;
    }
    let wait = WAIT.saturating_mul(1 << attempt.min(8)).mul_f64(0.5 + chance);
    let wait = wait.max(error.retry_after.unwrap_or_default());
    (wait <= LONGEST).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderError::new(kind, "chat", "no")
    }

    #[test]
    fn the_wait_is_spread_by_chance_and_doubles() {
        let down = error(ErrorKind::Unavailable);
        let ms = |attempt, chance| pause(&down, attempt, chance).map(|wait| wait.as_millis());
        assert_eq!([ms(0, 0.0), ms(0, 0.5), ms(1, 0.5), ms(2, 0.0)], [Some(50), Some(100), Some(200), Some(200)]);
        assert_eq!(ms(9, 0.5), None, "nobody waits so long");
    }

    #[test]
    fn a_service_that_says_how_long_is_waited_for_when_that_is_short() {
        let asks = |ms| ProviderError { retry_after: Some(Duration::from_millis(ms)), ..error(ErrorKind::RateLimited) };
        assert_eq!(pause(&asks(700), 0, 0.5), Some(Duration::from_millis(700)));
        assert_eq!(pause(&asks(1), 0, 0.5), Some(WAIT));
        assert_eq!(pause(&asks(20_000), 0, 0.5), None);
    }

    #[test]
    fn what_would_fail_again_or_took_its_time_is_not_repeated() {
        for kind in ErrorKind::ALL {
            let again = matches!(kind, ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Internal);
            assert_eq!(pause(&error(kind), 0, 0.5).is_some(), again, "{kind:?}");
        }
    }
}
