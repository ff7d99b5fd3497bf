//! Packets to bytes: each function appends one packet.

use bytes::{BufMut, BytesMut};

use super::Version;
use super::props::{ConnackProps, PublishProps, put_binary, put_varint, varint_len};

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// For QoS 1.
    PubAck,
    /// First answer to QoS 2.
    PubRec,
    /// Second step of QoS 2, from the sender.
    PubRel,
    /// Last step of QoS 2.
    PubComp,
}

/// CONNACK. `code` is a return code of 3.1.1 or a reason code of 5.
pub fn connack(out: &mut BytesMut, version: Version, code: u8, props: &ConnackProps<'_>) {
    let present = u8::from(code == 0 && props.session_present);
    if version == Version::V4 {
        out.put_slice(&[0x20, 2, present, code]);
        return;
    }
    let mut p = BytesMut::new();
    if code == 0 {
        p.put_u8(0x21);
        p.put_u16(props.receive_maximum);
        p.put_u8(0x27);
        p.put_u32(props.max_packet);
        if props.alias_maximum > 0 {
            p.put_u8(0x22);
            p.put_u16(props.alias_maximum);
        }
        if let Some(id) = props.assigned_id {
            p.put_u8(0x12);
            put_binary(&mut p, id.as_bytes());
        }
        if let Some(expiry) = props.session_expiry {
            p.put_u8(0x11);
            p.put_u32(expiry);
        }
        if let Some(seconds) = props.server_keep_alive {
            p.put_u8(0x13);
            p.put_u16(seconds);
        }
    }
    out.put_u8(0x20);
    put_varint(out, 2 + varint_len(p.len()) + p.len());
    out.put_slice(&[present, code]);
    put_varint(out, p.len());
    out.put_slice(&p);
}

/// What a PUBLISH carries besides topic and payload.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishHead<'a> {
    /// Sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// From the retained store, or kept as published.
    pub retain: bool,
    /// The packet id; unused with QoS 0.
    pub id: u16,
    /// Properties (written in MQTT 5 only).
    pub props: Option<&'a PublishProps>,
    /// What is left of the message's life, seconds.
    pub expiry: Option<u32>,
    /// Subscription identifiers that matched.
    pub subscriptions: &'a [u32],
    /// A topic alias (MQTT 5), and whether the client knows it: then the topic is left out.
    pub alias: Option<(u16, bool)>,
}

/// PUBLISH. Returns the number of bytes that it took.
pub fn publish(out: &mut BytesMut, version: Version, head: PublishHead<'_>, topic: &str, payload: &[u8]) -> usize {
    let before = out.len();
    let mut p = BytesMut::new();
    let mut name = topic;
    if version == Version::V5 {
        if let Some((alias, known)) = head.alias {
            p.put_u8(0x23);
            p.put_u16(alias);
            name = if known { "" } else { topic };
        }
        if let Some(props) = head.props {
            props.put(&mut p, head.expiry);
        }
        for id in head.subscriptions {
            p.put_u8(0x0B);
            put_varint(&mut p, usize::try_from(*id).unwrap_or(0));
        }
    }
    let id_len = if head.qos > 0 { 2 } else { 0 };
    let props_len = if version == Version::V5 { varint_len(p.len()) + p.len() } else { 0 };
    let body = 2 + name.len() + id_len + props_len + payload.len();
    out.reserve(5 + body);
    out.put_u8(0x30 | u8::from(head.dup) << 3 | head.qos << 1 | u8::from(head.retain));
    put_varint(out, body);
    put_binary(out, name.as_bytes());
    if head.qos > 0 {
        out.put_u16(head.id);
    }
    if version == Version::V5 {
        put_varint(out, p.len());
        out.put_slice(&p);
    }
    out.put_slice(payload);
    out.len() - before
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP. 3.1.1 has no reason code: it is left out.
pub fn ack(out: &mut BytesMut, version: Version, kind: AckKind, id: u16, reason: u8) {
    out.put_u8(match kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    });
    if version == Version::V5 && reason != 0 {
        out.put_u8(3);
        out.put_u16(id);
        out.put_u8(reason);
    } else {
        out.put_u8(2);
        out.put_u16(id);
    }
}

/// SUBACK with one code a filter. 3.1.1 knows one failure code, 0x80.
pub fn suback(out: &mut BytesMut, version: Version, id: u16, codes: &[u8]) {
    answers(out, version, 0x90, id, codes, true);
}

/// UNSUBACK; 3.1.1 has no codes.
pub fn unsuback(out: &mut BytesMut, version: Version, id: u16, codes: &[u8]) {
    answers(out, version, 0xB0, id, codes, false);
}

fn answers(out: &mut BytesMut, version: Version, first: u8, id: u16, codes: &[u8], v4_codes: bool) {
    let codes_len = if version == Version::V5 || v4_codes { codes.len() } else { 0 };
    let props_len = usize::from(version == Version::V5);
    out.put_u8(first);
    put_varint(out, 2 + props_len + codes_len);
    out.put_u16(id);
    if version == Version::V5 {
        out.put_u8(0);
        out.put_slice(codes);
    } else if v4_codes {
        out.extend(codes.iter().map(|c| if *c > 2 { 0x80 } else { *c }));
    }
}

/// PINGRESP.
pub fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// DISCONNECT from the server: MQTT 5 only, 3.1.1 has none.
pub fn disconnect(out: &mut BytesMut, version: Version, reason: u8) {
    if version == Version::V5 {
        out.put_slice(&[0xE0, 1, reason]);
    }
}
