//! To the client: answers first, then its queue.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::{Connection, Speaking};
use crate::domain::{LinkPacket, PacketKind};
use crate::door::mqtt::client::{Copy, Outgoing};
use crate::door::mqtt::codec::{self, AckKind, PublishHead, Version};
use crate::door::mqtt::ending::Ending;
use crate::door::mqtt::socket::Transport;

/// How much is encoded at once for a watcher.
const BATCH: usize = 16 << 10;

impl<T: Transport> Connection<T> {
    /// Turns settled receipts into acknowledgements.
    pub(super) fn poll_owed(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(due) = self.owed.poll(cx) {
            moved = true;
            if due.code >= 0x80 && due.kind == AckKind::PubRec {
                self.received.retain(|id| *id != due.id);
            }
            if self.version == Version::V4 && due.retry {
                // not acknowledged: the client sends it again
                self.seat.gate().metrics.dropped("withheld");
                continue;
            }
            let code = if self.version == Version::V4 { 0 } else { due.code };
            codec::ack(&mut self.replies, self.version, due.kind, due.id, code);
            self.seat.gate().metrics.packet_out(if due.kind == AckKind::PubAck { "puback" } else { "pubrec" });
        }
        moved
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
            self.out.clear();
            self.speaking = None;
        }
    }

    fn wrote(&mut self, n: usize) {
        self.out.advance(n);
        if let Some(speaking) = &mut self.speaking {
            speaking.begun = true;
        }
        if !self.out.is_empty() {
            return;
        }
        if self.out.capacity() > 0 {
            self.out = BytesMut::new();
        }
        if let Some(Speaking { packet: Outgoing::Downlink { packet, at }, .. }) = self.speaking.take() {
            self.seat.gate().metrics.lateness.observe((Instant::now() - at).as_secs_f64());
            self.show(&packet);
        }
    }

    /// Puts into `out` what goes next; false when there is nothing.
    fn fill(&mut self) -> bool {
        if !self.replies.is_empty() {
            std::mem::swap(&mut self.out, &mut self.replies);
        }
        while self.speaking.is_none() && self.out.len() < BATCH {
            let taken = self.seat.client().take(self.out.is_empty(), self.inflight.has_room());
            let Some((next, epoch)) = taken else { break };
            match next {
                Outgoing::Copy(copy) => self.encode_copy(&copy),
                Outgoing::Downlink { packet, at } => {
                    self.encode_downlink(&packet);
                    if packet.kind == PacketKind::Audio {
                        let packet = Outgoing::Downlink { packet, at };
                        self.speaking = Some(Speaking { packet, epoch, begun: false });
                    } else {
                        self.show(&packet);
                    }
                }
            }
        }
        !self.out.is_empty()
    }

    fn show(&self, packet: &LinkPacket) {
        self.seat.gate().mirror(&packet.topic, &packet.payload, self.seat.client().link, true);
    }

    fn encode_downlink(&mut self, packet: &LinkPacket) {
        // order matters more than the promise: what must arrive is sent again by its owner, not by this connection
        let qos = if self.inflight.has_room() { packet.qos as u8 } else { 0 };
        let id = if qos > 0 { self.inflight.begin(qos) } else { 0 };
        let head = PublishHead { qos, id, ..PublishHead::default() };
        codec::publish(&mut self.out, self.version, head, &packet.topic, &packet.payload);
        self.seat.gate().metrics.packet_out("publish");
    }

    fn encode_copy(&mut self, copy: &Copy) {
        let message = &copy.message;
        let expiry = message.expiry_left(Instant::now());
        if expiry == Some(0) {
            return;
        }
        let id = if copy.qos > 0 { self.inflight.begin(copy.qos) } else { 0 };
        let head = PublishHead {
            dup: false,
            qos: copy.qos,
            retain: copy.retain,
            id,
            props: message.props.as_deref(),
            expiry,
            subscriptions: &copy.subscriptions,
        };
        let before = self.out.len();
        let n = codec::publish(&mut self.out, self.version, head, &message.topic, &message.payload);
        if n > self.max_packet_out {
            self.out.truncate(before);
            self.inflight.acked(id);
            self.inflight.received(id, true);
            self.seat.gate().metrics.dropped("client_max_packet");
        } else {
            self.seat.gate().metrics.packet_out("publish");
        }
    }
}
