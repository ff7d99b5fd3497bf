//! The messages that are under way on the bus: a bounded slab, and the tokens that stand for its entries.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::Receipt;
use crate::door::mqtt::message::Message;

/// Slot and generation of a message; 16 bytes on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    slot: u64,
    generation: u64,
}

/// The slot of canaries, which no message has.
const CANARY: u64 = u64::MAX;

impl Token {
    pub fn of_canary(number: u64) -> Self {
        Self { slot: CANARY, generation: number }
    }

    pub fn canary(self) -> Option<u64> {
        (self.slot == CANARY).then_some(self.generation)
    }

    pub fn to_bytes(self) -> Bytes {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.slot.to_be_bytes());
        bytes[8..].copy_from_slice(&self.generation.to_be_bytes());
        Bytes::copy_from_slice(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (slot, generation) = bytes.split_first_chunk::<8>()?;
        let generation = <[u8; 8]>::try_from(generation).ok()?;
        Some(Self { slot: u64::from_be_bytes(*slot), generation: u64::from_be_bytes(generation) })
    }
}

/// Who asks for credit: the later in this list, the more of it he may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Copies of device traffic: three quarters.
    Copy,
    /// Clients' own publishes: seven eighths.
    Publish,
    /// The gateway's own events and states: all.
    Own,
}

impl Class {
    fn share(self, of: usize) -> usize {
        match self {
            Class::Copy => of - of / 4,
            Class::Publish => of - of / 8,
            Class::Own => of,
        }
    }
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    message: Arc<Message>,
    receipt: Receipt,
}

#[derive(Debug)]
pub(super) struct Slab {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    bytes: usize,
    generation: u64,
    max_slots: usize,
    max_bytes: usize,
}

impl Slab {
    pub fn new(max_slots: usize, max_bytes: usize) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), bytes: 0, generation: 0, max_slots, max_bytes }
    }

    pub fn live(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the message back when credit is short. One message is always allowed, however large.
    pub fn admit(
        &mut self,
        message: Arc<Message>,
        receipt: Receipt,
        class: Class,
    ) -> Result<Token, (Arc<Message>, Receipt)> {
        let full = self.live() >= class.share(self.max_slots)
            || (self.bytes > 0 && self.bytes + message.cost() > class.share(self.max_bytes));
        if full {
            return Err((message, receipt));
        }
        self.generation += 1;
        self.bytes += message.cost();
        let entry = Some(Entry { generation: self.generation, message, receipt });
        let at = self.free.pop().unwrap_or(self.entries.len());
        match self.entries.get_mut(at) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
        Ok(Token { slot: at as u64, generation: self.generation })
    }

    /// The message of a token, once; none for a token that is unknown or stale.
    pub fn take(&mut self, token: Token) -> Option<(Arc<Message>, Receipt)> {
        let at = usize::try_from(token.slot).ok()?;
        let slot = self.entries.get_mut(at)?;
        let Entry { message, receipt, .. } = slot.take_if(|entry| entry.generation == token.generation)?;
        self.bytes -= message.cost();
        self.free.push(at);
        if self.free.len() == self.entries.len() {
            // all is quiet: a burst's memory is not kept
            (self.entries, self.free) = (Vec::new(), Vec::new());
        }
        Some((message, receipt))
    }

    /// The number of the last message that was admitted.
    pub fn newest(&self) -> u64 {
        self.generation
    }

    /// The number of the oldest message that is still under way.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.iter().flatten().map(|entry| entry.generation).min()
    }

    /// All live tokens, oldest first.
    pub fn live_in_order(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(at, e)| e.as_ref().map(|e| Token { slot: at as u64, generation: e.generation }))
            .collect();
        tokens.sort_by_key(|t| t.generation);
        tokens
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn message(n: usize) -> Arc<Message> {
        Arc::new(Message::new("t", Bytes::from(vec![0; n]), 0, false))
    }

    #[test]
    fn a_token_is_good_once_and_a_stranger_never() {
        let mut slab = Slab::new(8, 1 << 20);
        let token = slab.admit(message(1), Receipt::none(), Class::Own).unwrap();
        assert!(slab.take(Token { slot: 99, ..token }).is_none());
        assert!(slab.take(Token { generation: 99, ..token }).is_none());
        assert!(slab.take(token).is_some());
        assert!(slab.take(token).is_none());
        assert_eq!((slab.live(), slab.bytes()), (0, 0));
        assert_eq!(Token::parse(&token.to_bytes()), Some(token));
        assert_eq!(Token::parse(b"short"), None);
    }

    #[test]
    fn copies_stop_before_publishes_and_publishes_before_the_gateway() {
        let mut slab = Slab::new(16, 1 << 20);
        let count =
            |class, slab: &mut Slab| std::iter::from_fn(|| slab.admit(message(1), Receipt::none(), class).ok()).count();
        assert_eq!(count(Class::Copy, &mut slab), 12);
        assert_eq!(count(Class::Publish, &mut slab), 2);
        assert_eq!(count(Class::Own, &mut slab), 2);
        let mut bytes = Slab::new(100, 4_096);
        assert!(bytes.admit(message(1_000_000), Receipt::none(), Class::Copy).is_ok(), "one message is always allowed");
        assert!(bytes.admit(message(1), Receipt::none(), Class::Own).is_err());
    }
}
