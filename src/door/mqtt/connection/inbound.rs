//! From the client: bytes to packets to where they belong.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::{Connection, Done, Pending};
use crate::domain::Wall;
use crate::door::mqtt::codec::{self, Ack, AckKind, Frame, Packet, Publish, Subscribe, Unsubscribe, Version, reason};
use crate::door::mqtt::ending::Ending;
use crate::door::mqtt::hub::{Answer, Options};
use crate::door::mqtt::message::Message;
use crate::door::mqtt::socket::Transport;
use crate::door::rights::Destination;
use crate::store::Batch;
use crate::topics;

/// Read at once while no packet is half there; on the stack, so that an idle connection holds nothing.
const SCRATCH: usize = 8 << 10;
/// Most bytes by which the buffer of a large packet grows ahead of what has arrived.
const GROWTH: usize = 64 << 10;
/// QoS 2 publishes that a client may leave without PUBREL.
const MAX_RECEIVED: usize = 1_024;

impl<T: Transport> Connection<T> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = false;
        loop {
            if !self.may_read() {
                if self.clocks.paused_until.is_none() {
                    self.clocks.unread_since.get_or_insert_with(Instant::now);
                }
                return Ok(moved);
            }
            if self.clocks.unread_since.take().is_some() {
                self.clocks.last_received = Instant::now();
            }
            let max = self.seat.gate().settings.limits.packet.len();
            let frame = codec::frame(&self.inbox, max).map_err(Ending::Codec)?;
            match frame {
                Some(frame) if self.inbox.len() >= frame.header + frame.body => self.take(frame)?,
                _ => match self.poll_fill(cx, frame)? {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.clocks.last_received = Instant::now();
                        self.seat.gate().metrics.bytes_in.inc_by(n as u64);
                    }
                    Poll::Ready(_) => return Err(Ending::PeerGone),
                },
            }
            moved = true;
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<Frame>,
    ) -> Result<Poll<std::io::Result<usize>>, Ending> {
        let missing = frame.map_or(0, |f| f.header + f.body - self.inbox.len());
        if missing > SCRATCH {
            self.make_room(missing.min(GROWTH))?;
            return Ok(poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.inbox));
        }
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; SCRATCH];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        match Pin::new(&mut self.socket).poll_read(cx, &mut scratch) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Ok(Poll::Ready(Err(error))),
            Poll::Pending => return Ok(Poll::Pending),
        }
        self.inbox.extend_from_slice(scratch.filled());
        Ok(Poll::Ready(Ok(scratch.filled().len())))
    }

    /// Grows the buffer of a large packet, as long as there is memory for such.
    fn make_room(&mut self, bytes: usize) -> Result<(), Ending> {
        if self.inbox.capacity() - self.inbox.len() >= bytes {
            return Ok(());
        }
        let broker = &self.seat.gate().broker;
        let memory = broker.memory();
        if memory.full() {
            // who hoards goes before who brings something
            broker.relieve();
        }
        if memory.full() {
            self.seat.gate().metrics.dropped("memory");
            return Err(Ending::Broke(reason::QUOTA, "memory"));
        }
        self.inbox.reserve(bytes);
        self.inbox_charge = Some(memory.charge(self.inbox.capacity()));
        Ok(())
    }

    fn take(&mut self, frame: Frame) -> Result<(), Ending> {
        self.inbox.advance(frame.header);
        let body = self.inbox.split_to(frame.body).freeze();
        let _charge = self.inbox_charge.take();
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        let packet = codec::decode(self.version, frame.first, body).map_err(Ending::Codec)?;
        self.seat.gate().metrics.packet_in(packet.name());
        self.spend(frame.header + frame.body);
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Subscribe(subscribe) => self.on_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe),
            Packet::PubAck(Ack { id, .. }) => self.on_answer(id, Answer::Ack),
            Packet::PubComp(Ack { id, .. }) => self.on_answer(id, Answer::Comp),
            Packet::PubRec(ack) => self.on_pubrec(ack),
            Packet::PubRel(ack) => self.on_pubrel(ack),
            Packet::PingReq => {
                codec::pingresp(&mut self.replies);
                self.seat.gate().metrics.packet_out("pingresp");
            }
            Packet::Disconnect { reason, expiry } => return Err(self.on_disconnect(reason, expiry)),
        }
        Ok(())
    }

    /// Takes a packet from the buckets; when they are empty the client is not read until they are not.
    fn spend(&mut self, bytes: usize) {
        let limits = &self.seat.gate().settings.limits;
        let (messages_per_second, bytes_per_second) =
            (limits.messages_per_second as f32, limits.bytes_per_second.0 as f32);
        let pace = &mut self.pace;
        let now = Instant::now();
        let gone = (now - pace.at).as_secs_f32();
        pace.at = now;
        pace.messages = (pace.messages + gone * messages_per_second).min(messages_per_second) - 1.0;
        pace.bytes = (pace.bytes + gone * bytes_per_second).min(bytes_per_second * 10.0) - bytes as f32;
        let wait = (-pace.messages / messages_per_second).max(-pace.bytes / bytes_per_second);
        if wait > 0.0 {
            self.clocks.paused_until = Some(now + Duration::from_secs_f32(wait.clamp(0.001, 10.0)));
            self.seat.gate().metrics.dropped("slowed");
        }
    }

    fn on_publish(&mut self, publish: Publish) {
        let Some(topic) = self.topic_of(&publish) else {
            return self.break_off(reason::BAD_ALIAS, "topic_alias");
        };
        if !self.seat.gate().settings.limits.sound_topic(&topic) {
            return self.break_off(reason::BAD_TOPIC, "bad_topic");
        }
        if publish.qos == 2 && !self.begin_receiving(publish.id) {
            return;
        }
        let gate = self.seat.gate().clone();
        gate.metrics.payload_in.inc_by(publish.payload.len() as u64);
        let (client, session) = (self.seat.client().clone(), self.seat.session().clone());
        match gate.rights.destination(&session.owner, &topic) {
            None => self.refuse(&publish, reason::NOT_AUTHORIZED, "not_allowed"),
            Some(Destination::Uplink { dialect, stream, device }) => {
                gate.mirror(&topic, &publish.payload, session.number, false);
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let work = gate.uplink(client.link, device, (dialect, stream), &publish.payload, receipt);
                self.pending = work.map(quietly);
            }
            Some(Destination::Command { .. }) if publish.retain => {
                self.refuse(&publish, reason::NO_RETAIN, "retained_command");
            }
            Some(Destination::Command { device, name }) => {
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let doing = gate.command((device, name), &topic, &publish.payload, session.number, receipt);
                self.pending = Some(quietly(doing));
            }
            Some(Destination::Bus) => {
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let message = message(publish, topic, session.number, gate.clock.wall());
                let broker = gate.broker.clone();
                if let Err(back) = broker.try_carry(message, receipt) {
                    let (message, receipt) = *back;
                    self.pending = Some(quietly(broker.carry(message, receipt)));
                }
            }
        }
    }

    /// The topic, also when the publish names it by an alias.
    fn topic_of(&mut self, publish: &Publish) -> Option<Arc<str>> {
        match publish.props.as_ref().and_then(|p| p.alias) {
            None => Some(publish.topic.as_str().into()),
            Some(alias) => self.aliases.topic(alias, publish.topic.as_str()),
        }
    }

    /// Notes a QoS 2 packet id; false when the message was handed on before, or must not be.
    fn begin_receiving(&mut self, id: u16) -> bool {
        let most = match self.version {
            Version::V4 => MAX_RECEIVED,
            Version::V5 => usize::from(self.seat.gate().settings.limits.in_flight),
        };
        let session = self.seat.session();
        if session.receiving() >= most && !session.is_receiving(id) {
            self.break_off(reason::RECEIVE_MAXIMUM, "no_pubrel");
            return false;
        }
        let Some(writes) = session.begin_receiving(id) else {
            // sent before: it is answered again, not handed on again
            if !self.owed.holds(id) {
                self.owed.known(2, id, reason::SUCCESS);
            }
            return false;
        };
        self.seat.gate().broker.note(writes);
        true
    }

    fn refuse(&mut self, publish: &Publish, code: u8, cause: &'static str) {
        self.complain(cause, publish.topic.as_str());
        self.owed.known(publish.qos, publish.id, code);
    }

    /// Counts what was refused, and says so when nothing was said for a while.
    fn complain(&self, cause: &'static str, topic: &str) {
        let (gate, client) = (self.seat.gate(), self.seat.client());
        gate.metrics.dropped(cause);
        if let Some(unsaid) = gate.may_log() {
            let owner = &self.seat.session().owner;
            tracing::warn!(user = ?owner.user, client_id = ?owner.client, peer = %client.peer, cause, ?topic, unsaid, "refused");
        }
    }

    /// Ends the connection for a broken rule, at the next step.
    pub(super) fn break_off(&self, code: u8, name: &'static str) {
        self.seat.client().end(Ending::Broke(code, name));
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe) {
        let gate = self.seat.gate().clone();
        let session = self.seat.session().clone();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for (n, wanted) in subscribe.filters.iter().enumerate() {
            let filter = wanted.filter.as_str();
            if wanted.no_local && topics::shared(filter).is_some() {
                return self.break_off(reason::PROTOCOL_ERROR, "protocol_error");
            }
            // the same filter again and again is refused, too
            let many = (n >= gate.settings.limits.subscriptions).then_some(reason::QUOTA);
            if let Some(code) = many.or_else(|| self.denied(filter)) {
                self.complain("subscription", filter);
                codes.push(if gate.settings.plain_refusals { reason::UNSPECIFIED } else { code });
                continue;
            }
            let options = Options {
                qos: wanted.qos,
                no_local: wanted.no_local,
                retain_as_published: wanted.retain_as_published,
                id: subscribe.subscription_id,
            };
            gate.broker.subscribe(&session, filter, options, wanted.retain_handling);
            codes.push(wanted.qos);
        }
        let mut answer = BytesMut::new();
        codec::suback(&mut answer, self.version, subscribe.id, &codes);
        gate.metrics.packet_out("suback");
        self.answer_when_written(session.record(), answer);
    }

    /// What a kept session promises is durable before its client is told.
    fn answer_when_written(&mut self, writes: Batch, answer: BytesMut) {
        if writes.is_empty() {
            return self.replies.extend_from_slice(&answer);
        }
        let writing = self.seat.gate().broker.write(writes);
        self.pending = Some(Pending(Box::pin(async move {
            if writing.await {
                Done::Answer(answer)
            } else {
                Done::Failed(Ending::Broke(reason::SERVER_BUSY, "storage"))
            }
        })));
    }

    fn denied(&self, filter: &str) -> Option<u8> {
        let gate = self.seat.gate();
        if !gate.settings.limits.sound_filter(filter) {
            return Some(reason::BAD_FILTER);
        }
        let (count, known) = self.seat.session().subscribed(filter);
        if !known && count >= gate.settings.limits.subscriptions {
            return Some(reason::QUOTA);
        }
        (!gate.rights.may_subscribe(&self.seat.session().owner, filter)).then_some(reason::NOT_AUTHORIZED)
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let (gate, session) = (self.seat.gate().clone(), self.seat.session().clone());
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let known = gate.broker.unsubscribe(&session, filter.as_str());
            codes.push(if known { reason::SUCCESS } else { reason::NO_SUBSCRIPTION });
        }
        let mut answer = BytesMut::new();
        codec::unsuback(&mut answer, self.version, unsubscribe.id, &codes);
        gate.metrics.packet_out("unsuback");
        self.answer_when_written(session.record(), answer);
    }

    fn on_answer(&self, id: u16, answer: Answer) {
        let writes = self.seat.session().answered(id, answer);
        self.seat.gate().broker.note(writes);
    }

    fn on_pubrec(&mut self, Ack { id, reason: code }: Ack) {
        if code >= 0x80 {
            return self.on_answer(id, Answer::Refused);
        }
        let (writes, code) = match self.seat.session().received_by_client(id) {
            Some(writes) => (writes, reason::SUCCESS),
            None => (Batch::new(), reason::NO_SUCH_ID),
        };
        let mut answer = BytesMut::new();
        codec::ack(&mut answer, self.version, AckKind::PubRel, id, code);
        self.seat.gate().metrics.packet_out("pubrel");
        self.answer_when_written(writes, answer);
    }

    fn on_pubrel(&mut self, Ack { id, .. }: Ack) {
        let known = self.forget_received(id);
        let code = if known || self.version == Version::V4 { reason::SUCCESS } else { reason::NO_SUCH_ID };
        codec::ack(&mut self.replies, self.version, AckKind::PubComp, id, code);
        self.seat.gate().metrics.packet_out("pubcomp");
    }

    fn on_disconnect(&mut self, code: u8, expiry: Option<u32>) -> Ending {
        let most = u32::try_from(self.seat.gate().settings.limits.session_expiry.0.as_secs()).unwrap_or(u32::MAX);
        match expiry {
            // a session that was to end with its connection cannot be kept after all
            Some(expiry) if expiry > 0 && self.session_expiry == 0 => {
                return Ending::Broke(reason::PROTOCOL_ERROR, "protocol_error");
            }
            Some(expiry) => {
                self.session_expiry = expiry.min(most);
                self.seat.session().set_expiry(self.session_expiry);
            }
            None => {}
        }
        if code == 0x04 { Ending::LeftWithWill } else { Ending::Left }
    }
}

/// Work that leaves nothing to say.
fn quietly(work: BoxFuture<'static, ()>) -> Pending {
    Pending(Box::pin(work.map(|()| Done::Quietly)))
}

/// Payloads up to this are copied: as a view each would keep a whole read buffer alive while it waits.
const COPIED: usize = 4 << 10;

fn message(publish: Publish, topic: Arc<str>, session: u64, wall: Wall) -> Message {
    let Publish { qos, retain, props, payload, .. } = publish;
    let payload = if retain || payload.len() <= COPIED { Bytes::copy_from_slice(&payload) } else { payload };
    let props = props.map(|props| Box::new(props.detached()));
    Message { props, from: Some(session), wall, ..Message::new(topic, payload, qos, retain) }
}
