//! A message on the bus, as watchers get it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::codec::PublishProps;
use super::memory::{Charge, Memory};
use crate::domain::Wall;

/// One published message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where.
    pub topic: Arc<str>,
    /// What.
    pub payload: Bytes,
    /// The publisher's QoS: watchers get at most this.
    pub qos: u8,
    /// The publisher asked to keep it.
    pub retain: bool,
    /// MQTT 5 properties that travel with it.
    pub props: Option<Box<PublishProps>>,
    /// The number of the session that published it (no-local).
    pub from: Option<u64>,
    /// The session whose connection already got it directly: a downlink's copy does not go there again.
    pub direct: Option<u64>,
    /// When it was published.
    pub at: Instant,
    /// The same as wall time, for what is written down; 0 is not known.
    pub wall: Wall,
    /// The gateway's own: it is made anew at each start, so that it is not kept over a restart.
    pub own: bool,
    /// Its share of the memory that clients may take, once it is on its way.
    pub(super) charge: Option<Charge>,
}

impl Message {
    /// A plain message of the gateway's own.
    pub fn new(topic: impl Into<Arc<str>>, payload: Bytes, qos: u8, retain: bool) -> Self {
        let at = Instant::now();
        let (props, from, direct, charge) = (None, None, None, None);
        Self { topic: topic.into(), payload, qos, retain, props, from, direct, at, wall: Wall(0), own: false, charge }
    }

    /// Counts it, unless it is counted already.
    pub(super) fn charged(mut self, memory: &Arc<Memory>) -> Self {
        let cost = self.cost();
        self.charge.get_or_insert_with(|| memory.charge(cost));
        self
    }

    /// What it costs in memory, roughly, in bytes.
    pub fn cost(&self) -> usize {
        160 + self.topic.len() + self.payload.len() + self.props.as_ref().map_or(0, |props| props.cost())
    }

    /// Seconds that are left of its life: none without an expiry, `Some(0)` when it is void.
    pub fn expiry_left(&self, now: Instant) -> Option<u32> {
        let expiry = self.props.as_ref()?.expiry?;
        let gone = u32::try_from(now.saturating_duration_since(self.at).as_secs()).unwrap_or(u32::MAX);
        Some(expiry.saturating_sub(gone))
    }
}
