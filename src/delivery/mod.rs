//! Downlink → live link.
//!
//! Knows which connections each device has and which of them is the primary: the last one that said
//! hello or sent audio. Pipelines and sessions see this room as a [`DownlinkSink`]; what must arrive
//! even when no link is there waits in the store's outbox, which the session sends from. Copies for
//! watchers are the door's. Where a dialect has no topic for speech, speech goes as datagrams, through a
//! channel that the answer to a hello opens.

mod metrics;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use metrics::Metrics;

use crate::domain::{
    Datagrams, DeviceId, Downlink, DownlinkSink, Link, LinkId, LinkPacket, Message, NoRoom, PacketKind, SendError,
    SpokenFrame, Stream, dialect,
};
use crate::topics::Table;
use crate::wire;

#[derive(Debug)]
struct Connected {
    links: Vec<Arc<dyn Link>>,
    primary: usize,
    dialect: &'static str,
    /// Somebody said so; before, it is a guess.
    known: bool,
}

impl Connected {
    fn primary(&self) -> Option<&Arc<dyn Link>> {
        self.links.get(self.primary)
    }
}

/// Where a device's downlinks go now.
struct Route {
    link: Arc<dyn Link>,
    dialect: &'static str,
    /// Its dialect has no topic for speech, and the link nothing but topics.
    datagrams: bool,
}

/// The live links of all devices.
pub struct Delivery {
    devices: Mutex<HashMap<DeviceId, Connected>>,
    table: Arc<Table>,
    datagrams: Option<Arc<dyn Datagrams>>,
    metrics: Metrics,
}

impl Delivery {
    /// No device is connected yet. Without `datagrams` there is nowhere for the speech of dialects that need them.
    pub fn new(table: Arc<Table>, datagrams: Option<Arc<dyn Datagrams>>, metrics: Metrics) -> Self {
        Self { devices: Mutex::default(), table, datagrams, metrics }
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<DeviceId, Connected>> {
        // each change of the map is one statement: a panic elsewhere leaves it whole
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of a device is there. The newest is the primary until another one speaks.
    pub fn link_up(&self, device: &DeviceId, link: Arc<dyn Link>) {
        let mut devices = self.devices();
        let connected = devices.entry(device.clone()).or_insert_with(|| Connected {
            links: Vec::new(),
            primary: 0,
            dialect: dialect::NATIVE,
            known: false,
        });
        if let Some(dialect) = link.dialect() {
            (connected.dialect, connected.known) = (dialect, true);
        }
        connected.links.push(link);
        connected.primary = connected.links.len() - 1;
    }

    /// A connection is gone; says whether it was the primary, and how many are left.
    pub fn link_down(&self, device: &DeviceId, link: LinkId) -> (bool, usize) {
        let mut devices = self.devices();
        let Some(connected) = devices.get_mut(device) else { return (false, 0) };
        let Some(at) = connected.links.iter().position(|known| known.id() == link) else {
            return (false, connected.links.len());
        };
        let was_primary = at == connected.primary;
        connected.links.remove(at);
        if was_primary {
            connected.primary = connected.links.len().saturating_sub(1);
        } else if at < connected.primary {
            connected.primary -= 1;
        }
        let left = connected.links.len();
        if left == 0 {
            devices.remove(device);
        }
        (was_primary, left)
    }

    /// A connection said hello or sent audio: it is the primary now, and speaks this dialect.
    pub fn speaks(&self, device: &DeviceId, link: LinkId, dialect: &'static str) {
        let mut devices = self.devices();
        let Some(connected) = devices.get_mut(device) else { return };
        (connected.dialect, connected.known) = (dialect, true);
        if connected.primary().is_some_and(|primary| primary.id() == link) {
            return;
        }
        if let Some(at) = connected.links.iter().position(|known| known.id() == link) {
            connected.primary = at;
        }
    }

    /// A connection said something: if it is the primary, answers are in its dialect.
    pub fn heard(&self, device: &DeviceId, link: LinkId, dialect: &'static str) {
        let mut devices = self.devices();
        let Some(connected) = devices.get_mut(device) else { return };
        if (connected.dialect != dialect || !connected.known)
            && connected.primary().is_some_and(|primary| primary.id() == link)
        {
            (connected.dialect, connected.known) = (dialect, true);
        }
    }

    /// How many devices have a live link.
    pub fn connected(&self) -> usize {
        self.devices().len()
    }

    /// The device has a live link.
    pub fn is_connected(&self, device: &DeviceId) -> bool {
        self.devices().contains_key(device)
    }

    /// The dialect that a connected device speaks, once that is known.
    pub fn dialect(&self, device: &DeviceId) -> Option<&'static str> {
        self.devices().get(device).filter(|connected| connected.known).map(|connected| connected.dialect)
    }

    fn route(&self, device: &DeviceId) -> Option<Route> {
        let devices = self.devices();
        let connected = devices.get(device)?;
        let (link, dialect) = (Arc::clone(connected.primary()?), connected.dialect);
        let datagrams = link.has_topics() && !self.table.has_downlink(dialect, Stream::Audio);
        Some(Route { link, dialect, datagrams })
    }

    /// The answer to a hello of a device whose speech goes as datagrams says where.
    fn offer(&self, device: &DeviceId, route: &Route, downlink: &mut Downlink) -> Result<(), NoRoom> {
        if let Downlink::Control { message: Message::HelloAck(ack), .. } = downlink {
            let open = |datagrams: &Arc<dyn Datagrams>| datagrams.open(device, &*route.link, route.dialect);
            let offer = self.datagrams.as_ref().and_then(open);
            ack.media = Some(offer.ok_or(NoRoom)?);
        }
        Ok(())
    }

    fn speak(&self, device: &DeviceId, frame: &SpokenFrame) -> Result<(), NoRoom> {
        let datagrams = self.datagrams.as_ref().ok_or(NoRoom)?;
        self.note(PacketKind::Audio, datagrams.send(device, frame))
    }

    fn note(&self, kind: PacketKind, sent: Result<(), SendError>) -> Result<(), NoRoom> {
        match sent {
            Ok(()) => {
                self.metrics.sent(kind);
                Ok(())
            }
            Err(error) => {
                self.metrics.refused(kind, error);
                Err(NoRoom)
            }
        }
    }
}

impl DownlinkSink for Delivery {
    fn send(&self, device: &DeviceId, mut downlink: Downlink) -> Result<(), NoRoom> {
        let Some(route) = self.route(device) else {
            // datagrams outlive a connection that is lost for a moment
            return if let Downlink::Audio(frame) = &downlink { self.speak(device, frame) } else { Err(NoRoom) };
        };
        if route.datagrams {
            if let Downlink::Audio(frame) = &downlink {
                return self.speak(device, frame);
            }
            self.offer(device, &route, &mut downlink)?;
        }
        let Route { link, dialect, .. } = route;
        if !link.has_topics()
            && dialect == dialect::XIAOZHI
            && matches!(&downlink, Downlink::Control { message: Message::Close { .. }, .. })
        {
            // where there is one connection a conversation, its end is the conversation's
            link.close("the conversation is over");
            return Ok(());
        }
        let (stream, kind) = match &downlink {
            Downlink::Control { .. } => (Stream::Control, PacketKind::Control),
            Downlink::Audio(_) => (Stream::Audio, PacketKind::Audio),
        };
        let qos = self.table.downlink_qos(dialect, stream);
        // a message that the dialect has no word for is nothing that failed
        let Some(payload) = wire::encode(dialect, &downlink, device) else { return Ok(()) };
        let topic =
            if link.has_topics() { self.table.downlink(dialect, stream, device).ok_or(NoRoom)? } else { "".into() };
        let sent = link.send(LinkPacket { topic, payload, qos, kind });
        if sent == Err(SendError::Full) && kind == PacketKind::Control {
            // control is never dropped silently: a device that does not read it is cut off and re-syncs
            link.close("does not read its downlink");
        }
        self.note(kind, sent)
    }

    fn hang_up(&self, device: &DeviceId) {
        if let Some(datagrams) = &self.datagrams {
            datagrams.close(device, None);
        }
    }

    fn addresses(&self, device: &DeviceId) -> Option<(IpAddr, IpAddr)> {
        self.route(device)?.link.addresses()
    }

    fn clear_audio(&self, device: &DeviceId) -> usize {
        let cleared = self.route(device).map_or(0, |route| match (&self.datagrams, route.datagrams) {
            (Some(datagrams), true) => datagrams.clear(device),
            _ => route.link.clear_audio(),
        });
        self.metrics.cleared(cleared);
        cleared
    }
}
