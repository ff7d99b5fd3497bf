//! Keys: one byte for the space, then parts that sort as they should.

use std::fmt;

use crate::domain::DeviceId;

/// The spaces of the one tree. The byte is part of every stored key: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// What the store keeps of itself.
    Meta = b'!',
    /// Devices and their credentials: device.
    Device = b'd',
    /// The live session of a device: device.
    Session = b's',
    /// Sequence windows: device, stream.
    Window = b'w',
    /// Messages taken in but not yet done: device, number.
    Inbox = b'i',
    /// Messages that must reach a device: device, number.
    Outbox = b'o',
    /// Messages that were given up after they killed their handler: device, number.
    Quarantine = b'q',
    /// Hot lifelog entries: day, device, time, number.
    Lifelog = b'l',
    /// The MQTT door's own: retained messages, sessions.
    Mqtt = b'm',
    /// Operators' credentials: name.
    Operator = b'u',
    /// Operators' rules about topics: the rule's id.
    Rule = b'r',
    /// Operations of devices: `n` and number, `i` and id.
    Operation = b'p',
    /// Tasks: `n` and number, `i` and id.
    Task = b'k',
    /// Notes of how the gateway was: time.
    Sample = b'h',
    /// What devices measured: `d`, device, time and number; `t`, time and number.
    Measurement = b'e',
    /// Firmware that boards are offered: board, version.
    Firmware = b'f',
}

/// A key. Ordered as bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// Begins a key in a space.
    pub fn new(space: Space) -> Self {
        Self(vec![space as u8])
    }

    /// Adds a device and the byte that ends it.
    #[must_use]
    pub fn device(self, device: &DeviceId) -> Self {
        self.text(device.as_str())
    }

    /// Adds a text and the byte that ends it. A NUL in it would end it early: ids have none.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    /// Adds a number that sorts.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds a number that sorts.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds one byte.
    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// The first key that does not begin with this one: the exclusive end of a prefix scan.
    #[must_use]
    pub fn after_prefix(mut self) -> Self {
        while let Some(last) = self.0.pop() {
            if last < u8::MAX {
                self.0.push(last + 1);
                break;
            }
        }
        self
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
