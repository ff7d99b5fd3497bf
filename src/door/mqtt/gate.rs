//! What every connection shares: the parts of the gateway that the door talks to, and its own registers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::time::Instant;

use super::Parts;
use super::bus::Bus;
use super::message::Message;
use super::metrics::Metrics;
use super::registry::Registry;
use super::settings::Settings;
use super::transport::tls::Tls;
use crate::domain::{
    Body, Bulletins, Clock, Commands, DeviceId, Event, EventKind, Ingress, LinkId, Origin, QoS, Receipt, Refusal,
    Settled, Stream, Uplink,
};
use crate::door::credentials::Credentials;
use crate::topics::Table;
use crate::wire;

/// Shared by all connections of one door.
pub(super) struct Gate {
    pub settings: Settings,
    /// When a listener needs it.
    pub tls: Option<Arc<Tls>>,
    pub ingress: Arc<dyn Ingress>,
    pub commands: Arc<dyn Commands>,
    pub credentials: Arc<Credentials>,
    pub table: Arc<Table>,
    pub bus: Arc<Bus>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub registry: Registry,
    pub strangers: Strangers,
    links: AtomicU64,
    arrivals: AtomicU64,
    quiet_until: Mutex<Option<Instant>>,
    /// When the accept loop last went round.
    accepted: Mutex<Instant>,
}

impl Gate {
    pub fn new(settings: Settings, tls: Option<Arc<Tls>>, parts: Parts) -> Self {
        let Parts { ingress, commands, credentials, table, bus, clock, metrics } = parts;
        let (registry, strangers) = (Registry::default(), Strangers::default());
        let (links, arrivals, quiet_until) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Self {
            settings,
            tls,
            ingress,
            commands,
            credentials,
            table,
            bus,
            clock,
            metrics,
            registry,
            strangers,
            links,
            arrivals,
            quiet_until,
            accepted: Mutex::new(Instant::now()),
        }
    }

    /// The accept loop goes round.
    pub fn accepting(&self) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Since when it did not.
    pub fn not_accepting_for(&self) -> Duration {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The number of a new connection.
    pub fn next_link(&self) -> LinkId {
        LinkId(self.links.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Writes the retained status of a device.
    pub fn status(&self, device: &DeviceId, online: bool) {
        let payload = Bytes::from_static(if online { b"online" } else { b"offline" });
        Bulletins::publish(&*self.bus, &self.table.status_topic(device), payload, QoS::AtLeastOnce, true);
    }

    /// Two machines fight for one identity: an operator should know both addresses.
    pub fn alert_duplicate(&self, device: &DeviceId, old: SocketAddr, new: SocketAddr) {
        tracing::warn!(%device, %old, %new, "two connections fight for one device, newcomers are refused");
        let detail = json!({
            "alert": "duplicate_device", "device": device.as_str(),
            "addresses": [old.ip().to_string(), new.ip().to_string()],
        });
        let at = self.clock.wall();
        self.bus.event(Event { device: Some(device.clone()), at, kind: EventKind::Alert, detail });
    }

    /// Shows watchers what a device said or heard, when there are any.
    pub fn mirror(&self, topic: &str, payload: &Bytes, link: LinkId, downlink: bool) {
        if self.bus.hub().watched(topic, Some(link)) {
            let (from, direct) = if downlink { (None, Some(link)) } else { (Some(link), None) };
            self.bus.copy(Message { from, direct, ..Message::new(topic, payload.clone(), 0, false) });
        }
    }

    /// Takes an uplink. Audio and refusals are settled at once; the future of anything else waits for its lane.
    pub fn uplink(
        &self,
        link: LinkId,
        device: DeviceId,
        (dialect, stream): (&'static str, Stream),
        payload: &Bytes,
        receipt: Receipt,
    ) -> Option<BoxFuture<'static, ()>> {
        let body = match wire::decode(dialect, stream, payload) {
            Ok(body) => body,
            Err(error) => {
                self.metrics.dropped(Refusal::Malformed.name());
                if self.may_log() {
                    let (stream, bytes) = (stream.name(), payload.len());
                    tracing::warn!(%device, stream, bytes, %error, "malformed uplink dropped");
                }
                receipt.settle(Settled::Refused(Refusal::Malformed));
                return None;
            }
        };
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = Origin { device, link, arrival, at: self.clock.mono(), dialect };
        if let Body::Audio(packet) = body {
            self.ingress.audio(origin, packet);
            receipt.settle(Settled::Taken);
            return None;
        }
        let ingress = self.ingress.clone();
        Some(Box::pin(async move { ingress.deliver(Uplink { origin, body, receipt }).await }))
    }

    /// At most one line a second about bad input.
    fn may_log(&self) -> bool {
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = quiet.is_none_or(|until| now >= until);
        if may {
            *quiet = Some(now + Duration::from_secs(1));
        }
        may
    }
}

/// Addresses that gave wrong credentials: the answer to them is delayed more each time.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<HashMap<IpAddr, (u32, Instant)>>);

/// An address without a new failure for so long is forgotten.
const FORGET: Duration = Duration::from_mins(1);
/// Most addresses that are remembered.
const MAX_STRANGERS: usize = 4_096;

impl Strangers {
    /// Notes a failure and says how long to wait before it is answered. Right credentials never wait.
    pub fn failed(&self, address: IpAddr) -> Duration {
        let now = Instant::now();
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_STRANGERS {
            map.retain(|_, (_, at)| now - *at < FORGET);
            if map.len() >= MAX_STRANGERS {
                map.clear();
            }
        }
        let (failures, at) = map.entry(address).or_insert((0, now));
        *failures = if now - *at < FORGET { failures.saturating_add(1) } else { 1 };
        *at = now;
        Duration::from_millis(50 << (*failures).min(6))
    }
}
