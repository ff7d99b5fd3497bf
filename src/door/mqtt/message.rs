//! A message on the bus, as watchers get it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::codec::PublishProps;
use crate::domain::LinkId;

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
    /// The connection that published it (no-local).
    pub from: Option<LinkId>,
    /// The connection that already got it directly: a downlink's copy does not go there again.
    pub direct: Option<LinkId>,
    /// When it was published.
    pub at: Instant,
}

impl Message {
    /// A plain message of the gateway's own.
    pub fn new(topic: impl Into<Arc<str>>, payload: Bytes, qos: u8, retain: bool) -> Self {
        let at = Instant::now();
        Self { topic: topic.into(), payload, qos, retain, props: None, from: None, direct: None, at }
    }

    /// What it costs in memory, roughly, in bytes.
    pub fn cost(&self) -> usize {
        160 + self.topic.len() + self.payload.len()
    }

    /// Seconds that are left of its life: none without an expiry, `Some(0)` when it is void.
    pub fn expiry_left(&self, now: Instant) -> Option<u32> {
        let expiry = self.props.as_ref()?.expiry?;
        let gone = u32::try_from(now.saturating_duration_since(self.at).as_secs()).unwrap_or(u32::MAX);
        Some(expiry.saturating_sub(gone))
    }
}
