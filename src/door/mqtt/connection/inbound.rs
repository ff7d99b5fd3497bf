//! From the client: bytes to packets to where they belong.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::{Connection, Pending};
use crate::domain::{Receipt, Refusal, Settled};
use crate::door::mqtt::client::Client;
use crate::door::mqtt::codec::{self, Ack, AckKind, Frame, Packet, Publish, Subscribe, Unsubscribe, Version, reason};
use crate::door::mqtt::ending::Ending;
use crate::door::mqtt::hub::Subscription;
use crate::door::mqtt::message::Message;
use crate::door::mqtt::socket::Transport;
use crate::door::rights::{self, Caller, Destination};

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
                _ => match self.poll_fill(cx, frame) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(n)) if n > 0 => self.clocks.last_received = Instant::now(),
                    Poll::Ready(_) => return Err(Ending::PeerGone),
                },
            }
            moved = true;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, frame: Option<Frame>) -> Poll<std::io::Result<usize>> {
        let missing = frame.map_or(0, |f| f.header + f.body - self.inbox.len());
        if missing > SCRATCH {
            self.inbox.reserve(missing.min(GROWTH));
            return poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.inbox);
        }
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; SCRATCH];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut scratch))?;
        self.inbox.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(scratch.filled().len()))
    }

    fn take(&mut self, frame: Frame) -> Result<(), Ending> {
        self.inbox.advance(frame.header);
        let body = self.inbox.split_to(frame.body).freeze();
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
            Packet::PubAck(Ack { id, .. }) => self.inflight.acked(id),
            Packet::PubComp(Ack { id, .. }) => self.inflight.completed(id),
            Packet::PubRec(ack) => self.on_pubrec(ack),
            Packet::PubRel(ack) => self.on_pubrel(ack),
            Packet::PingReq => codec::pingresp(&mut self.replies),
            Packet::Disconnect(0x04) => return Err(Ending::LeftWithWill),
            Packet::Disconnect(_) => return Err(Ending::Left),
        }
        self.received_too_much()
    }

    fn received_too_much(&self) -> Result<(), Ending> {
        if self.received.len() > MAX_RECEIVED {
            return Err(Ending::Broke(reason::QUOTA, "no_pubrel"));
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
        if publish.props.as_ref().is_some_and(|p| p.alias.is_some()) {
            return self.break_off(reason::BAD_ALIAS, "topic_alias");
        }
        if !rights::sound_topic(publish.topic.as_str()) {
            return self.break_off(reason::BAD_TOPIC, "bad_topic");
        }
        if publish.qos == 2 && self.received.contains(&publish.id) {
            // sent before: it is answered again, not handed on again
            if !self.owed.holds(publish.id) {
                self.owed.known(2, publish.id, reason::SUCCESS);
            }
            return;
        }
        if publish.qos == 2 {
            self.received.push(publish.id);
        }
        let gate = self.seat.gate().clone();
        let client = self.seat.client().clone();
        let topic = publish.topic.as_str();
        match gate.rights.destination(&caller(&client), topic) {
            None => self.refuse(&publish, reason::NOT_AUTHORIZED, "not_allowed"),
            Some(Destination::Uplink { dialect, stream, device }) => {
                gate.mirror(topic, &publish.payload, client.link, false);
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let work = gate.uplink(client.link, device, (dialect, stream), &publish.payload, receipt);
                self.pending = work.map(Pending);
            }
            Some(Destination::Command { .. }) if publish.retain => {
                self.refuse(&publish, reason::NO_RETAIN, "retained_command");
            }
            Some(Destination::Command { device, name }) => {
                gate.mirror(topic, &publish.payload, client.link, false);
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let doing = gate.commands.command(device, name, publish.payload.clone());
                self.pending = Some(Pending(Box::pin(async move { settle(receipt, doing.await) })));
            }
            Some(Destination::Bus) => {
                let receipt = self.owed.receipt(publish.qos, publish.id);
                let (bus, message) = (gate.bus.clone(), message(publish, Some(client.link)));
                self.pending = Some(Pending(Box::pin(async move {
                    settle(receipt, bus.carry(message).await.map_err(|_| Refusal::Quota));
                })));
            }
        }
    }

    fn refuse(&mut self, publish: &Publish, code: u8, cause: &'static str) {
        self.seat.gate().metrics.dropped(cause);
        self.owed.known(publish.qos, publish.id, code);
    }

    /// Ends the connection for a broken rule, at the next step.
    fn break_off(&self, code: u8, name: &'static str) {
        self.seat.client().end(Ending::Broke(code, name));
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe) {
        let gate = self.seat.gate().clone();
        let client = self.seat.client().clone();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for wanted in &subscribe.filters {
            let filter = wanted.filter.as_str();
            let known = self.seat.filters.iter().any(|f| **f == *filter);
            if let Some(code) = self.denied(filter, known) {
                gate.metrics.dropped("subscription");
                codes.push(code);
                continue;
            }
            if !known {
                self.seat.filters.push(filter.into());
            }
            let subscription = Subscription {
                client: client.clone(),
                qos: wanted.qos,
                no_local: wanted.no_local,
                retain_as_published: wanted.retain_as_published,
                id: subscribe.subscription_id,
            };
            gate.bus.hub().subscribe(filter, &subscription, wanted.retain_handling);
            codes.push(wanted.qos);
        }
        codec::suback(&mut self.replies, self.version, subscribe.id, &codes);
    }

    fn denied(&self, filter: &str, known: bool) -> Option<u8> {
        let gate = self.seat.gate();
        if !rights::sound_filter(filter) {
            return Some(reason::BAD_FILTER);
        }
        if filter.starts_with("$share/") {
            return Some(reason::NO_SHARED);
        }
        if !known && self.seat.filters.len() >= gate.settings.limits.subscriptions {
            return Some(reason::QUOTA);
        }
        (!gate.rights.may_subscribe(&caller(self.seat.client()), filter)).then_some(reason::NOT_AUTHORIZED)
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let (gate, link) = (self.seat.gate().clone(), self.seat.client().link);
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let filter = filter.as_str();
            let known = gate.bus.hub().unsubscribe(filter, link);
            self.seat.filters.retain(|f| **f != *filter);
            codes.push(if known { reason::SUCCESS } else { reason::NO_SUBSCRIPTION });
        }
        codec::unsuback(&mut self.replies, self.version, unsubscribe.id, &codes);
    }

    fn on_pubrec(&mut self, Ack { id, reason: code }: Ack) {
        if self.inflight.received(id, code >= 0x80) {
            codec::ack(&mut self.replies, self.version, AckKind::PubRel, id, reason::SUCCESS);
        } else if code < 0x80 {
            codec::ack(&mut self.replies, self.version, AckKind::PubRel, id, reason::NO_SUCH_ID);
        }
    }

    fn on_pubrel(&mut self, Ack { id, .. }: Ack) {
        let known = self.received.contains(&id);
        self.received.retain(|r| *r != id);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        let code = if known || self.version == Version::V4 { reason::SUCCESS } else { reason::NO_SUCH_ID };
        codec::ack(&mut self.replies, self.version, AckKind::PubComp, id, code);
    }

    /// The will, as if the client had published it now. Its rights were checked at CONNECT.
    pub(super) async fn publish_will(&mut self) {
        let Some(will) = self.will.take() else { return };
        let (gate, client) = (self.seat.gate().clone(), self.seat.client().clone());
        let topic = will.topic.as_str();
        let caller = caller(&client);
        if gate.rights.is_own_status(&caller, topic) {
            return; // the door writes it from the connection itself
        }
        let work: Option<futures::future::BoxFuture<'static, ()>> = match gate.rights.destination(&caller, topic) {
            Some(Destination::Uplink { dialect, stream, device }) => {
                gate.mirror(topic, &will.payload, client.link, false);
                gate.uplink(client.link, device, (dialect, stream), &will.payload, Receipt::none())
            }
            Some(Destination::Bus) => {
                let publish = Publish {
                    dup: false,
                    qos: will.qos,
                    retain: will.retain,
                    topic: will.topic.clone(),
                    id: 0,
                    props: will.props.clone(),
                    payload: will.payload.clone(),
                };
                let (bus, message) = (gate.bus.clone(), message(publish, Some(client.link)));
                Some(Box::pin(async move {
                    // a bus that is off has nobody to tell
                    let _ = bus.carry(message).await;
                }))
            }
            Some(Destination::Command { .. }) | None => None,
        };
        if let Some(work) = work
            && tokio::time::timeout(super::GOODBYE, work).await.is_err()
        {
            gate.metrics.dropped("will");
        }
    }
}

/// Who asks for a right.
fn caller(client: &Client) -> Caller {
    let (user, id) = client.key.split_once('\0').unwrap_or_default();
    Caller { who: client.who.clone(), user: user.into(), client: id.into() }
}

fn settle(receipt: Receipt, done: Result<(), Refusal>) {
    receipt.settle(match done {
        Ok(()) => Settled::Taken,
        Err(refusal) => Settled::Refused(refusal),
    });
}

fn message(publish: Publish, from: Option<crate::domain::LinkId>) -> Message {
    let Publish { qos, retain, topic, props, payload, .. } = publish;
    // the payload is a view of the read buffer: a retained message must not keep that alive
    let payload = if retain { Bytes::copy_from_slice(&payload) } else { payload };
    Message { props, from, ..Message::new(topic.as_str(), payload, qos, retain) }
}
