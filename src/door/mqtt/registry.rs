//! Who is connected: one client a user and client id, at most a few connections a device.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::ending::Ending;
use crate::domain::DeviceId;
use crate::topics::Who;

/// Takeovers are counted over this time, and refusals last as long.
const WINDOW: Duration = Duration::from_mins(1);

/// What came of an admission.
#[derive(Debug)]
pub(super) struct Admission {
    /// The connection of the same client id that must go first.
    pub replaces: Option<Arc<Client>>,
}

/// Why a connection is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The device has as many connections as it may.
    TooMany,
    /// Two machines fight for one identity; the other's address when this refusal is the first.
    Duplicate(Option<SocketAddr>),
}

#[derive(Debug, Default)]
struct Device {
    links: Vec<Arc<Client>>,
    takeovers: VecDeque<Instant>,
    refused_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Inner {
    clients: HashMap<Arc<str>, Arc<Client>>,
    devices: HashMap<DeviceId, Device>,
    /// The most clients at once.
    peak: usize,
}

/// All admitted connections.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Inner>);

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection. `came` runs under the lock when it is the first of its device, so that
    /// online and offline are told in their true order.
    pub fn admit(
        &self,
        client: &Arc<Client>,
        max_links: usize,
        max_takeovers: usize,
        came: impl FnOnce(&DeviceId),
    ) -> Result<Admission, Refused> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let replaces = inner.clients.get(&client.key).cloned();
        if let Who::Device(id) = &client.who {
            let device = inner.devices.entry(id.clone()).or_default();
            device.check(replaces.as_ref(), max_links, max_takeovers)?;
            device.links.retain(|l| l.key != client.key);
            if device.links.is_empty() && replaces.is_none() {
                came(id);
            }
            device.links.push(client.clone());
        }
        inner.clients.insert(client.key.clone(), client.clone());
        inner.peak = inner.peak.max(inner.clients.len());
        if let Some(old) = &replaces {
            old.end(Ending::TakenOver);
        }
        Ok(Admission { replaces })
    }

    /// A connection is over. `went` runs under the lock when it was the last of its device.
    pub fn leave(&self, client: &Arc<Client>, went: impl FnOnce(&DeviceId)) {
        let mut inner = self.inner();
        if inner.clients.get(&client.key).is_some_and(|c| c.link == client.link) {
            inner.clients.remove(&client.key);
        }
        if let Who::Device(id) = &client.who
            && let Some(device) = inner.devices.get_mut(id)
        {
            let before = device.links.len();
            device.links.retain(|l| l.link != client.link);
            if device.links.is_empty() && before > 0 {
                went(id);
                if device.quiet() {
                    inner.devices.remove(id);
                }
            }
        }
        client.left.cancel();
    }

    /// Ends every connection.
    pub fn end_all(&self, ending: Ending) {
        let clients: Vec<_> = self.inner().clients.values().cloned().collect();
        for client in clients {
            client.end(ending);
        }
    }

    /// Ends every connection of a device.
    pub fn end_device(&self, device: &DeviceId, ending: Ending) {
        if let Some(device) = self.inner().devices.get(device) {
            device.links.iter().for_each(|c| c.end(ending));
        }
    }

    /// Ends every connection of a user.
    pub fn end_user(&self, user: &str, ending: Ending) {
        let of_user = |key: &str| key.strip_prefix(user).is_some_and(|rest| rest.starts_with('\0'));
        self.inner().clients.values().filter(|c| of_user(&c.key)).for_each(|c| c.end(ending));
    }

    /// The most connections that there were at once.
    pub fn peak(&self) -> usize {
        self.inner().peak
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.inner().clients.len()
    }
}

impl Device {
    fn check(&mut self, replaces: Option<&Arc<Client>>, max_links: usize, max_takeovers: usize) -> Result<(), Refused> {
        let now = Instant::now();
        if self.refused_until.is_some_and(|until| now < until) && replaces.is_some() {
            return Err(Refused::Duplicate(None));
        }
        let Some(old) = replaces else {
            return if self.links.len() >= max_links { Err(Refused::TooMany) } else { Ok(()) };
        };
        self.takeovers.retain(|at| now - *at < WINDOW);
        if self.takeovers.len() >= max_takeovers {
            self.takeovers.clear();
            self.refused_until = Some(now + WINDOW);
            return Err(Refused::Duplicate(Some(old.peer)));
        }
        self.takeovers.push_back(now);
        Ok(())
    }

    /// Nothing about it need be remembered.
    fn quiet(&mut self) -> bool {
        let now = Instant::now();
        self.takeovers.retain(|at| now - *at < WINDOW);
        self.takeovers.is_empty() && self.refused_until.is_none_or(|until| until <= now)
    }
}
