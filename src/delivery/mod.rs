//! Downlink → live link.
//!
//! Knows which connections each device has and which of them is the primary: the last one that said
//! hello or sent audio. Pipelines and sessions see this room as a [`DownlinkSink`]; what must arrive
//! even when no link is there waits in the store's outbox, which the session sends from. Copies for
//! watchers are the door's.

mod metrics;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use metrics::Metrics;

use crate::domain::{
    DeviceId, Downlink, DownlinkSink, Link, LinkId, LinkPacket, NoRoom, PacketKind, QoS, SendError, Stream,
};
use crate::topics::Table;
use crate::wire;

#[derive(Debug)]
struct Connected {
    links: Vec<Arc<dyn Link>>,
    primary: usize,
    dialect: &'static str,
}

impl Connected {
    fn primary(&self) -> Option<&Arc<dyn Link>> {
        self.links.get(self.primary)
    }
}

/// The live links of all devices.
pub struct Delivery {
    devices: Mutex<HashMap<DeviceId, Connected>>,
    table: Arc<Table>,
    metrics: Metrics,
}

impl Delivery {
    /// No device is connected yet.
    pub fn new(table: Arc<Table>, metrics: Metrics) -> Self {
        Self { devices: Mutex::default(), table, metrics }
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
            dialect: "native",
        });
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
        connected.dialect = dialect;
        if connected.primary().is_some_and(|primary| primary.id() == link) {
            return;
        }
        if let Some(at) = connected.links.iter().position(|known| known.id() == link) {
            connected.primary = at;
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

    fn primary(&self, device: &DeviceId) -> Option<(Arc<dyn Link>, &'static str)> {
        let devices = self.devices();
        let connected = devices.get(device)?;
        connected.primary().map(|link| (Arc::clone(link), connected.dialect))
    }
}

impl DownlinkSink for Delivery {
    fn send(&self, device: &DeviceId, downlink: Downlink) -> Result<(), NoRoom> {
        let (link, dialect) = self.primary(device).ok_or(NoRoom)?;
        let (stream, kind, qos) = match &downlink {
            Downlink::Control { .. } => (Stream::Control, PacketKind::Control, QoS::AtLeastOnce),
            Downlink::Audio(_) => (Stream::Audio, PacketKind::Audio, QoS::AtMostOnce),
        };
        let topic = self.table.downlink(dialect, stream, device).ok_or(NoRoom)?;
        let packet = LinkPacket { topic, payload: wire::encode(dialect, &downlink), qos, kind };
        match link.send(packet) {
            Ok(()) => {
                self.metrics.sent(kind);
                Ok(())
            }
            Err(error) => {
                self.metrics.refused(kind, error);
                if error == SendError::Full && kind == PacketKind::Control {
                    // control is never dropped silently: a device that does not read it is cut off and re-syncs
                    link.close("does not read its downlink");
                }
                Err(NoRoom)
            }
        }
    }

    fn clear_audio(&self, device: &DeviceId) -> usize {
        let cleared = self.primary(device).map_or(0, |(link, _)| link.clear_audio());
        self.metrics.cleared(cleared);
        cleared
    }
}
