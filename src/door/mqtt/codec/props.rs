//! MQTT 5 properties: one reader for all packets, which knows which property may stand where.

use bytes::{BufMut, Bytes, BytesMut};

use super::read::Reader;
use super::{CodecError, Text};

/// Properties of a PUBLISH (or a will) that travel with the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishProps {
    /// 1: the payload is UTF-8 text.
    pub payload_format: Option<u8>,
    /// Seconds after which it is void.
    pub expiry: Option<u32>,
    /// MIME type.
    pub content_type: Option<Text>,
    /// Where an answer should go.
    pub response_topic: Option<Text>,
    /// Tells which question an answer belongs to.
    pub correlation: Option<Bytes>,
    /// Free pairs, in order.
    pub user: Vec<(Text, Text)>,
    /// A topic alias: it belongs to one connection and does not travel on.
    pub alias: Option<u16>,
}

impl PublishProps {
    /// What they cost in memory, roughly, in bytes.
    pub fn cost(&self) -> usize {
        let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.as_str().len());
        let user: usize = self.user.iter().map(|(name, value)| 64 + name.as_str().len() + value.as_str().len()).sum();
        let correlation = self.correlation.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + text(&self.content_type) + text(&self.response_topic) + correlation + user
    }

    /// The same in memory of their own: as views they would keep a whole read buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        let text = |text: &Text| text.detached();
        Self {
            payload_format: self.payload_format,
            expiry: self.expiry,
            content_type: self.content_type.as_ref().map(text),
            response_topic: self.response_topic.as_ref().map(text),
            correlation: self.correlation.as_ref().map(|bytes| Bytes::copy_from_slice(bytes)),
            user: self.user.iter().map(|(name, value)| (text(name), text(value))).collect(),
            alias: self.alias,
        }
    }
}

/// What CONNACK of MQTT 5 announces.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnackProps<'a> {
    /// The id that the gateway gave.
    pub assigned_id: Option<&'a str>,
    /// Most unacknowledged publishes that a client may have.
    pub receive_maximum: u16,
    /// Largest packet that is accepted.
    pub max_packet: u32,
    /// The session was there before.
    pub session_present: bool,
    /// Seconds that the session is kept, when that is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// Topic aliases that the client may use.
    pub alias_maximum: u16,
    /// Seconds of keep-alive, when the client's own do not count.
    pub server_keep_alive: Option<u16>,
}

/// Every property that a client may send, whatever the packet.
#[derive(Debug, Default)]
pub(super) struct Props {
    pub publish: PublishProps,
    pub subscription_id: Option<u32>,
    pub session_expiry: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub max_packet: Option<u32>,
    pub alias_maximum: Option<u16>,
    pub will_delay: Option<u32>,
    pub auth_method: Option<Text>,
    pub has_any: bool,
}

/// Where the properties stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// Most user properties of one packet: each is kept as two views of it.
const MAX_USER: usize = 64;

impl Props {
    /// Reads length and properties.
    pub fn read(from: &mut Reader, place: Place) -> Result<Self, CodecError> {
        let length = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
        let mut r = Reader(from.take(length)?);
        let mut props = Props::default();
        while r.left() > 0 {
            let id = r.varint()?;
            if !allowed(id, place) {
                return Err(CodecError::Protocol("property does not belong here"));
            }
            props.one(id, &mut r)?;
            props.has_any = true;
        }
        Ok(props)
    }

    fn one(&mut self, id: u32, r: &mut Reader) -> Result<(), CodecError> {
        let p = &mut self.publish;
        match id {
            0x01 => once(&mut p.payload_format, flag(r.u8()?)?),
            0x02 => once(&mut p.expiry, r.u32()?),
            0x03 => once(&mut p.content_type, r.text()?),
            0x08 => once(&mut p.response_topic, r.text()?),
            0x09 => once(&mut p.correlation, r.binary()?),
            0x0B => once(&mut self.subscription_id, nonzero(r.varint()?)?),
            0x11 => once(&mut self.session_expiry, r.u32()?),
            0x15 => once(&mut self.auth_method, r.text()?),
            0x16 => r.binary().map(drop),
            0x17 | 0x19 => flag(r.u8()?).map(drop),
            0x18 => once(&mut self.will_delay, r.u32()?),
            0x1F => r.text().map(drop),
            0x21 => once(&mut self.receive_maximum, nonzero(r.u16()?)?),
            0x22 => once(&mut self.alias_maximum, r.u16()?),
            0x23 => once(&mut p.alias, r.u16()?),
            0x26 => {
                let pair = (r.text()?, r.text()?);
                if p.user.len() >= MAX_USER {
                    return Err(CodecError::Protocol("too many user properties"));
                }
                p.user.push(pair);
                Ok(())
            }
            0x27 => once(&mut self.max_packet, nonzero(r.u32()?)?),
            _ => Err(CodecError::Malformed("unknown property")),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), CodecError> {
    if slot.replace(value).is_some() {
        return Err(CodecError::Protocol("property given twice"));
    }
    Ok(())
}

fn flag(byte: u8) -> Result<u8, CodecError> {
    if byte > 1 { Err(CodecError::Protocol("flag property is neither 0 nor 1")) } else { Ok(byte) }
}

fn nonzero<T: Default + PartialEq>(value: T) -> Result<T, CodecError> {
    if value == T::default() { Err(CodecError::Protocol("property must not be 0")) } else { Ok(value) }
}

/// Table 2-4 of MQTT 5, for what a client sends.
fn allowed(id: u32, place: Place) -> bool {
    use Place::{Ack, Connect, Disconnect, Publish, Subscribe, Will};
    match id {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 => matches!(place, Publish | Will),
        0x0B => place == Subscribe,
        0x11 => matches!(place, Connect | Disconnect),
        0x15 | 0x16 | 0x17 | 0x19 | 0x21 | 0x22 | 0x27 => place == Connect,
        0x18 => place == Will,
        0x1F => matches!(place, Ack | Disconnect),
        0x23 => place == Publish,
        0x26 => true,
        _ => false,
    }
}

/// Appends a variable byte integer (at most 268,435,455; what is more is cut to that).
pub(super) fn put_varint(out: &mut BytesMut, value: usize) {
    let mut value = value.min(268_435_455);
    loop {
        let byte = u8::try_from(value & 0x7F).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

/// How many bytes [`put_varint`] writes.
pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends two bytes of length and the data (at most 65,535 bytes; what is more is cut).
pub(super) fn put_binary(out: &mut BytesMut, data: &[u8]) {
    let n = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.put_u16(n);
    out.put_slice(data.get(..usize::from(n)).unwrap_or_default());
}

impl PublishProps {
    /// Appends the properties without their length; `expiry` is what is left of it.
    pub(super) fn put(&self, out: &mut BytesMut, expiry: Option<u32>) {
        if let Some(format) = self.payload_format {
            out.put_slice(&[0x01, format]);
        }
        if let Some(expiry) = expiry {
            out.put_u8(0x02);
            out.put_u32(expiry);
        }
        for (id, text) in [(0x03, &self.content_type), (0x08, &self.response_topic)] {
            if let Some(text) = text {
                out.put_u8(id);
                put_binary(out, text.as_str().as_bytes());
            }
        }
        if let Some(data) = &self.correlation {
            out.put_u8(0x09);
            put_binary(out, data);
        }
        for (name, value) in &self.user {
            out.put_u8(0x26);
            put_binary(out, name.as_str().as_bytes());
            put_binary(out, value.as_str().as_bytes());
        }
    }
}
