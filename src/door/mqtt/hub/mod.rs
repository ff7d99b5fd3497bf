//! The broker behind the door: sessions, subscriptions, what is retained.
//!
//! It matches and hands copies to bounded queues, and writes down what must survive; it must not know sockets or
//! the bus's threads.

mod inflight;
mod keeper;
mod record;
mod retained;
mod session;
mod tree;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::Instant;

pub(super) use inflight::{Flight, Stage};
pub(super) use keeper::Keeper;
pub use session::Spilt;
pub(super) use session::{Answer, Bound, Copy, NEVER, Options, QueueLimits, Session};
pub(super) use tree::Subscription;

use super::client::Client;
use super::codec::Will;
use super::ending::Ending;
use super::memory::Memory;
use super::message::Message;
use super::metrics::Metrics;
use crate::domain::{Clock, LinkId, Receipt, Refusal, Settled, Wall};
use crate::door::rights::{Caller, Rights};
use crate::store::{Batch, Store, StoreError};
use retained::Retained;
use session::{Detached, Offered, Remains};
use tree::{Group, Tree, Visit};

/// Memory is taken from the largest session at most so often.
const RELIEF: Duration = Duration::from_millis(10);

/// Most sessions that are kept, and what is retained.
#[derive(Debug, Clone, Copy)]
pub(super) struct HubLimits {
    pub sessions: usize,
    pub sessions_per_user: usize,
    pub retained: usize,
    pub retained_bytes: usize,
}

/// As many sessions are kept as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many sessions are kept as may be")]
pub(super) struct SessionQuota;

/// Users of this beginning are parts of the gateway: nobody else can be named so.
pub(super) const INSIDE: &str = "$bridge/";
/// As much as was kept stays until its owner says how much may.
const UNLIMITED: QueueLimits = QueueLimits { packets: usize::MAX, bytes: usize::MAX };

/// A session for a connection.
#[derive(Debug)]
pub(super) struct Opened {
    pub session: Arc<Session>,
    /// It was there before.
    pub present: bool,
    /// What is to be sent again, first.
    pub resend: VecDeque<Flight>,
    /// The will of a session that had to go.
    pub will: Option<(Caller, Will)>,
    /// To be durable before the client is told.
    pub writes: Batch,
}

/// What is to be written, and what waits for that.
#[derive(Debug, Default)]
struct Change {
    writes: Batch,
    /// Copies that may leave when their records are handed to the store.
    queued: Vec<(Arc<Session>, u64)>,
}

impl Change {
    fn note(&mut self, session: &Arc<Session>, offered: Offered) {
        if let Offered::Recorded(number) = offered {
            self.queued.push((session.clone(), number));
        }
    }
}

#[derive(Debug)]
struct Inner {
    tree: Tree,
    retained: Retained,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    /// The tree and the retained messages, under one lock: a new subscription sees each message once.
    inner: RwLock<Inner>,
    sessions: Mutex<Sessions>,
    subscriptions: AtomicUsize,
    numbers: AtomicU64,
    limits: HubLimits,
    memory: Arc<Memory>,
    /// When memory was last taken from who has most.
    relieved: Mutex<Option<Instant>>,
    /// Held while a connection finds or makes its session.
    opening: Mutex<()>,
    /// Wills of sessions that ended where nobody could publish them.
    wills: Mutex<Vec<(Caller, Will)>>,
    keeper: Keeper,
    rights: Arc<Rights>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Hub {
    pub fn new(
        limits: HubLimits,
        memory: Arc<Memory>,
        keeper: Keeper,
        rights: Arc<Rights>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let retained = Retained::new(limits.retained, limits.retained_bytes);
        let inner = RwLock::new(Inner { tree: Tree::default(), retained });
        let (sessions, subscriptions, numbers) = (Mutex::default(), AtomicUsize::new(0), AtomicU64::new(0));
        let (relieved, opening, wills) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            inner,
            sessions,
            subscriptions,
            numbers,
            limits,
            memory,
            relieved,
            opening,
            wills,
            keeper,
            rights,
            clock,
            metrics,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was kept. Before the doors open.
    pub async fn load(&self, store: &dyn Store, limits: impl Fn(&Caller) -> QueueLimits) -> Result<(), StoreError> {
        let now = self.clock.wall();
        let found = record::load(store, now).await?;
        let (retained, sessions) = (found.retained.len(), found.sessions.len());
        for message in found.retained {
            self.write().retained.keep(&Arc::new(Arc::unwrap_or_clone(message).charged(&self.memory)));
        }
        self.keeper.note(found.orphans);
        for (record, kept) in found.sessions {
            let limits = limits(&record.owner);
            self.restore(record, kept, limits, now);
        }
        if retained + sessions + found.unreadable > 0 {
            tracing::info!(
                retained,
                sessions,
                unreadable = found.unreadable,
                "mqtt sessions and retained messages read"
            );
        }
        Ok(())
    }

    fn restore(&self, record: record::SessionRecord, kept: record::Kept, limits: QueueLimits, now: Wall) {
        let session = self.new_session(record.owner, record.expiry, limits);
        let away = if record.left.0 == 0 || now.0 == 0 { 0 } else { now.0.saturating_sub(record.left.0) };
        {
            let mut inner = self.write();
            for (filter, options) in &kept.filters {
                inner.tree.insert(filter, session.subscription(*options));
            }
            self.count_subscriptions(&inner.tree);
        }
        session.restore(kept, Duration::from_millis(away), &self.memory);
        if session.owner.user.starts_with(INSIDE) {
            session.bound(Bound { limits: UNLIMITED, refuse: false });
        }
        // what is there was within the quota once: it stays
        let unlimited = HubLimits { sessions: usize::MAX, sessions_per_user: usize::MAX, ..self.limits };
        let _ = self.insert(session, unlimited);
    }

    fn new_session(&self, owner: Caller, expiry: u32, limits: QueueLimits) -> Arc<Session> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let key = key(&owner.user, &owner.client);
        Arc::new(Session::new(number, key, owner, expiry, limits))
    }

    /// Finds or makes the session of a connection, and attaches it.
    pub fn open(
        &self,
        owner: Caller,
        clean: bool,
        expiry: u32,
        limits: QueueLimits,
        client: &Arc<Client>,
    ) -> Result<Opened, SessionQuota> {
        self.open_within(self.limits, owner, clean, expiry, limits, client)
    }

    /// The session of a part of the gateway: it is kept for ever, and no quota keeps it out.
    pub fn open_inside(&self, owner: Caller, bound: Bound, client: &Arc<Client>) -> Result<Opened, SessionQuota> {
        let free = HubLimits { sessions: usize::MAX, sessions_per_user: usize::MAX, ..self.limits };
        let opened = self.open_within(free, owner, false, NEVER, bound.limits, client)?;
        opened.session.bound(bound);
        Ok(opened)
    }

    fn open_within(
        &self,
        quota: HubLimits,
        owner: Caller,
        clean: bool,
        expiry: u32,
        limits: QueueLimits,
        client: &Arc<Client>,
    ) -> Result<Opened, SessionQuota> {
        // one after the other: two connections of one name must not both make its session
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut writes, mut will, mut change) = (Batch::new(), None, Change::default());
        let old = self.sessions().by_key.get(&*client.key).cloned();
        // a session of another identity under the same name is nobody's any more; one that ended meanwhile is none
        let (resumed, void) = match old {
            Some(old) if !clean && old.is_kept() && !old.expired(Instant::now()) && old.owner == owner => {
                match old.attach(client, expiry) {
                    Some(resend) => (Some((old, resend)), None),
                    None => (None, Some(old)),
                }
            }
            old => (None, old),
        };
        if let Some(void) = void {
            will = self.discard(&void, "replaced", &mut change).map(|will| (void.owner.clone(), will));
        }
        self.commit(change, Receipt::none());
        let present = resumed.is_some();
        let made = match resumed {
            Some(resumed) => Ok(resumed),
            None => self.insert(self.new_session(owner, expiry, limits), quota).map(|session| {
                // nobody else knows it yet: it is not over
                let resend = session.attach(client, expiry).unwrap_or_default();
                (session, resend)
            }),
        };
        let (session, resend) = match made {
            Ok(made) => made,
            Err(refused) => {
                self.wills().extend(will);
                return Err(refused);
            }
        };
        if expiry > 0 {
            record::put_session(&mut writes, &session.describe(Wall(0)));
        }
        Ok(Opened { session, present, resend, will, writes })
    }

    fn insert(&self, session: Arc<Session>, limits: HubLimits) -> Result<Arc<Session>, SessionQuota> {
        let mut sessions = self.sessions();
        if session.counted {
            let of_user = sessions.kept_by_user.get(&session.owner.user).copied().unwrap_or(0);
            if sessions.kept >= limits.sessions || of_user >= limits.sessions_per_user {
                return Err(SessionQuota);
            }
            sessions.kept += 1;
            *sessions.kept_by_user.entry(session.owner.user.clone()).or_default() += 1;
        }
        sessions.by_key.insert(session.key.clone(), session.clone());
        Ok(session)
    }

    /// A connection is over. Gives the will that is due at once, when there is one.
    pub fn leave(&self, session: &Arc<Session>, link: LinkId, will: Option<Will>) -> Option<Will> {
        let mut change = Change::default();
        let due = match session.detach(link, will) {
            Detached::Ends => self.discard(session, "left", &mut change),
            Detached::Void(will) => will,
            Detached::Stays => {
                if session.is_kept() && !session.is_online() {
                    record::put_session(&mut change.writes, &session.describe(self.clock.wall()));
                }
                None
            }
        };
        self.commit(change, Receipt::none());
        due
    }

    /// Ends a session for good, and the connection that it may have. Gives its will, which is due then.
    fn discard(&self, session: &Arc<Session>, why: &'static str, change: &mut Change) -> Option<Will> {
        {
            let mut sessions = self.sessions();
            let current = sessions.by_key.get(&session.key).is_some_and(|s| s.number == session.number);
            if !current {
                return None;
            }
            sessions.by_key.remove(&session.key);
            sessions.uncount(session);
        }
        let Remains { filters, shared, will, numbers, received, client } = session.end();
        if let Some(client) = client {
            client.end(if why == "overflow" { Ending::TooSlow } else { Ending::Closed("session_over") });
        }
        {
            let mut inner = self.write();
            for filter in &filters {
                inner.tree.remove(filter, session.number);
            }
            self.count_subscriptions(&inner.tree);
        }
        if session.counted {
            self.metrics.session_ended(why);
            record::delete_session(&mut change.writes, &session.owner, &numbers, &received);
        }
        for copy in shared {
            self.pass_on(copy, change);
        }
        will
    }

    /// A message of a shared subscription whose member is gone goes to another one.
    fn pass_on(&self, copy: Copy, change: &mut Change) {
        let Some(filter) = copy.share.clone() else { return };
        let again = Copy { number: None, again: true, ..copy };
        let mut found = self.found(&again.message);
        self.read().tree.visit(&again.message.topic, &mut found);
        if let Some((_, members)) = found.any.into_iter().find(|(f, _)| *f == filter) {
            self.offer_any(members, change);
        }
    }

    /// Ends the sessions of a user; one that has somebody connected ends with its connection.
    pub fn forget_user(&self, user: &str) {
        let sessions: Vec<_> = self.sessions().by_key.values().filter(|s| *s.owner.user == *user).cloned().collect();
        let mut change = Change::default();
        for session in sessions {
            session.set_expiry(0);
            if session.is_online() {
                continue;
            }
            // nobody is left who could have meant the will
            let _ = self.discard(&session, "revoked", &mut change);
        }
        self.commit(change, Receipt::none());
    }

    /// Ends the kept sessions of parts of the gateway that are not wanted any more; their names, and what waited.
    pub fn forget_inside(&self, wanted: impl Fn(&str) -> bool) -> Vec<(Arc<str>, usize)> {
        let sessions: Vec<_> = self.sessions().by_key.values().cloned().collect();
        let gone = sessions.into_iter().filter(|s| s.owner.user.starts_with(INSIDE) && !wanted(&s.owner.client));
        let (mut change, mut names) = (Change::default(), Vec::new());
        for session in gone {
            names.push((session.owner.client.clone(), session.waiting().0));
            let _ = self.discard(&session, "removed", &mut change);
        }
        self.commit(change, Receipt::none());
        names
    }

    /// What is due at `now`: wills, of sessions that live on or not.
    pub fn due(&self, now: Instant) -> Vec<(Caller, Will)> {
        let away: Vec<_> = self.sessions().by_key.values().filter(|s| !s.is_online()).cloned().collect();
        let (mut wills, mut change) = (std::mem::take(&mut *self.wills()), Change::default());
        for session in away {
            let (will, expired) = session.due(now);
            let last = if expired { self.discard(&session, "expired", &mut change) } else { None };
            wills.extend(will.or(last).map(|will| (session.owner.clone(), will)));
        }
        for message in self.write().retained.expire(now) {
            record::delete_retained(&mut change.writes, &message);
        }
        self.commit(change, Receipt::none());
        wills
    }

    /// Adds or replaces; queues what is retained unless `retain_handling` says no. What to write before it is told.
    pub fn subscribe(&self, session: &Arc<Session>, filter: &str, options: Options, retain_handling: u8) {
        let mut inner = self.write();
        // under the lock of the tree: who ends the session removes what it remembers, and after that nothing comes
        let Some(new) = session.remember(filter, options) else { return };
        inner.tree.insert(filter, session.subscription(options));
        self.count_subscriptions(&inner.tree);
        let wanted = retain_handling == 0 || (retain_handling == 1 && new);
        if !wanted || crate::topics::shared(filter).is_some() {
            return;
        }
        let mut change = Change::default();
        let allowed = 2 * inner.retained.all_bytes() + (64 << 10);
        for message in inner.retained.matching(filter) {
            if session.stored_bytes() > allowed {
                // it asks again and again and does not read
                drop(inner);
                self.metrics.dropped("retained_flood");
                let will = self.discard(session, "overflow", &mut change);
                self.wills().extend(will.map(|will| (session.owner.clone(), will)));
                return self.commit(change, Receipt::none());
            }
            if !self.rights.may_receive(&session.owner, &message.topic) {
                continue;
            }
            let copy = Copy {
                qos: message.qos.min(options.qos),
                message,
                retain: true,
                subscriptions: options.id.into_iter().collect(),
                from_store: true,
                share: None,
                number: None,
                again: false,
            };
            let offered = session.offer(copy, &mut change.writes);
            change.note(session, offered);
        }
        drop(inner);
        self.commit(change, Receipt::none());
    }

    /// Removes; false when there was none.
    pub fn unsubscribe(&self, session: &Session, filter: &str) -> bool {
        session.forget(filter);
        let mut inner = self.write();
        let removed = inner.tree.remove(filter, session.number);
        self.count_subscriptions(&inner.tree);
        removed
    }

    fn count_subscriptions(&self, tree: &Tree) {
        self.subscriptions.store(tree.len(), Ordering::Relaxed);
    }

    /// Would anybody but `except` get a message on this topic now.
    pub fn watched(&self, topic: &str, except: Option<u64>) -> bool {
        if self.subscriptions.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut watch = Watch { except, found: false };
        self.read().tree.visit(topic, &mut watch);
        watch.found
    }

    /// Keeps it when it asks for that, and queues a copy for everybody who subscribes to its topic. The receipt is
    /// settled when everything that must survive is durable.
    pub fn dispatch(&self, message: &Arc<Message>, receipt: Receipt) {
        let mut change = Change::default();
        if self.memory.full() {
            self.relieve(&mut change);
        }
        let mut found = self.found(message);
        if message.cost() > self.keeper.largest() && self.would_be_kept(message) {
            self.metrics.dropped("too_large_to_keep");
            return receipt.settle(Settled::Refused(Refusal::Quota));
        }
        if message.retain {
            let mut inner = self.write();
            self.retain(&mut inner, message, &mut change.writes);
            inner.tree.visit(&message.topic, &mut found);
        } else {
            self.read().tree.visit(&message.topic, &mut found);
        }
        let found = found.merged();
        let mut refused = false;
        for (session, copy) in found.one {
            refused |= self.offer(&session, copy, &mut change) == Offered::Refused;
        }
        for (_, members) in found.any {
            self.offer_any(members, &mut change);
        }
        if refused {
            // the others have it; its publisher is to send it again
            self.commit(change, Receipt::none());
            return receipt.settle(Settled::Refused(Refusal::Storage));
        }
        self.commit(change, receipt);
    }

    /// A message that no record can hold: is there anything that would need one.
    fn would_be_kept(&self, message: &Arc<Message>) -> bool {
        if message.retain && !message.own && !message.payload.is_empty() {
            return true;
        }
        let mut found = self.found(message);
        self.read().tree.visit(&message.topic, &mut found);
        let members = found.any.iter().flat_map(|(_, members)| members);
        found.one.iter().chain(members).any(|(session, copy)| copy.qos > 0 && session.is_kept())
    }

    /// Hands a change to the store, lets go what waited for that, and tells the receipt. What has vanished meanwhile
    /// leaves no record behind.
    fn commit(&self, change: Change, receipt: Receipt) {
        let Change { writes, queued } = change;
        let commit = self.keeper.hand_in(writes);
        let mut orphans = Batch::new();
        for (session, number) in queued {
            if !session.release(number) {
                record::delete_message(&mut orphans, &session.owner, number);
            }
        }
        self.keeper.note(orphans);
        self.keeper.settle(commit, receipt);
    }

    fn wills(&self) -> MutexGuard<'_, Vec<(Caller, Will)>> {
        self.wills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, message: &Arc<Message>) -> Found<'_> {
        Found { message: message.clone(), rights: &self.rights, one: Vec::new(), any: Vec::new() }
    }

    /// Keeps a message without telling anybody: what a lost bus must not lose.
    pub fn keep(&self, message: &Arc<Message>) {
        let mut writes = Batch::new();
        self.retain(&mut self.write(), message, &mut writes);
        self.keeper.note(writes);
    }

    fn retain(&self, inner: &mut Inner, message: &Arc<Message>, writes: &mut Batch) {
        if !inner.retained.keep(message) {
            self.metrics.dropped("retained_quota");
        } else if !message.own {
            record::put_retained(writes, message);
        }
    }

    fn offer(&self, session: &Arc<Session>, copy: Copy, change: &mut Change) -> Offered {
        let offered = session.offer(copy, &mut change.writes);
        change.note(session, offered);
        if offered == Offered::Overflow {
            // with or without a connection: the client finds no session when it comes back, better than one with a gap
            let (user, client_id) = (&session.owner.user, &session.owner.client);
            tracing::warn!(%user, %client_id, "session outgrew its limit, it is dropped");
            let will = self.discard(session, "overflow", change);
            self.wills().extend(will.map(|will| (session.owner.clone(), will)));
        }
        offered
    }

    /// Makes room without a message that would.
    pub fn relieve_now(&self) {
        let mut change = Change::default();
        self.relieve(&mut change);
        self.commit(change, Receipt::none());
    }

    /// The memory for clients' messages is used up: who has most waiting loses his session, and his connection with it.
    fn relieve(&self, change: &mut Change) {
        let now = Instant::now();
        {
            let mut relieved = self.relieved.lock().unwrap_or_else(PoisonError::into_inner);
            if relieved.is_some_and(|at| now - at < RELIEF) {
                return; // looking at everybody for every message would be a load of its own
            }
            *relieved = Some(now);
        }
        let mut sessions: Vec<_> = self.sessions().by_key.values().cloned().collect();
        // a part of the gateway has a bound of its own, and what waits for it was promised
        sessions.retain(|session| !session.owner.user.starts_with(INSIDE));
        let Some((bytes, largest)) = sessions.into_iter().map(|s| (s.held(), s)).max_by_key(|(bytes, _)| *bytes) else {
            return;
        };
        if bytes == 0 {
            return;
        }
        self.metrics.dropped("memory");
        let (user, client_id) = (&largest.owner.user, &largest.owner.client);
        tracing::warn!(%user, %client_id, bytes, "memory for messages is used up, the largest session is dropped");
        let will = self.discard(&largest, "overflow", change);
        self.wills().extend(will.map(|will| (largest.owner.clone(), will)));
    }

    fn offer_any(&self, members: Vec<(Arc<Session>, Copy)>, change: &mut Change) {
        for (session, copy) in members {
            let offered = session.offer(copy, &mut change.writes);
            change.note(&session, offered);
            if matches!(offered, Offered::Taken | Offered::Recorded(_)) {
                return;
            }
        }
        self.metrics.dropped("shared");
    }

    /// Counts for metrics and `$SYS`.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures { subscriptions: self.subscriptions.load(Ordering::Relaxed), ..Figures::default() };
        let sessions: Vec<_> = self.sessions().by_key.values().cloned().collect();
        figures.kept = self.sessions().kept;
        figures.memory = self.memory.used();
        for session in &sessions {
            let (messages, bytes) = session.waiting();
            figures.waiting += messages;
            figures.waiting_bytes += bytes;
            figures.away += usize::from(!session.is_online());
            figures.shared += session.shared();
        }
        (figures.retained, figures.retained_bytes) = self.read().retained.size();
        figures
    }

    /// A session is kept, and nobody is connected to it.
    #[cfg(test)]
    pub fn is_away(&self, client_id: &str) -> bool {
        self.sessions().by_key.values().any(|s| *s.owner.client == *client_id && !s.is_online())
    }

    /// Looks at everybody's rights again: subscriptions that are not allowed any more go. Says how many.
    pub fn recheck(&self) -> usize {
        let sessions: Vec<_> = self.sessions().by_key.values().cloned().collect();
        let (mut gone, mut writes) = (0, Batch::new());
        for session in sessions {
            let before = gone;
            for (filter, _) in session.filters() {
                if !self.rights.may_subscribe(&session.owner, &filter) {
                    gone += usize::from(self.unsubscribe(&session, &filter));
                }
            }
            if gone > before {
                writes.extend(session.record());
            }
        }
        self.keeper.note(writes);
        gone
    }
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub subscriptions: usize,
    pub shared: usize,
    pub kept: usize,
    pub away: usize,
    pub waiting: usize,
    pub waiting_bytes: usize,
    pub retained: usize,
    pub retained_bytes: usize,
    /// Bytes of the budget that are taken.
    pub memory: usize,
}

/// What a takeover and a session are found by.
pub(super) fn key(user: &str, client_id: &str) -> Arc<str> {
    // a client id counts within its user: nobody throws another user off
    Arc::from(format!("{user}\0{client_id}"))
}

#[derive(Debug, Default)]
struct Sessions {
    by_key: HashMap<Arc<str>, Arc<Session>>,
    kept: usize,
    kept_by_user: HashMap<Arc<str>, usize>,
}

impl Sessions {
    fn uncount(&mut self, session: &Session) {
        if !session.counted {
            return;
        }
        self.kept = self.kept.saturating_sub(1);
        let user = &session.owner.user;
        if let Some(n) = self.kept_by_user.get_mut(user) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.kept_by_user.remove(user);
            }
        }
    }
}

struct Watch {
    except: Option<u64>,
    found: bool,
}

impl<'t> Visit<'t> for Watch {
    fn subscription(&mut self, subscription: &'t Subscription) {
        let session = &subscription.session;
        self.found |= Some(session.number) != self.except && session.is_online();
    }

    fn group(&mut self, group: &'t Group) {
        self.found |= group.has_another(self.except);
    }
}

/// A copy, and whom it is for.
type Offer = (Arc<Session>, Copy);

/// One copy a session, whatever the number of its matching filters: the highest QoS and all identifiers; and for
/// each shared subscription its members in their turn.
struct Found<'a> {
    message: Arc<Message>,
    rights: &'a Rights,
    one: Vec<Offer>,
    any: Vec<(Arc<str>, Vec<Offer>)>,
}

impl Found<'_> {
    /// Makes one of the copies that a session gets by several filters.
    fn merged(mut self) -> Self {
        self.one.sort_by_key(|(session, _)| session.number);
        self.one.dedup_by(|(later, copy), (session, first)| {
            let same = later.number == session.number;
            if same {
                first.qos = first.qos.max(copy.qos);
                first.retain |= copy.retain;
                first.subscriptions.append(&mut copy.subscriptions);
            }
            same
        });
        self
    }

    fn copy(&self, options: &Options, share: Option<Arc<str>>) -> Copy {
        Copy {
            message: self.message.clone(),
            qos: self.message.qos.min(options.qos),
            retain: options.retain_as_published && self.message.retain,
            subscriptions: options.id.into_iter().collect(),
            from_store: false,
            share,
            number: None,
            again: false,
        }
    }
}

impl<'t> Visit<'t> for Found<'_> {
    fn subscription(&mut self, subscription: &'t Subscription) {
        let Subscription { session, options } = subscription;
        let number = Some(session.number);
        let own = self.message.direct == number || (options.no_local && self.message.from == number);
        if own || !self.rights.may_receive(&session.owner, &self.message.topic) {
            return;
        }
        let copy = self.copy(options, None);
        self.one.push((session.clone(), copy));
    }

    fn group(&mut self, group: &'t Group) {
        let members = group.in_turn().into_iter();
        let members = members.filter(|s| self.message.direct != Some(s.session.number));
        let members = members.filter(|s| self.rights.may_receive(&s.session.owner, &self.message.topic));
        let share = group.filter.clone();
        let members: Vec<_> =
            members.map(|s| (s.session.clone(), self.copy(&s.options, Some(share.clone())))).collect();
        if !members.is_empty() {
            self.any.push((share, members));
        }
    }
}

#[cfg(test)]
mod tests;
