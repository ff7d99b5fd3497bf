//! When which host got a connection, so that none is opened that is there already.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;

/// How long a host may take to answer the request that opens a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection is opened for: a WebSocket takes its connection along, requests share theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::provider) enum Way {
    Requests,
    Socket,
}

/// What came of opening a connection ahead of need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// There is one now.
    Now,
    /// One was opened or used lately.
    Already,
    /// There is none.
    Failed,
}

/// The hosts of connections that were opened ahead, with when they were used last.
#[derive(Debug)]
pub(super) struct Warmth {
    wanted: bool,
    /// A connection that was used so lately is there.
    fresh: Duration,
    hosts: Mutex<HashMap<(Way, String), Instant>>,
}

impl Warmth {
    pub(super) fn new(settings: &Settings) -> Self {
        let wanted = settings.warm && !settings.idle_timeout.0.is_zero();
        Self { wanted, fresh: settings.idle_timeout.0 / 2, hosts: Mutex::default() }
    }

    pub(super) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a connection is to be opened; who asks does so. The hosts are those of the configuration: they are few.
    pub(super) fn is_due(&self, url: &reqwest::Url, way: Way, now: Instant) -> bool {
        let mut hosts = self.hosts();
        let last = hosts.entry((way, host(url)));
        let mut due = false;
        let last = last.or_insert_with(|| {
            due = true;
            now
        });
        if now.saturating_duration_since(*last) >= self.fresh {
            due = true;
            *last = now;
        }
        due
    }

    /// A request goes to a host, if it is one of those.
    pub(super) fn used(&self, url: &reqwest::Url, now: Instant) {
        if !self.wanted {
            return;
        }
        if let Some(last) = self.hosts().get_mut(&(Way::Requests, host(url))) {
            *last = now;
        }
    }

    /// A WebSocket takes its connection along.
    pub(super) fn spent(&self, url: &reqwest::Url) {
        if self.wanted {
            self.hosts().remove(&(Way::Socket, host(url)));
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<(Way, String), Instant>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn host(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_connection_is_due_once_in_half_of_the_time_that_it_is_kept_and_not_after_a_request() {
        let warmth = Warmth::new(&Settings::default());
        let (api, other) = ("https://a.test/v1/x".parse().unwrap(), "https://a.test:8443/".parse().unwrap());
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let due = |url, after: u32| warmth.is_due(url, Way::Requests, begin + second * after);
        assert!(due(&api, 0) && !due(&api, 44) && due(&other, 1), "another port is another host");
        assert!(warmth.is_due(&api, Way::Socket, begin), "another way");
        assert!(due(&api, 45));
        warmth.used(&api, begin + second * 80);
        assert!(!due(&api, 120) && due(&api, 125));
        warmth.spent(&api);
        assert!(warmth.is_due(&api, Way::Socket, begin + second), "the WebSocket took it along");
    }
}
