//! The seam to audio that travels beside a device's control connection, as datagrams.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{DeviceId, Link, LinkId, SendError, SpokenFrame};

/// What a device is told to send its audio to: one channel, for one session.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaOffer {
    /// Host name or address as the device sees it.
    pub host: Arc<str>,
    /// UDP port.
    pub port: u16,
    /// AES-128 key, both ways.
    pub key: [u8; 16],
    /// Template of a datagram's header: type, flags, length 0, ssrc, timestamp 0, sequence 0.
    pub nonce: [u8; 16],
}

impl fmt::Debug for MediaOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Channels for audio as datagrams, one a device. Implemented by the door; delivery opens and writes to them.
pub trait Datagrams: Send + Sync {
    /// Opens a channel for a device; its former one is closed. `dialect` is that of the hello, `link` the connection that
    /// it came by: both are the origin of what comes through the channel, and the link's addresses say where the device
    /// sees the gateway. None when there is no room for another one.
    fn open(&self, device: &DeviceId, link: &dyn Link, dialect: &'static str) -> Option<MediaOffer>;

    /// Sends a frame of speech; never waits. `Gone`: no channel, or the device's address is not known yet.
    fn send(&self, device: &DeviceId, frame: &SpokenFrame) -> Result<(), SendError>;

    /// Drops queued frames that are not yet sent; returns how many.
    fn clear(&self, device: &DeviceId) -> usize;

    /// Closes the device's channel, if it belongs to `link` (any, when none is given).
    fn close(&self, device: &DeviceId, link: Option<LinkId>);
}

/// Hands out numbers that all doors share: what one device sends over several of them has an order, and no two of its
/// connections have one name.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    arrivals: AtomicU64,
    links: AtomicU64,
}

impl Arrivals {
    /// The number of the next message, from 1.
    pub fn next(&self) -> u64 {
        self.0.arrivals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A new connection's name.
    pub fn link(&self) -> LinkId {
        LinkId(self.0.links.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
