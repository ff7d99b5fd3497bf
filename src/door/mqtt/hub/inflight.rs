//! Packet ids and messages of what is on its way to a client with QoS 1 or 2.

use std::collections::VecDeque;

use super::session::Copy;

/// What the client has still to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door::mqtt) enum Stage {
    /// PUBACK.
    Ack,
    /// PUBREC.
    Rec,
    /// PUBCOMP.
    Comp,
}

/// One message under way.
#[derive(Debug, Clone)]
pub(in crate::door::mqtt) struct Flight {
    pub id: u16,
    pub stage: Stage,
    /// To send it again on the next connection; none for a downlink, whose owner does that.
    pub copy: Option<Copy>,
}

/// How an id is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door::mqtt) enum Number {
    /// By the message's number in the queue of a kept session, so that a restart finds the same one: lower half.
    Kept(u64),
    /// The next free one of the upper half, beside those.
    Beside,
    /// The next free one of all: the session is not kept.
    Free,
}

const KEPT_IDS: u64 = 0x7FFF;

/// At most as many as the caller allows.
#[derive(Debug, Default)]
pub(in crate::door::mqtt) struct Inflight {
    flights: VecDeque<Flight>,
    last: u16,
}

impl Inflight {
    /// Bytes of the messages that it holds.
    pub fn bytes(&self) -> usize {
        self.flights.iter().filter_map(|f| f.copy.as_ref()).map(|copy| copy.message.cost()).sum()
    }

    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// This id is taken.
    pub fn holds(&self, id: u16) -> bool {
        self.flights.iter().any(|f| f.id == id)
    }

    /// The packet id of a kept message, from its number in the queue of its session.
    pub fn kept_id(number: u64) -> u16 {
        u16::try_from(number % KEPT_IDS).unwrap_or(0) + 1
    }

    /// A packet id, which stays taken until the client has answered.
    pub fn begin(&mut self, qos: u8, number: Number, copy: Option<Copy>) -> u16 {
        let id = match number {
            Number::Kept(number) => Self::kept_id(number),
            Number::Beside => self.free_id(0x8000),
            Number::Free => self.free_id(1),
        };
        let stage = if qos == 1 { Stage::Ack } else { Stage::Rec };
        self.flights.push_back(Flight { id, stage, copy });
        id
    }

    fn free_id(&mut self, lowest: u16) -> u16 {
        loop {
            self.last = if self.last < lowest || self.last == u16::MAX { lowest } else { self.last + 1 };
            // far fewer than half of all ids are ever taken: a free one is near
            if !self.flights.iter().any(|f| f.id == self.last) {
                return self.last;
            }
        }
    }

    /// PUBACK. What is unknown is ignored.
    pub fn acked(&mut self, id: u16) -> Option<Flight> {
        self.finish(id, Stage::Ack)
    }

    /// A PUBREC that refuses.
    pub fn refused(&mut self, id: u16) -> Option<Flight> {
        self.finish(id, Stage::Rec)
    }

    /// PUBREC: the message whose PUBREL is to follow.
    pub fn received(&mut self, id: u16) -> Option<&Flight> {
        let flight = self.flights.iter_mut().find(|f| f.id == id && f.stage != Stage::Ack)?;
        flight.stage = Stage::Comp;
        Some(flight)
    }

    /// PUBCOMP.
    pub fn completed(&mut self, id: u16) -> Option<Flight> {
        self.finish(id, Stage::Comp)
    }

    fn finish(&mut self, id: u16, stage: Stage) -> Option<Flight> {
        let at = self.flights.iter().position(|f| f.id == id && f.stage == stage)?;
        let flight = self.flights.remove(at);
        if self.flights.is_empty() {
            self.flights = VecDeque::new();
        }
        flight
    }

    /// Forgets what has no message, and says what is to be sent again on a new connection.
    pub fn resume(&mut self) -> VecDeque<Flight> {
        self.flights.retain(|f| f.copy.is_some());
        self.flights.clone()
    }

    /// Puts back what was under way when the gateway stopped.
    pub fn restore(&mut self, flight: Flight) {
        self.flights.push_back(flight);
    }

    /// Everything that is under way, which it forgets.
    pub fn take(&mut self) -> VecDeque<Flight> {
        std::mem::take(&mut self.flights)
    }
}
