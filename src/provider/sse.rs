//! Server-sent events from bytes: the parts of the standard that chat services use.

/// A line longer than this is not an event of a chat.
const LONGEST: usize = 1 << 20;

/// Collects bytes and gives out the data of whole events.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
    data: String,
    has_data: bool,
}

/// Why bytes are no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line has no end.
    #[error("a line of the stream is longer than 1 MB")]
    TooLong,
    /// A whole line is not UTF-8. Half a character at the end of a piece is no error: the rest comes.
    #[error("the stream is not text")]
    NotText,
}

impl Events {
    /// More bytes, cut anywhere; the data of each event that is now whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, SseError> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.buffer[begin..].iter().position(|b| *b == b'\n') {
            let end = begin + length;
            let line = self.buffer[begin..end].strip_suffix(b"\r").unwrap_or(&self.buffer[begin..end]);
            let line = std::str::from_utf8(line).map_err(|_| SseError::NotText)?;
            begin = end + 1;
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    events.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
            // Comments (keep-alive), event names, ids and retry times say nothing here.
            if self.data.len() > LONGEST {
                return Err(SseError::TooLong);
            }
        }
        self.buffer.drain(..begin);
        if self.buffer.len() > LONGEST { Err(SseError::TooLong) } else { Ok(events) }
    }

    /// The bytes ended: an event without its empty line counts too.
    pub fn finish(mut self) -> Result<Vec<String>, SseError> {
        self.push(b"\n\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_line_without_end_and_bytes_that_are_no_text_are_refused() {
        assert_eq!(Events::default().push(&vec![b'a'; LONGEST + 1]), Err(SseError::TooLong));
        assert_eq!(Events::default().push(b"data: \xff\xfe\n\n"), Err(SseError::NotText));
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let text = ": keep-alive\r\n\r\nevent: x\ndata: {\"é\":\"好\"}\n\ndata:a\ndata: b\r\n\r\ndata: [DONE]\n\n";
        let expected = ["{\"é\":\"好\"}", "a\nb", "[DONE]"];
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut all = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                all.extend(events.push(piece).unwrap());
            }
            assert_eq!(all, expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_last_event_needs_no_empty_line() {
        let mut events = Events::default();
        assert!(events.push(b"data: x").unwrap().is_empty());
        assert_eq!(events.finish().unwrap(), ["x"]);
    }
}
