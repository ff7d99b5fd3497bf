//! The packets of MQTT 3.1.1 that a load needs, written and walked over.

use super::{Content, Login};

/// Bytes of each payload, its head included.
pub(super) const PAYLOAD: usize = 120;
/// Bytes of the head: that of a native audio packet.
const HEAD: usize = 16;

/// PINGREQ.
pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT.
pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// CONNECT with a clean session and no keep-alive; the user name of an account is the client id.
pub(super) fn connect(Login { id, password }: &Login) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, if password.is_some() { 0xC2 } else { 0x02 }, 0, 0];
    put_text(&mut body, id);
    if let Some(password) = password {
        put_text(&mut body, id);
        put_text(&mut body, password);
    }
    framed(0x10, &body)
}

/// SUBSCRIBE to one filter.
pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_text(&mut body, filter);
    body.push(qos);
    framed(0x82, &body)
}

/// PUBLISH with QoS 0.
pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    body.extend_from_slice(payload);
    framed(0x30, &body)
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let byte = u8::try_from(left & 0x7F).unwrap_or(0);
        left >>= 7;
        packet.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Equal publishes, written once: only number, packet id and time change.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    length: usize,
    id: Option<usize>,
    content: Content,
    payload: usize,
}

/// Columns of a heartbeat's number, and where they begin.
const COLUMNS: usize = 10;
const HEARTBEAT: &str = r#"{"type":"heartbeat","payload":{},"seq":"#;

impl Template {
    pub fn new(topic: &str, qos: u8, content: Content, count: usize) -> Self {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        if qos > 0 {
            body.extend_from_slice(&[0, 0]);
        }
        let in_body = body.len();
        match content {
            Content::Audio => {
                // magic, version, opus, no flags; see `wire::native`
                body.extend_from_slice(&[0xA1, 1, 0, 0]);
                body.extend_from_slice(&[0; 8]);
                body.extend_from_slice(&u32::try_from(PAYLOAD - HEAD).unwrap_or(0).to_be_bytes());
                body.resize(in_body + PAYLOAD, 0);
            }
            Content::Heartbeat => {
                body.extend_from_slice(HEARTBEAT.as_bytes());
                body.extend_from_slice(&[b' '; COLUMNS]);
                body.extend_from_slice(&[b' '; PAYLOAD - HEARTBEAT.len() - COLUMNS - 1]);
                body.push(b'}');
            }
        }
        let packet = framed(0x30 | qos << 1, &body);
        let before = packet.len() - body.len();
        let id = (qos > 0).then_some(before + in_body - 2);
        Self { length: packet.len(), payload: before + in_body, id, content, bytes: packet.repeat(count) }
    }

    /// The next `count` packets, numbered from `first` on, as sent at `now`.
    pub fn fill(&mut self, first: u32, count: usize, now: u64) -> &[u8] {
        let (length, payload, id, content) = (self.length, self.payload, self.id, self.content);
        let used = &mut self.bytes[..length * count];
        for (packet, number) in used.chunks_exact_mut(length).zip(first..) {
            if let Some(id) = id {
                packet[id..id + 2].copy_from_slice(&packet_id(number).to_be_bytes());
            }
            match content {
                Content::Audio => {
                    packet[payload + 4..payload + 8].copy_from_slice(&number.to_be_bytes());
                    packet[payload + HEAD..payload + HEAD + 8].copy_from_slice(&now.to_be_bytes());
                }
                Content::Heartbeat => {
                    let digits = format!("{number:COLUMNS$}");
                    let at = payload + HEARTBEAT.len();
                    packet[at..at + COLUMNS].copy_from_slice(digits.as_bytes());
                }
            }
        }
        used
    }
}

/// From 1 to 65,535, again and again.
pub(super) fn packet_id(number: u32) -> u16 {
    u16::try_from(number % 65_535).unwrap_or(0) + 1
}

/// One packet in a read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub first: u8,
    pub body: &'a [u8],
}

/// The first packet of `bytes` and its length; none while it is not whole, an error when it never will be.
pub(super) fn next(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, super::FloodError> {
    let mut length = 0_usize;
    for (at, shift) in (1..=4).zip([0, 7, 14, 21]) {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let end = at + 1 + length;
            return Ok(bytes.get(at + 1..end).map(|body| (Packet { first: bytes[0], body }, end)));
        }
    }
    Err(super::FloodError::Garbage)
}

/// A publish of [`Template`], as a subscriber sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish {
    /// The digits behind the last `/`: whose it is.
    pub from: usize,
    /// QoS 1 or 2: the packet id.
    pub id: Option<[u8; 2]>,
    pub number: u32,
    /// When it was sent.
    pub at: u64,
}

impl Publish {
    /// None when it is not one of ours.
    pub fn of(packet: Packet<'_>) -> Option<Self> {
        let (length, rest) = packet.body.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (id, payload) = if packet.first & 0x06 > 0 {
            let (id, rest) = rest.split_first_chunk::<2>()?;
            (Some(*id), rest)
        } else {
            (None, rest)
        };
        // `device/0001/audio` or `bench/0001`
        let digits = topic.split(|b| *b == b'/').nth(1)?;
        let from = digits.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + usize::from(b - b'0')))?;
        let number = u32::from_be_bytes(*payload.get(4..)?.first_chunk()?);
        let at = u64::from_be_bytes(*payload.get(HEAD..)?.first_chunk()?);
        Some(Self { from, id, number, at })
    }
}
