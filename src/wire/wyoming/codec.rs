//! The framing of Wyoming events, total on any bytes.

use bytes::{Buf, Bytes, BytesMut};
use serde_json::{Map, Value};

use super::Event;

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum WyomingError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The first line is no JSON object with a `type`, or the second part is no JSON object.
    #[error("not a wyoming event: {0}")]
    Malformed(&'static str),
    /// A part is longer than allowed.
    #[error("the {part} of a wyoming event is longer than {limit} bytes")]
    TooLong {
        /// `header`, `data` or `payload`.
        part: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection ended within an event.
    #[error("the connection ended within a wyoming event")]
    Cut,
}

/// The longest parts that are read, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The first line.
    pub header: usize,
    /// The second JSON.
    pub data: usize,
    /// The payload.
    pub payload: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: 64 << 10, data: 1 << 20, payload: 4 << 20 }
    }
}

/// Reads and writes events on a [`tokio_util::codec::Framed`].
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    /// So much of the buffer holds no line end.
    scanned: usize,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    event: Event,
    data: usize,
    payload: usize,
}

impl Decoder {
    /// A reader with its own limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn header(&mut self, buffer: &mut BytesMut) -> Result<Option<Pending>, WyomingError> {
        let end = buffer[self.scanned..].iter().position(|b| *b == b'\n').map(|at| at + self.scanned);
        let Some(end) = end.filter(|end| *end <= self.limits.header) else {
            self.scanned = buffer.len();
            let too_long = end.is_some() || buffer.len() > self.limits.header;
            return if too_long { Err(too_much("header", self.limits.header)) } else { Ok(None) };
        };
        self.scanned = 0;
        let line = buffer.split_to(end + 1);
        let mut header = object(&line)?;
        let Some(Value::String(kind)) = header.remove("type") else {
            return Err(WyomingError::Malformed("the header has no type"));
        };
        let data = length(&header, "data_length", "data", self.limits.data)?;
        let payload = length(&header, "payload_length", "payload", self.limits.payload)?;
        let inline = match header.remove("data") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => return Err(WyomingError::Malformed("data is no object")),
        };
        Ok(Some(Pending { event: Event { kind, data: inline, payload: Bytes::new() }, data, payload }))
    }
}

fn too_much(part: &'static str, limit: usize) -> WyomingError {
    WyomingError::TooLong { part, limit }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, WyomingError> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(WyomingError::Malformed("not a json object")),
    }
}

fn length(header: &Map<String, Value>, key: &str, part: &'static str, limit: usize) -> Result<usize, WyomingError> {
    let length = match header.get(key) {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_u64().ok_or(WyomingError::Malformed("a length is no whole number"))?,
    };
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(too_much(part, limit))
}

impl tokio_util::codec::Decoder for Decoder {
    type Item = Event;
    type Error = WyomingError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, WyomingError> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => match self.header(buffer)? {
                Some(pending) => pending,
                None => return Ok(None),
            },
        };
        let rest = pending.data + pending.payload;
        if buffer.len() < rest {
            buffer.reserve(rest - buffer.len());
            self.pending = Some(pending);
            return Ok(None);
        }
        let mut event = pending.event;
        if pending.data > 0 {
            event.data.extend(object(&buffer[..pending.data])?);
            buffer.advance(pending.data);
        }
        event.payload = buffer.split_to(pending.payload).freeze();
        Ok(Some(event))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, WyomingError> {
        match self.decode(buffer)? {
            Some(event) => Ok(Some(event)),
            None if buffer.is_empty() && self.pending.is_none() => Ok(None),
            None => Err(WyomingError::Cut),
        }
    }
}

impl tokio_util::codec::Encoder<Event> for Decoder {
    type Error = WyomingError;

    fn encode(&mut self, event: Event, buffer: &mut BytesMut) -> Result<(), WyomingError> {
        write(&event, buffer);
        Ok(())
    }
}

/// The bytes of an event.
pub fn encode(event: &Event) -> Bytes {
    let mut buffer = BytesMut::new();
    write(event, &mut buffer);
    buffer.freeze()
}

/// Data goes into the second part, as the Python library writes it.
fn write(event: &Event, buffer: &mut BytesMut) {
    let mut header = Map::new();
    header.insert("type".into(), event.kind.clone().into());
    header.insert("version".into(), "1.5.4".into());
    let data = if event.data.is_empty() { String::new() } else { Value::Object(event.data.clone()).to_string() };
    if !data.is_empty() {
        header.insert("data_length".into(), data.len().into());
    }
    if !event.payload.is_empty() {
        header.insert("payload_length".into(), event.payload.len().into());
    }
    buffer.extend_from_slice(Value::Object(header).to_string().as_bytes());
    buffer.extend_from_slice(b"\n");
    buffer.extend_from_slice(data.as_bytes());
    buffer.extend_from_slice(&event.payload);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use tokio_util::codec::Decoder as _;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Event>, WyomingError> {
        Decoder::default().decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn what_is_no_event_is_refused_without_waiting_for_more() {
        for bad in
            [&b"hello\n"[..], b"[]\n", b"{}\n", b"{\"type\":1}\n", b"{\"type\":\"a\",\"data\":3}\n", b"\xff\xfe\n"]
        {
            assert!(matches!(read(bad), Err(WyomingError::Malformed(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_length_field_cannot_ask_for_memory() {
        let huge = br#"{"type":"audio-chunk","payload_length":99999999999}"#;
        let with_line_end = [&huge[..], b"\n"].concat();
        assert!(matches!(read(&with_line_end), Err(WyomingError::TooLong { part: "payload", .. })));
        assert!(matches!(
            read(b"{\"type\":\"a\",\"data_length\":-1}\n"),
            Err(WyomingError::Malformed("a length is no whole number"))
        ));
        assert!(matches!(read(&vec![b'a'; 70_000]), Err(WyomingError::TooLong { part: "header", .. })));
    }

    #[test]
    fn an_end_within_an_event_is_told_from_an_end_between_two() {
        let whole = encode(&Event::audio_chunk(16_000, &[1, 2, 3]));
        let mut cut = BytesMut::from(&whole[..whole.len() - 1]);
        assert!(matches!(Decoder::default().decode_eof(&mut cut), Err(WyomingError::Cut)));
        assert!(matches!(Decoder::default().decode_eof(&mut BytesMut::new()), Ok(None)));
    }

    #[test]
    fn both_places_of_data_are_merged() {
        let event = read(b"{\"type\":\"t\",\"data\":{\"a\":1},\"data_length\":7}\n{\"b\":2}").unwrap().unwrap();
        assert_eq!((event.number("a"), event.number("b")), (Some(1), Some(2)));
    }

    proptest! {
        #[test]
        fn any_event_reads_back_however_its_bytes_are_cut(
            kind in "[a-z-]{1,12}", text in ".{0,40}", payload in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
        ) {
            let event = Event { payload: payload.into(), ..Event::new(kind).with("text", text) };
            let bytes = encode(&event);
            let at = at.index(bytes.len());
            let mut decoder = Decoder::default();
            let mut buffer = BytesMut::from(&bytes[..at]);
            let first = decoder.decode(&mut buffer).unwrap();
            buffer.extend_from_slice(&bytes[at..]);
            let read = first.or(decoder.decode(&mut buffer).unwrap());
            prop_assert_eq!(read, Some(event));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::default();
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
        }
    }
}
