//! Who may do what, asked of the topic table. The identity is the connection's, never the payload's.

use crate::domain::{DeviceId, Stream};
use crate::topics::{self, Table, Who};

/// Longest topic or filter, in bytes.
const MAX_TOPIC: usize = 1_024;
/// Most levels of a topic or filter.
const MAX_LEVELS: usize = 32;

/// Where a publish belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination<'t> {
    /// An uplink of this device.
    Uplink {
        /// The dialect of the topic.
        dialect: &'static str,
        /// The stream of the topic.
        stream: Stream,
        /// The device, proven.
        device: DeviceId,
    },
    /// A command to a device.
    Command {
        /// To whom.
        device: DeviceId,
        /// What.
        name: &'t str,
    },
    /// To whoever subscribes.
    Bus,
}

/// Is it a topic that one can publish to at all.
pub(super) fn sound_topic(topic: &str) -> bool {
    topic.len() <= MAX_TOPIC && levels(topic) <= MAX_LEVELS && topics::valid_topic(topic)
}

/// Is it a filter at all.
pub(super) fn sound_filter(filter: &str) -> bool {
    filter.len() <= MAX_TOPIC && levels(filter) <= MAX_LEVELS && topics::valid_filter(filter)
}

fn levels(topic: &str) -> usize {
    topic.bytes().filter(|b| *b == b'/').count() + 1
}

/// Where what `who` publishes on `topic` goes; none when it may not.
pub(super) fn destination<'t>(table: &Table, who: &Who, topic: &'t str) -> Option<Destination<'t>> {
    if topic.starts_with('$') || !table.may_publish(who, topic) {
        return None;
    }
    if let Some(uplink) = table.uplink(topic) {
        let device = match who {
            Who::Device(device) if device.as_str() == uplink.device => device.clone(),
            _ => return None,
        };
        return Some(Destination::Uplink { dialect: uplink.dialect, stream: uplink.stream, device });
    }
    if let Some((device, name)) = table.command(topic) {
        return Some(Destination::Command { device: DeviceId::parse(device).ok()?, name });
    }
    Some(Destination::Bus)
}

/// May `who` leave a will on `topic`: what it may publish, and its own status, which the door writes anyway.
pub(super) fn may_will(table: &Table, who: &Who, topic: &str) -> bool {
    sound_topic(topic) && (is_own_status(table, who, topic) || destination(table, who, topic).is_some())
}

/// The status topic of the device itself.
pub(super) fn is_own_status(table: &Table, who: &Who, topic: &str) -> bool {
    matches!(who, Who::Device(device) if *table.status_topic(device) == *topic)
}
