//! A place inside the broker for a part of the gateway itself: a kept session without a socket.
//!
//! What its filters match waits in a queue on disk, in order, until its owner says that it has arrived; what its
//! owner publishes passes the same rights as an operator's. Its user name is one that nobody can log in with. It must
//! not know what its owner does with a message.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::client::{self, Client};
use super::gate::Gate;
use super::hub::{self, Answer, Bound, Copy, Flight, INSIDE, Options, QueueLimits, Session, Spilt};
use super::message::Message;
use crate::domain::Receipt;
use crate::door::rights::{Caller, Destination};
use crate::topics::{Role, Who};

/// How much may wait, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes, with 160 for each message.
    pub bytes: usize,
    /// A newcomer is refused to its publisher when the queue is full; else the oldest goes.
    pub refuse: bool,
}

/// A message that waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// What [`Place::arrived`] wants; 0: nothing is owed. The same message keeps its id, also over a restart.
    pub id: u16,
    /// Where it was published.
    pub topic: Arc<str>,
    /// What.
    pub payload: Bytes,
    /// Keep it, the publisher said.
    pub retain: bool,
    /// It may have been sent before.
    pub again: bool,
}

/// What a part of the gateway publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Keep it for new subscribers.
    pub retain: bool,
    /// Commands to devices are allowed, too.
    pub commands: bool,
}

/// Why a posting is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Barred {
    /// No topic that one can publish to.
    BadTopic,
    /// The topic is a device's, the gateway's, or forbidden by a rule.
    NotAllowed,
    /// A command that should be kept.
    RetainedCommand,
}

impl Barred {
    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Barred::BadTopic => "bad_topic",
            Barred::NotAllowed => "not_allowed",
            Barred::RetainedCommand => "retained_command",
        }
    }
}

/// See the module. While it lives, its session counts as connected; dropped, the session goes on collecting.
pub struct Place {
    gate: Arc<Gate>,
    client: Arc<Client>,
    session: Arc<Session>,
    resend: VecDeque<Flight>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("name", &self.session.owner.client).finish_non_exhaustive()
    }
}

/// How full a place is.
#[derive(Clone)]
pub struct Gauge(Arc<Session>);

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.waiting()).finish()
    }
}

impl Gauge {
    /// Messages that wait or are under way, and the bytes of those that wait.
    pub fn waiting(&self) -> (usize, usize) {
        let (messages, bytes) = self.0.waiting();
        (messages + self.0.under_way(), bytes)
    }

    /// What it did not keep, since the gateway started.
    pub fn spilt(&self) -> Spilt {
        self.0.spilt()
    }
}

/// Why there is no place: the store cannot take its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot take it")]
pub struct NoPlace;

impl Place {
    /// The place of this name, with what waits there from before, and exactly these filters (with the QoS that their
    /// copies have at most). Retained messages of new ones wait at once.
    pub(super) async fn open(
        gate: Arc<Gate>,
        name: &str,
        room: Room,
        filters: &[(String, u8)],
    ) -> Result<Self, NoPlace> {
        let who = Who::Operator(Role::Operator);
        let owner = Caller { who: who.clone(), user: format!("{INSIDE}{name}").into(), client: name.into() };
        let limits = QueueLimits { packets: room.messages, bytes: room.bytes };
        let key = hub::key(&owner.user, &owner.client);
        let share = client::Room { limits, memory: gate.broker.memory().clone() };
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let client = Arc::new(Client::new(gate.next_link(), who, key, nowhere, share, gate.metrics.clone()));
        let bound = Bound { limits, refuse: room.refuse };
        let opened = gate.broker.open_inside(owner, bound, &client).map_err(|_| NoPlace)?;
        let place = Self { gate, client, session: opened.session, resend: opened.resend };
        let mut writes = opened.writes;
        let broker = &place.gate.broker;
        for (old, _) in place.session.filters() {
            if !filters.iter().any(|(filter, _)| **filter == *old) {
                broker.unsubscribe(&place.session, &old);
            }
        }
        for (filter, qos) in filters {
            broker.subscribe(&place.session, filter, options(*qos), 1);
        }
        writes.extend(place.session.record());
        if place.gate.broker.write(writes).await { Ok(place) } else { Err(NoPlace) }
    }

    /// How full it is, also for others to look at.
    pub fn gauge(&self) -> Gauge {
        Gauge(self.session.clone())
    }

    /// What was taken and has not arrived comes again, first.
    pub fn rewind(&mut self) {
        // it ends only when its bridge is gone from the configuration
        self.resend = self.session.attach(&self.client, hub::NEVER).unwrap_or_default();
    }

    /// All that is retained waits again: whoever had it has lost it.
    pub fn retained_again(&self) {
        if self.session.holds_stored() {
            return; // it is on its way
        }
        for (filter, options) in self.session.filters() {
            self.gate.broker.subscribe(&self.session, &filter, options, 0);
        }
    }

    /// The next message, in order, while fewer than `room` have not arrived yet.
    pub fn take(&mut self, room: usize) -> Option<Parcel> {
        loop {
            let (copy, id) = match self.resend.pop_front() {
                Some(Flight { id, copy: Some(copy), .. }) => (Copy { again: true, ..copy }, id),
                Some(Flight { copy: None, .. }) => continue,
                None => self.session.take(self.client.link, room)?,
            };
            let Copy { message, retain, again, .. } = copy;
            if message.expiry_left(Instant::now()) == Some(0) {
                self.arrived(id);
                continue;
            }
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            return Some(Parcel { id, topic, payload, retain, again: again && id > 0 });
        }
    }

    /// The same, when there is one.
    pub async fn next(&mut self, room: usize) -> Parcel {
        poll_fn(|cx| {
            self.client.watch(cx.waker());
            self.take(room).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// It is where it was to go, or shall go nowhere: it is forgotten. False when nothing of this id was under way.
    pub fn arrived(&self, id: u16) -> bool {
        let before = self.session.under_way();
        let writes = self.session.answered(id, Answer::Refused);
        self.gate.broker.note(writes);
        self.session.under_way() < before
    }

    /// Publishes: when the future is done the next one may follow, and the receipt is settled when it is where it must
    /// be. Its own filters do not match it.
    pub fn publish(&self, posting: Posting<'_>, receipt: Receipt) -> Result<BoxFuture<'static, ()>, Barred> {
        let Posting { topic, payload, qos, retain, commands } = posting;
        if !self.gate.settings.limits.sound_topic(topic) {
            return Err(Barred::BadTopic);
        }
        let (gate, number) = (&self.gate, self.session.number);
        match gate.rights.destination(&self.session.owner, topic) {
            Some(Destination::Bus) => {
                let wall = gate.clock.wall();
                let message = Message { from: Some(number), wall, ..Message::new(topic, payload, qos, retain) };
                Ok(gate.broker.clone().carry(message, receipt))
            }
            Some(Destination::Command { device, name }) if commands => {
                if retain {
                    return Err(Barred::RetainedCommand);
                }
                Ok(gate.command((device, name), topic, &payload, number, receipt))
            }
            Some(Destination::Command { .. } | Destination::Uplink { .. }) | None => Err(Barred::NotAllowed),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.broker.leave(&self.session, self.client.link, None);
    }
}

fn options(qos: u8) -> Options {
    Options { qos, no_local: true, retain_as_published: true, id: None }
}
