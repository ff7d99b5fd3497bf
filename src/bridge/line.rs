//! A connection to the other broker, from CONNACK to its end: one task, no second queue.
//!
//! Packet ids of what goes out are those of the queue on disk, so that a PUBACK removes its very record. What comes in
//! is acknowledged in order, when the broker here has settled it. rumqttc gives the packets and their bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::BoxFuture;
use rumqttc::{Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode, mqttbytes};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{Dialled, Socket};
use super::echo::Echoes;
use super::metrics::Counts;
use super::route::{Route, translate};
use super::trouble::Trouble;
use crate::domain::{Receipt, Refusal, Settled};
use crate::door::mqtt::{Parcel, Place, Posting};

/// Most messages that have left and are not acknowledged. Fewer than brokers take (mosquitto: 20 to us, any to it).
const UNDER_WAY: usize = 64;
/// Most acknowledgements that we owe before the other broker is not read any more.
const OWED: usize = 256;
/// How much is encoded at once.
const BATCH: usize = 16 << 10;
/// How long the last bytes may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// The packet id of our one SUBSCRIBE: of the half that the queue does not use.
const SUBSCRIBE_ID: u16 = 0xFFFF;

/// What a bridge carries and how.
#[derive(Debug)]
pub(super) struct Plan {
    pub out: Vec<Route>,
    pub incoming: Vec<Route>,
    pub max_packet: usize,
    pub keep_alive: Duration,
    /// Messages that come in may command devices.
    pub commands: bool,
}

/// What lives longer than a connection.
#[derive(Debug)]
pub(super) struct Memory {
    /// What goes out, in order.
    pub place: Place,
    pub echoes: Echoes,
    /// The other broker has taken all our subscriptions since we started.
    pub subscribed: bool,
    /// Our messages come back: the other broker does not know that we are a bridge.
    pub echoing: bool,
}

/// A connection that is in.
pub(super) struct Line<'a> {
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    inbox: BytesMut,
    out: BytesMut,
    /// Something is written that may not have left.
    unflushed: bool,
    plan: &'a Plan,
    memory: &'a mut Memory,
    counts: &'a Counts,
    owed: Owed,
    /// A message that the broker here has not taken yet.
    carrying: Option<BoxFuture<'static, ()>>,
    /// When something came last.
    heard: Instant,
}

impl<'a> Line<'a> {
    /// Takes over a connection; what was under way on the last one goes first.
    pub fn new(dialled: Dialled, plan: &'a Plan, memory: &'a mut Memory, counts: &'a Counts) -> Self {
        let Dialled { socket, inbox, present } = dialled;
        let (reader, writer) = split(socket);
        memory.place.rewind();
        if !present {
            memory.subscribed = false;
            memory.echoes = Echoes::default();
            memory.place.retained_again();
        }
        let (out, owed, heard) = (BytesMut::new(), Owed::default(), Instant::now());
        Self { reader, writer, inbox, out, unflushed: false, plan, memory, counts, owed, carrying: None, heard }
    }

    /// Carries until it is over, or until `stop` and what waits then has arrived, for which it takes a second at most.
    pub async fn run(mut self, stop: &CancellationToken) -> Result<(), Trouble> {
        self.subscribe()?;
        let mut tick = interval(self.plan.keep_alive / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        let mut last = None;
        loop {
            self.read_packets()?;
            if last.is_some() && self.memory.place.gauge().waiting().0 == 0 {
                return self.leave().await;
            }
            let reads = self.may_read();
            let takes = self.out.len() < BATCH;
            tokio::select! {
                () = stop.cancelled(), if last.is_none() => last = Some(Instant::now() + GOODBYE),
                () = sleep_until(last.unwrap_or(self.heard)), if last.is_some() => return self.leave().await,
                read = self.reader.read_buf(&mut self.inbox), if reads => {
                    if read? == 0 {
                        return Err(Trouble::Closed(""));
                    }
                    self.heard = Instant::now();
                }
                written = write(&mut self.writer, &mut self.out, &mut self.unflushed) => written?,
                (id, settled) = self.owed.next() => self.settled(id, settled)?,
                () = carried(&mut self.carrying) => self.carrying = None,
                parcel = self.memory.place.next(UNDER_WAY), if takes => self.send(parcel),
                _ = tick.tick() => self.ping()?,
            }
            while self.out.len() < BATCH
                && let Some(parcel) = self.memory.place.take(UNDER_WAY)
            {
                self.send(parcel);
            }
        }
    }

    fn may_read(&self) -> bool {
        self.carrying.is_none() && self.owed.entries.len() < OWED && self.out.len() < 4 * BATCH
    }

    fn subscribe(&mut self) -> Result<(), Trouble> {
        if self.plan.incoming.is_empty() || self.memory.subscribed {
            return Ok(());
        }
        let filter = |route: &Route| SubscribeFilter::new(route.filter.clone(), quality(route.qos));
        let mut subscribe = Subscribe::new_many(self.plan.incoming.iter().map(filter));
        subscribe.pkid = SUBSCRIBE_ID;
        self.encode(&Packet::Subscribe(subscribe))
    }

    fn encode(&mut self, packet: &Packet) -> Result<(), Trouble> {
        let written = packet.write(&mut self.out, usize::MAX);
        written.map(|_| ()).map_err(|error| Trouble::Protocol(error.to_string()))
    }

    /// A message goes out, or nowhere.
    fn send(&mut self, parcel: Parcel) {
        let Parcel { id, topic, payload, retain, again } = parcel;
        let Some(topic) = translate(&self.plan.out, &topic) else {
            return self.give_up(id, "no_route");
        };
        let qos = quality(u8::from(id > 0));
        let publish = Publish { dup: again, qos, retain, topic, pkid: id, payload };
        if self.memory.echoing && translate(&self.plan.incoming, &publish.topic).is_some() {
            self.memory.echoes.expect(&publish.topic, &publish.payload);
        }
        if Packet::Publish(publish).write(&mut self.out, self.plan.max_packet).is_err() {
            return self.give_up(id, "too_large");
        }
        if id == 0 {
            self.counts.sent();
        }
    }

    fn give_up(&self, id: u16, cause: &'static str) {
        self.memory.place.arrived(id);
        self.counts.dropped(cause, 1);
    }

    fn ping(&mut self) -> Result<(), Trouble> {
        let silent = self.heard.elapsed();
        if silent > self.plan.keep_alive * 3 / 2 && self.may_read() {
            return Err(Trouble::Silent);
        }
        self.encode(&Packet::PingReq)
    }

    /// Reads what has come, as far as it can be handed on.
    fn read_packets(&mut self) -> Result<(), Trouble> {
        while self.may_read() {
            match Packet::read(&mut self.inbox, self.plan.max_packet) {
                Ok(packet) => self.on_packet(packet)?,
                Err(mqttbytes::Error::InsufficientBytes(_)) => break,
                Err(error) => return Err(Trouble::Protocol(error.to_string())),
            }
        }
        Ok(())
    }

    fn on_packet(&mut self, packet: Packet) -> Result<(), Trouble> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(PubAck { pkid }) => {
                // one that nothing waits for is of a message that was dropped meanwhile
                if self.memory.place.arrived(pkid) {
                    self.counts.sent();
                }
                Ok(())
            }
            Packet::SubAck(answer) => {
                self.on_suback(&answer);
                Ok(())
            }
            Packet::PingResp => Ok(()),
            _ => Err(Trouble::Protocol("a packet that no broker sends here".into())),
        }
    }

    fn on_suback(&mut self, SubAck { return_codes, .. }: &SubAck) {
        let refused = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Failure);
        self.memory.subscribed = !return_codes.iter().any(refused);
        for (route, _) in self.plan.incoming.iter().zip(return_codes).filter(|(_, code)| refused(code)) {
            self.counts.dropped("subscription", 1);
            tracing::warn!(place = ?self.memory.place, filter = route.filter, "the other broker refuses a subscription");
        }
    }

    fn on_publish(&mut self, publish: Publish) -> Result<(), Trouble> {
        let Publish { qos, retain, topic, pkid, payload, .. } = publish;
        if qos == QoS::ExactlyOnce {
            return Err(Trouble::Protocol("qos 2 was not asked for: another client had this client_id".into()));
        }
        if self.memory.echoing && self.memory.echoes.is_one(&topic, &payload) {
            self.refuse(pkid, "own");
            return Ok(());
        }
        let Some(topic) = translate(&self.plan.incoming, &topic) else {
            self.refuse(pkid, "no_route");
            return Ok(());
        };
        let (receipt, waiting) = if pkid > 0 {
            let (receipt, waiting) = Receipt::new();
            (receipt, Some(waiting))
        } else {
            (Receipt::none(), None)
        };
        // a view would keep all that was read with it
        let payload = Bytes::copy_from_slice(&payload);
        let posting = Posting { topic: &topic, payload, qos: qos as u8, retain, commands: self.plan.commands };
        match self.memory.place.publish(posting, receipt) {
            Err(barred) => {
                self.refuse(pkid, barred.name());
                return Ok(());
            }
            Ok(work) => self.carrying = Some(work),
        }
        match waiting {
            Some(waiting) => self.owed.push(pkid, Debt::Waiting(waiting)),
            None => self.counts.received(),
        }
        Ok(())
    }

    /// It is not for us: the other broker need not send it again.
    fn refuse(&mut self, pkid: u16, cause: &'static str) {
        self.counts.dropped(cause, 1);
        if pkid > 0 {
            self.owed.push(pkid, Debt::Done);
        }
    }

    /// The oldest message that came is settled: it is acknowledged, unless only sending it again helps.
    fn settled(&mut self, id: u16, due: Due) -> Result<(), Trouble> {
        match due {
            Due::Nothing => {}
            Due::Settled(Settled::Durable | Settled::Taken) => self.counts.received(),
            Due::Lost | Due::Settled(Settled::Refused(Refusal::Storage)) => return Err(Trouble::NotStored),
            Due::Settled(Settled::Refused(refusal)) => self.counts.dropped(refusal.name(), 1),
        }
        self.encode(&Packet::PubAck(PubAck::new(id)))
    }

    async fn leave(mut self) -> Result<(), Trouble> {
        self.encode(&Packet::Disconnect)?;
        let all = async {
            while !self.out.is_empty() || self.unflushed {
                write(&mut self.writer, &mut self.out, &mut self.unflushed).await?;
            }
            self.writer.shutdown().await
        };
        // whether it heard us or not: what it did not acknowledge is kept
        let _ = timeout(GOODBYE, all).await;
        Ok(())
    }
}

/// One step of writing, which loses nothing when it is dropped; never done when there is nothing to write.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    out: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    if !out.is_empty() {
        let n = writer.write(out).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        out.advance(n);
        *unflushed = true;
    } else if *unflushed {
        writer.flush().await?;
        *unflushed = false;
    } else {
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn carried(carrying: &mut Option<BoxFuture<'static, ()>>) {
    match carrying {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

fn quality(qos: u8) -> QoS {
    if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// What became of a message that came.
#[derive(Clone, Copy)]
enum Due {
    /// It was refused before.
    Nothing,
    Settled(Settled),
    /// Nobody has it.
    Lost,
}

enum Debt {
    /// Until the broker here says what became of it.
    Waiting(oneshot::Receiver<Settled>),
    Done,
}

/// Acknowledgements that the other broker waits for, in order.
#[derive(Default)]
struct Owed {
    entries: VecDeque<(u16, Debt)>,
}

impl Owed {
    fn push(&mut self, id: u16, debt: Debt) {
        self.entries.push_back((id, debt));
    }

    /// The oldest, when it is settled.
    async fn next(&mut self) -> (u16, Due) {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(u16, Due)> {
        let Some((id, debt)) = self.entries.front_mut() else { return Poll::Pending };
        let due = match debt {
            Debt::Done => Due::Nothing,
            Debt::Waiting(waiting) => match Pin::new(waiting).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(settled) => settled.map_or(Due::Lost, Due::Settled),
            },
        };
        let id = *id;
        self.entries.pop_front();
        Poll::Ready((id, due))
    }
}
