//! Packet ids of what is on its way to a client with QoS 1 or 2.

use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ack,
    Rec,
    Comp,
}

/// At most `max` of them.
#[derive(Debug)]
pub(super) struct Inflight {
    entries: VecDeque<(u16, Stage)>,
    last: u16,
    max: usize,
}

impl Inflight {
    pub fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), last: 0, max }
    }

    pub fn has_room(&self) -> bool {
        self.entries.len() < self.max
    }

    /// A free packet id, which stays taken until the client has answered.
    pub fn begin(&mut self, qos: u8) -> u16 {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            // `max` is far below 65,535: a free id is always near
            if !self.entries.iter().any(|(id, _)| *id == self.last) {
                break;
            }
        }
        self.entries.push_back((self.last, if qos == 1 { Stage::Ack } else { Stage::Rec }));
        self.last
    }

    /// PUBACK. What is unknown is ignored.
    pub fn acked(&mut self, id: u16) {
        self.finish(id, Stage::Ack);
    }

    /// PUBREC: true when a PUBREL is to follow.
    pub fn received(&mut self, id: u16, failed: bool) -> bool {
        if failed {
            self.finish(id, Stage::Rec);
            return false;
        }
        match self.entries.iter_mut().find(|(i, stage)| *i == id && *stage != Stage::Ack) {
            Some((_, stage)) => {
                *stage = Stage::Comp;
                true
            }
            None => false,
        }
    }

    /// PUBCOMP.
    pub fn completed(&mut self, id: u16) {
        self.finish(id, Stage::Comp);
    }

    fn finish(&mut self, id: u16, stage: Stage) {
        if let Some(at) = self.entries.iter().position(|e| *e == (id, stage)) {
            self.entries.remove(at);
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }
}
