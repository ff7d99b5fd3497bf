//! To the client: answers first, then what it did not answer before, then its queues.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::{Connection, Speaking};
use crate::domain::{LinkPacket, PacketKind};
use crate::door::mqtt::codec::{self, AckKind, PublishHead, Version, reason};
use crate::door::mqtt::ending::Ending;
use crate::door::mqtt::hub::{Answer, Copy, Flight, Session, Stage};
use crate::door::mqtt::socket::Transport;

/// How much is encoded at once for a watcher.
const BATCH: usize = 16 << 10;

/// A packet is larger than its client takes, and was dropped.
struct TooLarge;

impl<T: Transport> Connection<T> {
    /// Turns settled receipts into acknowledgements.
    pub(super) fn poll_owed(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(due) = self.owed.poll(cx) {
            moved = true;
            if due.code >= 0x80 && due.kind == AckKind::PubRec {
                self.forget_received(due.id);
            }
            if self.version == Version::V4 && due.retry {
                // not acknowledged: the client sends it again
                self.seat.gate().metrics.dropped("withheld");
                if due.lost {
                    self.break_off(reason::IMPLEMENTATION, "internal");
                }
                continue;
            }
            let code = if self.version == Version::V4 { 0 } else { due.code };
            codec::ack(&mut self.replies, self.version, due.kind, due.id, code);
            self.seat.gate().metrics.packet_out(if due.kind == AckKind::PubAck { "puback" } else { "pubrec" });
        }
        moved
    }

    /// A QoS 2 publish was refused or released.
    pub(super) fn forget_received(&self, id: u16) -> bool {
        let Some(writes) = self.seat.session().end_receiving(id) else { return false };
        self.seat.gate().broker.note(writes);
        true
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = false;
        loop {
            self.forget_cleared();
            if self.out.is_empty() && !self.fill() {
                return Ok(moved);
            }
            match Pin::new(&mut self.socket).poll_write(cx, &self.out) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ending::PeerGone),
                Poll::Ready(Ok(n)) => self.wrote(n),
            }
            moved = true;
        }
    }

    /// A frame of speech that is encoded but not begun when its turn is cancelled never leaves.
    fn forget_cleared(&mut self) {
        if let Some(speaking) = &self.speaking
            && !speaking.begun
            && speaking.epoch != self.seat.client().audio_epoch()
        {
            self.aliases.take_back(&speaking.downlink.packet.topic, speaking.alias);
            self.out.clear();
            self.speaking = None;
        }
    }

    fn wrote(&mut self, n: usize) {
        self.out.advance(n);
        self.seat.gate().metrics.bytes_out.inc_by(n as u64);
        if let Some(speaking) = &mut self.speaking {
            speaking.begun = true;
        }
        if !self.out.is_empty() {
            return;
        }
        if self.out.capacity() > 0 {
            self.out = BytesMut::new();
        }
        if let Some(Speaking { downlink, .. }) = self.speaking.take() {
            self.seat.gate().metrics.lateness.observe((Instant::now() - downlink.at).as_secs_f64());
            self.show(&downlink.packet);
        }
    }

    /// Puts into `out` what goes next; false when there is nothing.
    fn fill(&mut self) -> bool {
        if !self.replies.is_empty() {
            std::mem::swap(&mut self.out, &mut self.replies);
        }
        while self.out.len() < BATCH && self.fill_again() {}
        while self.speaking.is_none() && self.out.len() < BATCH && self.fill_downlink() {}
        let session = self.seat.session().clone();
        while self.speaking.is_none() && self.out.len() < BATCH && self.fill_copy(&session) {}
        !self.out.is_empty()
    }

    /// What was not answered on an earlier connection.
    fn fill_again(&mut self) -> bool {
        let under_way = self.seat.session().under_way().saturating_sub(self.resend.len());
        if under_way >= self.room {
            return false;
        }
        let Some(Flight { id, stage, copy }) = self.resend.pop_front() else { return false };
        match (stage, copy) {
            (Stage::Comp, _) => {
                codec::ack(&mut self.out, self.version, AckKind::PubRel, id, reason::SUCCESS);
                self.seat.gate().metrics.packet_out("pubrel");
            }
            (_, Some(copy)) => self.encode_copy(&Copy { again: true, ..copy }, id),
            (_, None) => {}
        }
        true
    }

    fn fill_downlink(&mut self) -> bool {
        let Some((downlink, epoch)) = self.seat.client().take(self.out.is_empty()) else { return false };
        let Ok(alias) = self.encode_downlink(&downlink.packet) else { return true };
        if downlink.packet.kind == PacketKind::Audio {
            self.speaking = Some(Speaking { downlink, epoch, alias, begun: false });
        } else {
            self.show(&downlink.packet);
        }
        true
    }

    fn fill_copy(&mut self, session: &Arc<Session>) -> bool {
        let room = if self.resend.is_empty() { self.room } else { 0 };
        let Some((copy, id)) = session.take(self.seat.client().link, room) else { return false };
        self.encode_copy(&copy, id);
        true
    }

    fn show(&self, packet: &LinkPacket) {
        self.seat.gate().mirror(&packet.topic, &packet.payload, self.seat.session().number, true);
    }

    /// The alias that it was sent with.
    fn encode_downlink(&mut self, packet: &LinkPacket) -> Result<Option<(u16, bool)>, TooLarge> {
        // order matters more than the promise: what must arrive is sent again by its owner, not by this connection
        let id = self.seat.session().downlink_id(packet.qos as u8, self.room);
        let qos = if id > 0 { packet.qos as u8 } else { 0 };
        let alias = self.aliases.alias(&packet.topic);
        let head = PublishHead { qos, id, alias, ..PublishHead::default() };
        let before = self.out.len();
        let n = codec::publish(&mut self.out, self.version, head, &packet.topic, &packet.payload);
        if n > self.max_packet_out {
            self.too_large(before, &packet.topic, alias, id);
            return Err(TooLarge);
        }
        self.sent(packet.payload.len());
        Ok(alias)
    }

    fn encode_copy(&mut self, copy: &Copy, id: u16) {
        let message = &copy.message;
        let expiry = message.expiry_left(Instant::now());
        if expiry == Some(0) && !copy.again {
            return self.give_up(id);
        }
        let alias = self.aliases.alias(&message.topic);
        let head = PublishHead {
            dup: copy.again && copy.qos > 0,
            qos: copy.qos,
            retain: copy.retain,
            id,
            props: message.props.as_deref(),
            expiry,
            subscriptions: &copy.subscriptions,
            alias,
        };
        let before = self.out.len();
        let n = codec::publish(&mut self.out, self.version, head, &message.topic, &message.payload);
        if n > self.max_packet_out {
            self.too_large(before, &message.topic, alias, id);
        } else {
            self.sent(message.payload.len());
        }
    }

    fn sent(&self, payload: usize) {
        let metrics = &self.seat.gate().metrics;
        metrics.packet_out("publish");
        metrics.payload_out.inc_by(payload as u64);
    }

    /// Takes out again what was encoded from `before` on: its client does not take packets of this size.
    fn too_large(&mut self, before: usize, topic: &str, alias: Option<(u16, bool)>, id: u16) {
        self.out.truncate(before);
        self.aliases.take_back(topic, alias);
        self.give_up(id);
        self.seat.gate().metrics.dropped("client_max_packet");
    }

    /// A message that its client will not get.
    fn give_up(&self, id: u16) {
        let writes = self.seat.session().answered(id, Answer::Refused);
        self.seat.gate().broker.note(writes);
    }
}
