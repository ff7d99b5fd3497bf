//! Wyoming events to bytes and back, as a `tokio_util` codec with limits.
//!
//! A stream that breaks a limit or the format is not to be gone on with: there is no way to find the
//! start of the next event, so every error ends the connection.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::codec::{Decoder, Encoder};

use super::Event;

/// How large the parts of an event may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The header line, its newline not counted.
    pub line: usize,
    /// The data after the line.
    pub data: usize,
    /// The payload.
    pub payload: usize,
}

impl Default for Limits {
    /// 64 KB, 1 MB, 1 MB.
    fn default() -> Self {
        Self { line: 64 << 10, data: 1 << 20, payload: 1 << 20 }
    }
}

/// Why a stream is not Wyoming, or an event not sendable. Names places and sizes, never content.
#[derive(Debug, thiserror::Error)]
pub enum WyomingError {
    /// The header line is longer than allowed, or the peer speaks something else.
    #[error("the header line is longer than {0} bytes")]
    LineTooLong(usize),
    /// The `data_length` is larger than allowed.
    #[error("an event's data of {size} bytes is larger than {limit} bytes")]
    DataTooLarge {
        /// What was announced or given.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// The `payload_length` is larger than allowed.
    #[error("an event's payload of {size} bytes is larger than {limit} bytes")]
    PayloadTooLarge {
        /// What was announced or given.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// The header line is not a JSON object with a `type`.
    #[error("the header line is no wyoming header (at byte {0})")]
    Header(usize),
    /// The bytes after the header line are not a JSON object.
    #[error("an event's data is no JSON object (at byte {0})")]
    Data(usize),
    /// The stream ended inside an event.
    #[error("the stream ended inside an event")]
    Truncated,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The header line.
#[derive(Debug, Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    data_length: Option<u64>,
    #[serde(default)]
    payload_length: Option<u64>,
}

/// The header line as we write it; data goes after the line, so that the line stays short.
#[derive(Debug, Serialize)]
struct HeaderOut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_length: Option<usize>,
}

/// The protocol version that the header announces; peers do not check it.
const VERSION: &str = "1.5.4";

/// What the decoder waits for.
#[derive(Debug)]
enum State {
    /// A header line; so many bytes are known to hold no newline.
    Line { searched: usize },
    /// The rest of an event whose header is read.
    Rest { event: Event, data: usize, payload: usize },
}

/// Reads and writes events.
#[derive(Debug)]
pub struct Codec {
    limits: Limits,
    state: State,
}

impl Default for Codec {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Codec {
    /// A codec with these limits, both ways.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Line { searched: 0 } }
    }

    /// Takes one header line out of `src` when it is whole; empty lines between events are skipped.
    fn take_line(&self, src: &mut BytesMut, searched: &mut usize) -> Result<Option<BytesMut>, WyomingError> {
        loop {
            let from = (*searched).min(src.len());
            let Some(at) = src[from..].iter().position(|b| *b == b'\n') else {
                if src.len() > self.limits.line {
                    return Err(WyomingError::LineTooLong(self.limits.line));
                }
                *searched = src.len();
                return Ok(None);
            };
            let end = from + at;
            if end > self.limits.line {
                return Err(WyomingError::LineTooLong(self.limits.line));
            }
            let line = src.split_to(end);
            src.advance(1);
            *searched = 0;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn open(&self, line: &[u8]) -> Result<State, WyomingError> {
        let header: Header = serde_json::from_slice(line).map_err(|e| WyomingError::Header(e.column()))?;
        let data = bounded(header.data_length, self.limits.data)
            .map_err(|size| WyomingError::DataTooLarge { size, limit: self.limits.data })?;
        let payload = bounded(header.payload_length, self.limits.payload)
            .map_err(|size| WyomingError::PayloadTooLarge { size, limit: self.limits.payload })?;
        let event = Event { kind: header.kind, data: header.data.unwrap_or_default(), payload: Bytes::new() };
        Ok(State::Rest { event, data, payload })
    }
}

fn bounded(length: Option<u64>, limit: usize) -> Result<usize, u64> {
    let length = length.unwrap_or(0);
    usize::try_from(length).ok().filter(|l| *l <= limit).ok_or(length)
}

fn close(mut event: Event, data: &[u8], payload: Bytes) -> Result<Event, WyomingError> {
    if !data.is_empty() {
        let more: Map<String, Value> = serde_json::from_slice(data).map_err(|e| WyomingError::Data(e.column()))?;
        event.data.extend(more);
    }
    event.payload = payload;
    Ok(event)
}

impl Decoder for Codec {
    type Item = Event;
    type Error = WyomingError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Event>, WyomingError> {
        if let State::Line { mut searched } = self.state {
            let line = self.take_line(src, &mut searched)?;
            self.state = match line {
                None => State::Line { searched },
                Some(line) => self.open(&line)?,
            };
        }
        let State::Rest { event, data, payload } = &mut self.state else { return Ok(None) };
        let missing = (*data + *payload).saturating_sub(src.len());
        if missing > 0 {
            // bounded by the limits, which were checked when the header was read
            src.reserve(missing);
            return Ok(None);
        }
        let (event, data) = (std::mem::take(event), src.split_to(*data));
        let payload = src.split_to(*payload).freeze();
        self.state = State::Line { searched: 0 };
        close(event, &data, payload).map(Some)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Event>, WyomingError> {
        if let Some(event) = self.decode(src)? {
            return Ok(Some(event));
        }
        let between = matches!(self.state, State::Line { .. }) && src.trim_ascii().is_empty();
        if between { Ok(None) } else { Err(WyomingError::Truncated) }
    }
}

impl Encoder<Event> for Codec {
    type Error = WyomingError;

    fn encode(&mut self, event: Event, dst: &mut BytesMut) -> Result<(), WyomingError> {
        let data = if event.data.is_empty() { Vec::new() } else { json(&event.data)? };
        within(data.len(), self.limits.data).map_err(|(size, limit)| WyomingError::DataTooLarge { size, limit })?;
        within(event.payload.len(), self.limits.payload)
            .map_err(|(size, limit)| WyomingError::PayloadTooLarge { size, limit })?;
        let line = json(&HeaderOut {
            kind: &event.kind,
            version: VERSION,
            data_length: Some(data.len()).filter(|l| *l > 0),
            payload_length: Some(event.payload.len()).filter(|l| *l > 0),
        })?;
        within(line.len(), self.limits.line).map_err(|(_, limit)| WyomingError::LineTooLong(limit))?;
        dst.reserve(line.len() + 1 + data.len() + event.payload.len());
        dst.put_slice(&line);
        dst.put_u8(b'\n');
        dst.put_slice(&data);
        dst.put_slice(&event.payload);
        Ok(())
    }
}

fn within(size: usize, limit: usize) -> Result<(), (u64, usize)> {
    if size <= limit { Ok(()) } else { Err((size as u64, limit)) }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, WyomingError> {
    serde_json::to_vec(value).map_err(|e| WyomingError::Io(e.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::*;

    fn bytes_of(event: &Event) -> BytesMut {
        let mut out = BytesMut::new();
        Codec::default().encode(event.clone(), &mut out).unwrap();
        out
    }

    /// Feeds `input` in pieces of `step` bytes, as a socket would.
    fn read_all(input: &[u8], step: usize) -> Result<Vec<Event>, WyomingError> {
        let (mut codec, mut buffer, mut events) = (Codec::default(), BytesMut::new(), Vec::new());
        for piece in input.chunks(step.max(1)) {
            buffer.extend_from_slice(piece);
            while let Some(event) = codec.decode(&mut buffer)? {
                events.push(event);
            }
        }
        while let Some(event) = codec.decode_eof(&mut buffer)? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn an_announced_length_beyond_the_limit_is_refused_before_anything_is_kept() {
        for line in [
            &br#"{"type":"audio-chunk","payload_length":1048577}"#[..],
            br#"{"type":"audio-chunk","payload_length":18446744073709551615}"#,
            br#"{"type":"audio-chunk","data_length":9999999999}"#,
        ] {
            let mut input = BytesMut::from(line);
            input.put_u8(b'\n');
            let error = Codec::default().decode(&mut input).unwrap_err();
            assert!(
                matches!(error, WyomingError::PayloadTooLarge { .. } | WyomingError::DataTooLarge { .. }),
                "{error}"
            );
            assert!(input.capacity() < 4096);
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused_at_its_limit() {
        let mut codec = Codec::default();
        let mut input = BytesMut::from(&vec![b'x'; 64 << 10][..]);
        assert!(codec.decode(&mut input).unwrap().is_none());
        input.put_u8(b'x');
        assert!(matches!(codec.decode(&mut input), Err(WyomingError::LineTooLong(65536))));
    }

    #[test]
    fn what_is_no_header_or_no_data_is_an_error_without_its_text() {
        for bad in ["GET / HTTP/1.1\r\n", "[1]\n", "{}\n", "{\"type\":1}\n", "{\"type\":\"a\",\"payload_length\":-1}\n"]
        {
            let error = read_all(bad.as_bytes(), 4096).unwrap_err();
            assert!(matches!(error, WyomingError::Header(_)), "{bad:?}: {error}");
        }
        let error = read_all(b"{\"type\":\"a\",\"data_length\":6}\nsecret", 4096).unwrap_err();
        assert!(matches!(error, WyomingError::Data(_)));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_stream_cut_inside_an_event_says_so() {
        let whole = bytes_of(&Event::new("audio-chunk").with("rate", 16_000).with_payload(vec![1, 2, 3]));
        for cut in 1..whole.len() {
            assert!(matches!(read_all(&whole[..cut], 4096), Err(WyomingError::Truncated)), "cut at {cut}");
        }
        assert!(read_all(b"", 1).unwrap().is_empty());
    }

    #[test]
    fn what_home_assistant_sends_is_read() {
        // inline data, separate data and payload, in the three mixtures that its servers write
        let mut wire = Vec::new();
        wire.extend_from_slice(b"{\"type\": \"describe\", \"version\": \"1.2.0\"}\n");
        wire.extend_from_slice(
            b"{\"type\":\"transcribe\",\"data\":{\"language\":\"en\"},\"data_length\":16}\n{\"name\": \"tiny\"}",
        );
        wire.extend_from_slice(
            b"\n{\"type\":\"audio-chunk\",\"data\":{\"rate\":16000,\"width\":2},\"payload_length\":4}\n\n\n\n\n",
        );
        for step in [1, 3, 7, 4096] {
            let events = read_all(&wire, step).unwrap();
            assert_eq!(events.len(), 3, "step {step}");
            assert_eq!(events[0], Event::new("describe"));
            assert_eq!(events[1], Event::new("transcribe").with("language", "en").with("name", "tiny"));
            assert_eq!(events[2].payload.as_ref(), b"\n\n\n\n");
            assert_eq!(events[2].number("rate"), Some(16_000));
        }
    }

    #[test]
    fn an_event_larger_than_its_limits_is_not_written() {
        let mut out = BytesMut::new();
        let large = Event::new("audio-chunk").with_payload(vec![0; (1 << 20) + 1]);
        assert!(matches!(Codec::default().encode(large, &mut out), Err(WyomingError::PayloadTooLarge { .. })));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(input in proptest::collection::vec(any::<u8>(), 0..600), step in 1usize..64) {
            let _ = read_all(&input, step);
        }

        #[test]
        fn any_event_comes_back_as_it_was_however_it_is_cut(
            kind in "[a-z-]{1,20}", fields in proptest::collection::hash_map("\\PC{0,12}", "\\PC{0,40}", 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..400,
        ) {
            let mut event = Event::new(kind).with_payload(payload);
            for (name, value) in fields {
                event.data.insert(name, value.into());
            }
            let wire = [bytes_of(&event), bytes_of(&event)].concat();
            prop_assert_eq!(read_all(&wire, step).unwrap(), vec![event.clone(), event]);
        }
    }
}
