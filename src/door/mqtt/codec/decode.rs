//! Bytes to packets.

use bytes::Bytes;

use super::connect;
use super::props::{Place, Props};
use super::read::Reader;
use super::{Ack, CodecError, Connect, Filter, Packet, Publish, Subscribe, Unsubscribe, Version};

/// Where a packet lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: type and flags.
    pub first: u8,
    /// Bytes of the fixed header.
    pub header: usize,
    /// Bytes after it.
    pub body: usize,
}

/// Looks for the fixed header of a packet at the front of `buffer`; none when more bytes are needed.
/// A packet of more than `max` bytes, header included, is refused before its body arrives.
pub fn frame(buffer: &[u8], max: usize) -> Result<Option<Frame>, CodecError> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let mut body = 0_usize;
    for (i, byte) in rest.iter().take(4).enumerate() {
        body |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            let header = i + 2;
            if header + body > max {
                return Err(CodecError::TooLarge(header + body));
            }
            return Ok(Some(Frame { first, header, body }));
        }
    }
    if rest.len() >= 4 {
        return Err(CodecError::Malformed("remaining length of more than four bytes"));
    }
    Ok(None)
}

/// Reads the first packet of a connection, which must be CONNECT.
pub fn decode_connect(first: u8, body: Bytes) -> Result<Connect, CodecError> {
    if first != 0x10 {
        return Err(CodecError::Protocol("the first packet is not connect"));
    }
    connect::read(&mut Reader(body))
}

/// Reads any later packet from its first byte and the bytes after the fixed header.
pub fn decode(version: Version, first: u8, body: Bytes) -> Result<Packet, CodecError> {
    let mut r = Reader(body);
    let (kind, flags) = (first >> 4, first & 0x0F);
    match (kind, flags) {
        (3, _) => publish(version, flags, r).map(Packet::Publish),
        (4, 0) => ack(version, &mut r).map(Packet::PubAck),
        (5, 0) => ack(version, &mut r).map(Packet::PubRec),
        (6, 2) => ack(version, &mut r).map(Packet::PubRel),
        (7, 0) => ack(version, &mut r).map(Packet::PubComp),
        (8, 2) => subscribe(version, &mut r).map(Packet::Subscribe),
        (10, 2) => unsubscribe(version, &mut r).map(Packet::Unsubscribe),
        (12, 0) => r.end().map(|()| Packet::PingReq),
        (14, 0) => disconnect(version, &mut r),
        (1, _) => Err(CodecError::Protocol("a second connect")),
        (2 | 9 | 11 | 13, _) => Err(CodecError::Protocol("a packet that only servers send")),
        (15, _) => Err(CodecError::Protocol("auth without an authentication method")),
        (0, _) => Err(CodecError::Malformed("packet type 0")),
        _ => Err(CodecError::Malformed("flags do not fit the packet type")),
    }
}

fn publish(version: Version, flags: u8, mut r: Reader) -> Result<Publish, CodecError> {
    let (dup, qos, retain) = (flags & 8 != 0, (flags >> 1) & 3, flags & 1 != 0);
    if qos == 3 || (dup && qos == 0) {
        return Err(CodecError::Malformed("impossible publish flags"));
    }
    let topic = r.text()?;
    let id = if qos > 0 { r.id()? } else { 0 };
    let mut props = None;
    if version == Version::V5 {
        let read = Props::read(&mut r, Place::Publish)?;
        props = read.has_any.then(|| Box::new(read.publish));
    }
    Ok(Publish { dup, qos, retain, topic, id, props, payload: r.0 })
}

fn ack(version: Version, r: &mut Reader) -> Result<Ack, CodecError> {
    let id = r.id()?;
    let mut reason = 0;
    if version == Version::V5 && r.left() > 0 {
        reason = r.u8()?;
        if r.left() > 0 {
            Props::read(r, Place::Ack)?;
        }
    }
    r.end()?;
    Ok(Ack { id, reason })
}

fn subscribe(version: Version, r: &mut Reader) -> Result<Subscribe, CodecError> {
    let id = r.id()?;
    let mut subscription_id = None;
    if version == Version::V5 {
        subscription_id = Props::read(r, Place::Subscribe)?.subscription_id;
    }
    let mut filters = Vec::new();
    while r.left() > 0 {
        few(filters.len())?;
        let filter = r.text()?;
        let options = r.u8()?;
        filters.push(subscription(version, filter, options)?);
    }
    if filters.is_empty() {
        return Err(CodecError::Protocol("subscribe without a filter"));
    }
    Ok(Subscribe { id, subscription_id, filters })
}

/// Most filters in one packet: each becomes a value of its own.
const MAX_FILTERS: usize = 1_024;

fn few(filters: usize) -> Result<(), CodecError> {
    if filters < MAX_FILTERS { Ok(()) } else { Err(CodecError::Protocol("more than 1024 filters in one packet")) }
}

fn subscription(version: Version, filter: super::Text, options: u8) -> Result<Filter, CodecError> {
    let reserved = if version == Version::V5 { 0xC0 } else { 0xFC };
    let (qos, retain_handling) = (options & 3, (options >> 4) & 3);
    if options & reserved != 0 || qos == 3 || retain_handling == 3 {
        return Err(CodecError::Malformed("impossible subscription options"));
    }
    let (no_local, retain_as_published) = (options & 4 != 0, options & 8 != 0);
    Ok(Filter { filter, qos, no_local, retain_as_published, retain_handling })
}

fn unsubscribe(version: Version, r: &mut Reader) -> Result<Unsubscribe, CodecError> {
    let id = r.id()?;
    if version == Version::V5 {
        Props::read(r, Place::Unsubscribe)?;
    }
    let mut filters = Vec::new();
    while r.left() > 0 {
        few(filters.len())?;
        filters.push(r.text()?);
    }
    if filters.is_empty() {
        return Err(CodecError::Protocol("unsubscribe without a filter"));
    }
    Ok(Unsubscribe { id, filters })
}

fn disconnect(version: Version, r: &mut Reader) -> Result<Packet, CodecError> {
    let (mut reason, mut expiry) = (0, None);
    if version == Version::V5 && r.left() > 0 {
        reason = r.u8()?;
        if r.left() > 0 {
            expiry = Props::read(r, Place::Disconnect)?.session_expiry;
        }
    }
    r.end()?;
    Ok(Packet::Disconnect { reason, expiry })
}
