//! A session: what is known of a client beyond one connection.
//!
//! Its subscriptions, what waits for it, what it has not answered yet. A connection attaches to it and takes from
//! it; without one it goes on collecting until it expires. Nothing here waits; what must survive a restart is added
//! to the caller's batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::inflight::{Flight, Inflight, Number, Stage};
use super::record;
use super::{Subscription, Will};
use crate::domain::{LinkId, Wall};
use crate::door::mqtt::client::Client;
use crate::door::mqtt::memory::Memory;
use crate::door::mqtt::message::Message;
use crate::door::rights::Caller;
use crate::store::Batch;

/// A session that never expires, in seconds.
pub(in crate::door::mqtt) const NEVER: u32 = u32::MAX;

/// A bus message for one subscriber.
#[derive(Debug, Clone)]
pub(in crate::door::mqtt) struct Copy {
    pub message: Arc<Message>,
    pub qos: u8,
    pub retain: bool,
    pub subscriptions: Vec<u32>,
    /// Retained, brought by a SUBSCRIBE: it does not count against the queue.
    pub from_store: bool,
    /// The shared subscription that it came by: whole filter, with its `$share/`.
    pub share: Option<Arc<str>>,
    /// Its number in the queue of a kept session.
    pub number: Option<u64>,
    /// It may have been sent before the gateway stopped.
    pub again: bool,
}

impl Copy {
    fn cost(&self) -> usize {
        if self.from_store { 0 } else { self.message.cost() }
    }

    /// What it costs when it is retained anyway, and only waits: its place in the queue, and on disk what is kept.
    fn stored_cost(&self, kept: bool) -> usize {
        if kept && self.qos > 0 { self.message.cost() } else { size_of::<Self>() + self.subscriptions.len() * 4 }
    }
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door::mqtt) struct QueueLimits {
    pub packets: usize,
    pub bytes: usize,
}

/// What came of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// It waits, or nobody needs it.
    Taken,
    /// It waits until its record is handed to the store: [`Session::release`] wants this number then.
    Recorded(u64),
    /// The session is over: nobody will have it.
    Gone,
    /// The queue is full and must not lose what waits: its publisher shall keep it.
    Refused,
    /// The queue is full: the session's connection ends, and a session without one is over.
    Overflow,
}

#[derive(Debug, Default)]
struct State {
    attached: Option<Arc<Client>>,
    over: bool,
    /// Seconds that it outlives its connection.
    expiry: u32,
    /// When its last connection ended.
    left: Option<Instant>,
    filters: Vec<(Box<str>, Options)>,
    queue: VecDeque<Copy>,
    live: usize,
    bytes: usize,
    /// The same of retained messages that a subscription brought.
    stored_bytes: usize,
    /// Numbers of records that are not yet handed to the store: they may not leave before.
    unhanded: Vec<u64>,
    inflight: Inflight,
    /// QoS 2 packet ids between PUBLISH and PUBREL.
    received: Vec<u16>,
    next_number: u64,
    will: Option<(Instant, Will)>,
    /// What happens when it is full, when that is not the end of the session: a bridge's.
    bound: Option<Bound>,
    /// What went or was refused so.
    spilt: Spilt,
}

/// How a queue that never ends its session is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door::mqtt) struct Bound {
    pub limits: QueueLimits,
    /// The newcomer is refused to its publisher; else the oldest goes.
    pub refuse: bool,
}

/// What a bounded queue did not keep, since the gateway started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spilt {
    /// Messages that went because newer ones came.
    pub dropped: u64,
    /// Messages that were not taken.
    pub refused: u64,
}

/// What a subscription asks for, without its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::door::mqtt) struct Options {
    pub qos: u8,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_local: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain_as_published: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::door::mqtt) struct Session {
    /// Never repeats while the process lives.
    pub number: u64,
    pub key: Arc<str>,
    pub owner: Caller,
    /// It was made to outlive its connection: it counts against the quota, and has a record.
    pub counted: bool,
    limits: QueueLimits,
    online: AtomicBool,
    state: Mutex<State>,
}

/// A session that ended: what others must still be told.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub filters: Vec<Box<str>>,
    /// Messages of shared subscriptions that it had not answered.
    pub shared: Vec<Copy>,
    pub will: Option<Will>,
    /// Numbers of the kept messages.
    pub numbers: Vec<u64>,
    pub received: Vec<u16>,
    /// The connection that it had.
    pub client: Option<Arc<Client>>,
}

impl Session {
    pub fn new(number: u64, key: Arc<str>, owner: Caller, expiry: u32, limits: QueueLimits) -> Self {
        let state = Mutex::new(State { expiry, ..State::default() });
        Self { number, key, owner, counted: expiry > 0, limits, online: AtomicBool::new(false), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is attached.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// It outlives its connection, and the gateway.
    pub fn is_kept(&self) -> bool {
        self.state().expiry > 0
    }

    /// Binds a connection to it; what it had not answered is to be sent again, first.
    /// None when it is over.
    pub fn attach(&self, client: &Arc<Client>, expiry: u32) -> Option<VecDeque<Flight>> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.attached = Some(client.clone());
        (state.expiry, state.left, state.will) = (expiry, None, None);
        self.online.store(true, Ordering::Release);
        Some(state.inflight.resume())
    }

    /// Changes how long it outlives its connection.
    pub fn set_expiry(&self, expiry: u32) {
        let mut state = self.state();
        if !state.over {
            state.expiry = expiry;
        }
    }

    /// The connection is over. A connection that was replaced changes nothing.
    pub fn detach(&self, link: LinkId, will: Option<Will>) -> Detached {
        let mut state = self.state();
        if state.over {
            state.attached = None;
            self.online.store(false, Ordering::Release);
            return Detached::Void(will);
        }
        if state.attached.as_ref().is_none_or(|c| c.link != link) {
            return Detached::Stays;
        }
        self.online.store(false, Ordering::Release);
        state.attached = None;
        let now = Instant::now();
        state.left = Some(now);
        state.will = will.map(|will| (now + Duration::from_secs(will.delay.min(state.expiry).into()), will));
        if state.expiry == 0 {
            return Detached::Ends;
        }
        state.queue.retain(|copy| copy.qos > 0);
        state.recount();
        state.inflight.resume();
        Detached::Stays
    }

    /// Adds or replaces a subscription; true when it is new, none when the session is over.
    pub fn remember(&self, filter: &str, options: Options) -> Option<bool> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        if let Some((_, old)) = state.filters.iter_mut().find(|(f, _)| **f == *filter) {
            *old = options;
            return Some(false);
        }
        state.filters.push((filter.into(), options));
        Some(true)
    }

    /// Removes a subscription.
    pub fn forget(&self, filter: &str) {
        self.state().filters.retain(|(f, _)| **f != *filter);
    }

    /// Its subscriptions.
    pub fn filters(&self) -> Vec<(Box<str>, Options)> {
        self.state().filters.clone()
    }

    /// How many subscriptions it has, and whether this is one.
    pub fn subscribed(&self, filter: &str) -> (usize, bool) {
        let state = self.state();
        (state.filters.len(), state.filters.iter().any(|(f, _)| **f == *filter))
    }

    /// Queues a copy. What a kept session must not lose goes into `writes`, too.
    pub(super) fn offer(&self, copy: Copy, writes: &mut Batch) -> Offered {
        let mut state = self.state();
        if state.over {
            return Offered::Gone;
        }
        if copy.qos == 0 && state.attached.is_none() {
            return Offered::Taken;
        }
        if let Some(bound) = state.bound {
            let made = if copy.from_store { Ok(()) } else { state.make_room(bound, &copy, &self.owner, writes) };
            return match made {
                Ok(()) => self.push(state, copy, writes),
                Err(offered) => offered,
            };
        }
        let cost = copy.cost();
        let full = state.live >= self.limits.packets || state.bytes + cost > self.limits.bytes;
        if full && !copy.from_store {
            return Offered::Overflow;
        }
        self.push(state, copy, writes)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, mut copy: Copy, writes: &mut Batch) -> Offered {
        if copy.qos > 0 && state.expiry > 0 {
            state.next_number += 1;
            copy.number = Some(state.next_number);
            record::put_message(writes, &self.owner, state.next_number, &copy, Stage::Rec);
        }
        state.live += usize::from(!copy.from_store);
        state.bytes += copy.cost();
        if copy.from_store {
            state.stored_bytes += copy.stored_cost(state.expiry > 0);
        }
        let number = copy.number;
        state.queue.push_back(copy);
        if let Some(number) = number {
            state.unhanded.push(number);
            return Offered::Recorded(number);
        }
        let client = state.attached.clone();
        drop(state);
        if let Some(client) = client {
            client.wake();
        }
        Offered::Taken
    }

    /// The record of a copy is handed to the store: the copy may leave. False when it does not wait any more, so that
    /// nobody will ever remove the record.
    pub(super) fn release(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(at) = state.unhanded.iter().position(|n| *n == number) else { return false };
        state.unhanded.swap_remove(at);
        if state.unhanded.is_empty() {
            state.unhanded = Vec::new();
        }
        let waits = state.queue.iter().rev().any(|copy| copy.number == Some(number));
        let client = state.attached.clone();
        drop(state);
        if let Some(client) = client {
            client.wake();
        }
        waits
    }

    /// Bytes of the retained messages that wait because of its subscriptions.
    pub(super) fn stored_bytes(&self) -> usize {
        self.state().stored_bytes
    }

    /// From now on it stays when it is full.
    pub fn bound(&self, bound: Bound) {
        self.state().bound = Some(bound);
    }

    /// What it did not keep because it was full.
    pub fn spilt(&self) -> Spilt {
        self.state().spilt
    }

    /// Retained messages that a subscription brought wait still.
    pub fn holds_stored(&self) -> bool {
        self.state().queue.iter().any(|copy| copy.from_store)
    }

    /// Messages that the client has still to answer.
    pub fn under_way(&self) -> usize {
        self.state().inflight.len()
    }

    /// The next copy for the connection, with its packet id; one that needs an id waits for `room` for it.
    pub fn take(&self, link: LinkId, room: usize) -> Option<(Copy, u16)> {
        let mut state = self.state();
        let state = &mut *state;
        if state.attached.as_ref()?.link != link {
            return None;
        }
        if state.queue.front()?.qos > 0 && state.inflight.len() >= room {
            return None;
        }
        if state.queue.front()?.number.is_some_and(|number| state.unhanded.contains(&number)) {
            return None; // its answer must not overtake its record
        }
        if state.queue.front()?.number.is_some_and(|number| state.inflight.holds(Inflight::kept_id(number))) {
            return None; // so many between them were dropped that the id comes round again
        }
        let copy = state.queue.pop_front()?;
        state.live = state.live.saturating_sub(usize::from(!copy.from_store));
        state.bytes = state.bytes.saturating_sub(copy.cost());
        if copy.from_store {
            state.stored_bytes = state.stored_bytes.saturating_sub(copy.stored_cost(state.expiry > 0));
        }
        if state.queue.is_empty() {
            (state.queue, state.stored_bytes) = (VecDeque::new(), 0);
        }
        let id = match copy.qos {
            0 => 0,
            qos => {
                let again = copy.number.is_some() || copy.share.is_some();
                let number = copy.number.map_or_else(|| state.beside(), Number::Kept);
                state.inflight.begin(qos, number, again.then(|| copy.clone()))
            }
        };
        Some((copy, id))
    }

    /// A packet id for a downlink, or 0 when too many are under way.
    pub fn downlink_id(&self, qos: u8, room: usize) -> u16 {
        let mut state = self.state();
        if qos == 0 || state.inflight.len() >= room {
            return 0;
        }
        let number = state.beside();
        state.inflight.begin(qos, number, None)
    }

    /// PUBACK, PUBCOMP, a refusing PUBREC, or a message that the client cannot take.
    pub fn answered(&self, id: u16, answer: Answer) -> Batch {
        let mut state = self.state();
        let flight = match answer {
            Answer::Ack => state.inflight.acked(id),
            Answer::Comp => state.inflight.completed(id),
            Answer::Refused => state.inflight.refused(id).or_else(|| state.inflight.acked(id)),
        };
        let mut writes = Batch::new();
        if let Some(number) = flight.and_then(|f| f.copy).and_then(|c| c.number) {
            record::delete_message(&mut writes, &self.owner, number);
        }
        writes
    }

    /// PUBREC: none when the id is unknown; else what must be written before PUBREL leaves.
    pub fn received_by_client(&self, id: u16) -> Option<Batch> {
        let mut state = self.state();
        let flight = state.inflight.received(id)?;
        let mut writes = Batch::new();
        if let Some((copy, number)) = flight.copy.as_ref().and_then(|c| Some((c, c.number?))) {
            record::put_message(&mut writes, &self.owner, number, copy, Stage::Comp);
        }
        Some(writes)
    }

    /// A QoS 2 PUBLISH came: none when its id is taken already, else what a kept session must write.
    pub fn begin_receiving(&self, id: u16) -> Option<Batch> {
        let mut state = self.state();
        if state.received.contains(&id) {
            return None;
        }
        state.received.push(id);
        let mut writes = Batch::new();
        if state.expiry > 0 {
            record::put_received(&mut writes, &self.owner, id);
        }
        Some(writes)
    }

    /// PUBREL came, or the publish was refused: none when the id is not known.
    pub fn end_receiving(&self, id: u16) -> Option<Batch> {
        let mut state = self.state();
        let at = state.received.iter().position(|r| *r == id)?;
        state.received.swap_remove(at);
        if state.received.is_empty() {
            state.received = Vec::new();
        }
        let mut writes = Batch::new();
        if state.expiry > 0 {
            record::delete_received(&mut writes, &self.owner, id);
        }
        Some(writes)
    }

    /// This QoS 2 packet id came, and its PUBREL has not.
    pub fn is_receiving(&self, id: u16) -> bool {
        self.state().received.contains(&id)
    }

    /// QoS 2 publishes without PUBREL.
    pub fn receiving(&self) -> usize {
        self.state().received.len()
    }

    /// Its will, when it is due; and whether the session is over at `now`.
    pub fn due(&self, now: Instant) -> (Option<Will>, bool) {
        let mut state = self.state();
        let will = if state.will.as_ref().is_some_and(|(at, _)| *at <= now) { state.will.take() } else { None };
        (will.map(|(_, will)| will), state.expired(now))
    }

    /// It is over at `now`, whether anybody has noticed or not.
    pub fn expired(&self, now: Instant) -> bool {
        self.state().expired(now)
    }

    /// Ends it: nothing is taken any more.
    pub(super) fn end(&self) -> Remains {
        let mut state = self.state();
        state.over = true;
        let empty = State { over: true, attached: state.attached.clone(), ..State::default() };
        let state = std::mem::replace(&mut *state, empty);
        let State { filters, queue, mut inflight, will, received, attached, .. } = state;
        let flights = inflight.take();
        let mut remains = Remains {
            filters: filters.into_iter().map(|(f, _)| f).collect(),
            will: will.map(|(_, will)| will),
            numbers: flights.iter().filter_map(|f| f.copy.as_ref()?.number).collect(),
            received,
            client: attached,
            ..Remains::default()
        };
        // with QoS 2 the client may have it already: only it may get it again
        let unanswered = flights.into_iter().filter(|f| f.stage == Stage::Ack).filter_map(|f| f.copy);
        remains.shared.extend(unanswered.filter(|copy| copy.share.is_some()));
        for copy in queue {
            remains.numbers.extend(copy.number);
            if copy.share.is_some() {
                remains.shared.push(copy);
            }
        }
        remains
    }

    /// What must be durable before its client is told of a change of its subscriptions.
    pub fn record(&self) -> Batch {
        let mut writes = Batch::new();
        if self.is_kept() {
            record::put_session(&mut writes, &self.describe(Wall(0)));
        }
        writes
    }

    /// What its record says.
    pub fn describe(&self, left: Wall) -> record::SessionRecord {
        let state = self.state();
        record::SessionRecord {
            owner: self.owner.clone(),
            expiry: state.expiry,
            left,
            filters: state.filters.iter().map(|(f, o)| (f.to_string(), *o)).collect(),
        }
    }

    /// Puts back what was kept; its client has been away for so long.
    pub fn restore(&self, kept: record::Kept, away: Duration, memory: &Arc<Memory>) {
        let mut state = self.state();
        let now = Instant::now();
        state.left = Some(now.checked_sub(away).unwrap_or(now));
        state.filters = kept.filters;
        state.received = kept.received;
        for (stage, mut copy) in kept.messages {
            copy.message = Arc::new(Arc::unwrap_or_clone(copy.message).charged(memory));
            state.next_number = state.next_number.max(copy.number.unwrap_or(0));
            if stage == Stage::Comp {
                let id = Inflight::kept_id(copy.number.unwrap_or(0));
                state.inflight.restore(Flight { id, stage, copy: Some(copy) });
            } else {
                state.queue.push_back(copy);
            }
        }
        state.recount();
    }

    /// Bytes of all messages that only it keeps in memory: those that wait and those under way.
    pub(super) fn held(&self) -> usize {
        let state = self.state();
        state.bytes + state.inflight.bytes()
    }

    /// How many of its subscriptions are shared ones.
    pub(super) fn shared(&self) -> usize {
        self.state().filters.iter().filter(|(filter, _)| crate::topics::shared(filter).is_some()).count()
    }

    /// Waiting messages and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.live, state.bytes)
    }

    /// For the tree: one of its subscriptions.
    pub fn subscription(self: &Arc<Self>, options: Options) -> Subscription {
        Subscription { session: self.clone(), options }
    }
}

/// What becomes of a session whose connection is over.
#[derive(Debug)]
pub(in crate::door::mqtt) enum Detached {
    /// It waits for the next one, or has one.
    Stays,
    /// It ends with it.
    Ends,
    /// It was over before; the will is due.
    Void(Option<Will>),
}

/// How a client answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door::mqtt) enum Answer {
    /// PUBACK.
    Ack,
    /// PUBCOMP.
    Comp,
    /// PUBREC with an error; or it cannot take a packet of this size.
    Refused,
}

impl State {
    fn expired(&self, now: Instant) -> bool {
        let over = |left: Instant| left + Duration::from_secs(self.expiry.into()) <= now;
        self.expiry != NEVER && self.attached.is_none() && self.left.is_some_and(over)
    }

    /// Drops the oldest until a copy fits; else what becomes of the copy.
    fn make_room(&mut self, bound: Bound, copy: &Copy, owner: &Caller, writes: &mut Batch) -> Result<(), Offered> {
        let Bound { limits, refuse } = bound;
        // what never fits pushes nothing out
        let never = copy.cost() > limits.bytes;
        while never || self.live >= limits.packets || self.bytes + copy.cost() > limits.bytes {
            if refuse && copy.qos > 0 {
                self.spilt.refused += 1;
                return Err(Offered::Refused);
            }
            self.spilt.dropped += 1;
            if never {
                return Err(Offered::Taken);
            }
            // what nobody was promised does not push out what somebody was
            let oldest = if copy.qos == 0 { None } else { self.queue.iter().position(|c| !c.from_store) };
            let Some(gone) = oldest.and_then(|at| self.queue.remove(at)) else { return Err(Offered::Taken) };
            self.live = self.live.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(gone.cost());
            if let Some(number) = gone.number {
                record::delete_message(writes, owner, number);
            }
        }
        Ok(())
    }

    fn beside(&self) -> Number {
        if self.expiry > 0 { Number::Beside } else { Number::Free }
    }

    fn recount(&mut self) {
        self.live = self.queue.iter().filter(|c| !c.from_store).count();
        self.bytes = self.queue.iter().map(Copy::cost).sum();
        let kept = self.expiry > 0;
        self.stored_bytes = self.queue.iter().filter(|c| c.from_store).map(|c| c.stored_cost(kept)).sum();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }
}
