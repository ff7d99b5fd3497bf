//! Frames (RFC 6455, section 5), a client's taken apart as bytes come, ours put before what is written.

/// A frame of ours, and a client's without its mask, has a head of at most so many bytes.
const MAX_HEAD: usize = 10;
/// With a mask.
const MAX_MASKED: usize = 14;
/// Longest payload of a control frame.
const MAX_CONTROL: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// What a client may not do, and the code that it is told (RFC 6455, section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// A frame that breaks the protocol.
    #[error("a frame that is none")]
    Protocol,
    /// MQTT is binary.
    #[error("a text message")]
    Text,
    /// Longer than the largest packet.
    #[error("a frame that is longer than the largest packet")]
    TooLong,
}

impl Violation {
    pub fn code(self) -> u16 {
        match self {
            Violation::Protocol => 1002,
            Violation::Text => 1003,
            Violation::TooLong => 1009,
        }
    }

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Violation::Protocol => "ws_protocol",
            Violation::Text => "ws_text",
            Violation::TooLong => "ws_too_long",
        }
    }
}

/// Something to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    Ping(Vec<u8>),
    /// With the code to answer.
    Close(u16),
}

/// Takes frames apart, wherever the bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: [u8; MAX_MASKED],
    have: u8,
    /// Bytes of the payload that are still to come.
    left: u64,
    mask: [u8; 4],
    /// Which byte of the mask is next.
    turn: usize,
    opcode: u8,
    /// A message goes on in continuation frames.
    open: bool,
    /// A control frame's payload so far.
    control: Vec<u8>,
}

impl Reader {
    /// Replaces `raw` by the bytes of messages in it; says how many these are. After a Close nothing more is taken.
    pub fn decode(&mut self, raw: &mut [u8], max: u64, mut on: impl FnMut(Control)) -> Result<usize, Violation> {
        let (mut from, mut to) = (0, 0);
        while from < raw.len() {
            if self.left == 0 {
                self.head[usize::from(self.have)] = raw[from];
                self.have += 1;
                from += 1;
                if usize::from(self.have) < self.head_len() {
                    continue;
                }
                self.begin(max)?;
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(raw.len() - from);
            self.unmask(&mut raw[from..from + n]);
            if self.opcode < CLOSE {
                raw.copy_within(from..from + n, to);
                to += n;
            } else {
                self.control.extend_from_slice(&raw[from..from + n]);
            }
            from += n;
            self.left -= n as u64;
            if self.left == 0 && self.opcode >= CLOSE && self.ended(&mut on)? {
                break;
            }
        }
        Ok(to)
    }

    /// How long the head is, as far as it can be seen.
    fn head_len(&self) -> usize {
        let masked = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        match (self.have, self.head[1] & 0x7F) {
            (0 | 1, _) => 2,
            (_, 126) => 4 + masked,
            (_, 127) => 10 + masked,
            _ => 2 + masked,
        }
    }

    fn begin(&mut self, max: u64) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        let (opcode, fin, short) = (first & 0x0F, first & FIN != 0, u64::from(second & 0x7F));
        // a client masks; no extension was agreed on that could use the other bits
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Violation::Protocol);
        }
        let h = &self.head;
        let (len, least, at) = match short {
            126 => (u64::from(u16::from_be_bytes([h[2], h[3]])), 126, 4),
            127 => (u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]), 1 << 16, MAX_HEAD),
            short => (short, 0, 2),
        };
        match opcode {
            CONTINUATION if self.open => self.open = !fin,
            BINARY if !self.open => self.open = !fin,
            TEXT if !self.open => return Err(Violation::Text),
            CLOSE | PING | PONG if fin && len <= MAX_CONTROL as u64 => {}
            _ => return Err(Violation::Protocol),
        }
        // the shortest form of a length is the only one
        if len < least {
            return Err(Violation::Protocol);
        }
        if len > max {
            return Err(Violation::TooLong);
        }
        self.mask = [h[at], h[at + 1], h[at + 2], h[at + 3]];
        (self.left, self.have, self.turn, self.opcode) = (len, 0, 0, opcode);
        self.control = Vec::new();
        Ok(())
    }

    fn unmask(&mut self, bytes: &mut [u8]) {
        let mask = self.mask;
        let turn = self.turn;
        let turned = [mask[turn], mask[(turn + 1) & 3], mask[(turn + 2) & 3], mask[(turn + 3) & 3]];
        for four in bytes.chunks_mut(4) {
            four.iter_mut().zip(turned).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.turn = (turn + bytes.len()) & 3;
    }

    /// A control frame is whole; true: it was the last one.
    fn ended(&mut self, on: &mut impl FnMut(Control)) -> Result<bool, Violation> {
        let payload = std::mem::take(&mut self.control);
        match (self.opcode, payload.as_slice()) {
            (PING, _) => on(Control::Ping(payload)),
            (CLOSE, []) => on(Control::Close(1000)),
            (CLOSE, [_]) => return Err(Violation::Protocol),
            (CLOSE, [a, b, ..]) => on(Control::Close(u16::from_be_bytes([*a, *b]))),
            _ => {}
        }
        Ok(self.opcode == CLOSE)
    }
}

/// The head of a binary message of ours; the array and how much of it counts.
pub(super) fn binary(len: usize) -> ([u8; MAX_HEAD], usize) {
    let mut head = [0; MAX_HEAD];
    head[0] = FIN | BINARY;
    let long = (len as u64).to_be_bytes();
    let size = match len {
        0..126 => {
            head[1] = long[7];
            2
        }
        126..0x1_0000 => {
            head[1] = 126;
            head[2..4].copy_from_slice(&long[6..]);
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&long);
            MAX_HEAD
        }
    };
    (head, size)
}

/// The answer to a ping, of whose payload 125 bytes count: a longer one was refused.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let (head, _) = binary(payload.len());
    let mut frame = vec![FIN | PONG, head[1]];
    frame.extend_from_slice(payload);
    frame
}

/// The last frame.
pub(super) fn close(code: u16) -> Vec<u8> {
    let [a, b] = code.to_be_bytes();
    vec![FIN | CLOSE, 2, a, b]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let (head, n) = binary(payload.len());
        let mut frame = head[..n].to_vec();
        frame[0] = first;
        frame[1] |= 0x80;
        let mask = [9, 8, 7, 6];
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i & 3]));
        frame
    }

    /// Everything that comes out when the bytes come in pieces of these lengths.
    fn decode(bytes: &[u8], cuts: &[usize], max: u64) -> Result<(Vec<u8>, Vec<Control>), Violation> {
        let (mut reader, mut out, mut controls) = (Reader::default(), Vec::new(), Vec::new());
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
            rest = later;
            let mut piece = piece.to_vec();
            let n = reader.decode(&mut piece, max, |control| controls.push(control))?;
            out.extend(&piece[..n]);
        }
        Ok((out, controls))
    }

    #[test]
    fn a_ping_between_the_parts_of_a_message_tears_nothing() {
        let mut bytes = frame(BINARY, b"hel");
        bytes.extend(frame(FIN | PING, b"are you there"));
        bytes.extend(frame(FIN | CONTINUATION, b"lo"));
        bytes.extend(frame(FIN | PONG, b""));
        bytes.extend(frame(FIN | BINARY, b""));
        bytes.extend(frame(FIN | CLOSE, &[3, 0xE8]));
        for cut in [1, 2, 3, 7, 1_000] {
            let (out, controls) = decode(&bytes, &[cut], 100).unwrap();
            assert_eq!(out, b"hello");
            assert_eq!(controls, [Control::Ping(b"are you there".to_vec()), Control::Close(1000)]);
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_refused() {
        let table: &[(&str, Vec<u8>, Violation)] = &[
            ("text", frame(FIN | TEXT, b"hi"), Violation::Text),
            ("not masked", vec![FIN | BINARY, 1, 0], Violation::Protocol),
            ("a reserved bit, as of compression", frame(FIN | BINARY | 0x40, b"x"), Violation::Protocol),
            ("an unknown kind", frame(FIN | 3, b"x"), Violation::Protocol),
            ("a continuation of nothing", frame(FIN | CONTINUATION, b"x"), Violation::Protocol),
            ("a message in a message", [frame(BINARY, b"x"), frame(FIN | BINARY, b"y")].concat(), Violation::Protocol),
            ("a ping in parts", frame(PING, b"x"), Violation::Protocol),
            ("a long ping", frame(FIN | PING, &[0; 126]), Violation::Protocol),
            ("half a close code", frame(FIN | CLOSE, &[3]), Violation::Protocol),
            ("a length in a longer form", vec![FIN | BINARY, 0xFE, 0, 5, 0, 0, 0, 0], Violation::Protocol),
            ("too long", frame(FIN | BINARY, &[0; 101]), Violation::TooLong),
            ("an absurd length", [&[FIN | BINARY, 0xFF][..], &[0xFF; 12]].concat(), Violation::TooLong),
        ];
        for (name, bytes, expected) in table {
            for cut in [1, 1_000] {
                let max = if *name == "a long ping" { 1_000 } else { 100 };
                assert_eq!(decode(bytes, &[cut], max).unwrap_err(), *expected, "{name}");
            }
        }
    }

    #[test]
    fn the_lengths_of_our_frames_have_the_shortest_form() {
        for (len, expected) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(binary(len).1, expected, "{len}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..8),
            cuts in prop::collection::vec(1..300_usize, 1..6),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(FIN | BINARY, message)).collect();
            let (out, controls) = decode(&bytes, &cuts, 1_000).unwrap();
            prop_assert_eq!(out, messages.concat());
            prop_assert!(controls.is_empty());
        }

        #[test]
        fn any_bytes_give_bytes_or_a_violation(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            cuts in prop::collection::vec(1..64_usize, 1..4),
        ) {
            if let Ok((out, _)) = decode(&bytes, &cuts, 200) {
                prop_assert!(out.len() <= bytes.len());
            }
        }
    }
}
