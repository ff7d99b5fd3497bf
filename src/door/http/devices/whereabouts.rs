//! Where a device finds this door, for those who tell it outside of the bootstrap.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::Settings;
use super::answer::Seen;
use crate::domain::DeviceId;

/// How devices see this door: as the bootstrap told them; of those that have not asked since the start, by the settings
/// or by the address that they are connected to.
#[derive(Debug)]
pub struct Whereabouts {
    settings: Settings,
    /// Its own port.
    port: u16,
    told: Mutex<HashMap<DeviceId, (String, u16)>>,
}

impl Whereabouts {
    pub(super) fn new(settings: Settings, port: u16) -> Self {
        Self { settings, port, told: Mutex::default() }
    }

    /// The bootstrap told a device that is known.
    pub(super) fn told(&self, device: &DeviceId, seen: &Seen) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // devices are added by hand or by their owner; this is a bound, and no quota
        if told.len() < self.settings.limits.addresses || told.contains_key(device) {
            told.insert(device.clone(), (seen.host.clone(), seen.http_port()));
        }
    }

    /// The address of `path` for a device; `addresses` are ours that it is connected to, and its own. None: it has none
    /// that firmware could use.
    pub fn url(&self, device: &DeviceId, addresses: Option<(IpAddr, IpAddr)>, path: &str) -> Option<String> {
        let reached = || self.reached(device, addresses.map(|(ours, _)| ours));
        let seen = Seen::from(&self.settings, self.port, addresses.map(|(_, own)| own), reached)?;
        Some(seen.url("http", "https", path))
    }

    fn reached(&self, device: &DeviceId, ours: Option<IpAddr>) -> Option<(String, u16)> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).get(device).cloned();
        // firmware knows no IPv6 literals
        let literal = ours.map(|ours| ours.to_canonical()).filter(|ours| ours.is_ipv4() && !ours.is_unspecified());
        told.or_else(|| literal.map(|ours| (ours.to_string(), self.port)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::super::Public;
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_device_is_told_what_the_settings_say_else_as_it_was_told_before_else_where_it_is_connected() {
        let device = DeviceId::parse("f4:12:fa:00:00:01").unwrap();
        let at = Some((ip("192.168.7.2"), ip("192.168.7.9")));
        let door = Whereabouts::new(Settings::default(), 8_003);
        assert_eq!(door.url(&device, at, "/x").unwrap(), "http://192.168.7.2:8003/x");
        assert_eq!(door.url(&device, Some((ip("fe80::1"), ip("fe80::2"))), "/x"), None);
        assert_eq!(door.url(&device, None, "/x"), None);
        let seen = Seen::from(&Settings::default(), 8_003, None, || Some(("box.local".into(), 80))).unwrap();
        door.told(&device, &seen);
        assert_eq!(door.url(&device, at, "/x").unwrap(), "http://box.local:80/x");
        let public = Public { from: "192.168.7.0/24".into(), host: "voice.example".into(), ..Public::default() };
        let public = Public { http_port: Some(443), secure: Some(true), ..public };
        let door = Whereabouts::new(Settings { public: vec![public], ..Settings::default() }, 8_003);
        assert_eq!(door.url(&device, at, "/x").unwrap(), "https://voice.example:443/x");
        assert_eq!(door.url(&device, Some((ip("10.0.0.1"), ip("10.0.0.2"))), "/x").unwrap(), "http://10.0.0.1:8003/x");
    }
}
