//! Word to systemd: ready, status, watchdog, stopping.
//!
//! Outside systemd (no `NOTIFY_SOCKET`) every call does nothing. A failure to notify is logged and
//! never stops the gateway.

use std::time::Duration;

use sd_notify::NotifyState;

/// Speaks to the service manager, if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifier {
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Looks for the service manager in the environment.
    pub fn from_env() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often [`Notifier::alive`] must be called: half of systemd's time-out. None: no watchdog.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// All listeners are bound and the store is open.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The line in `systemctl status`.
    pub fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// What voice needs was seen to work within the last period.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The gateway begins to stop.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be notified");
    }
}
