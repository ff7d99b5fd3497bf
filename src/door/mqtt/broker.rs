//! What the door asks of the broker behind it: sessions, subscriptions, messages, and what must be durable before a
//! client is told.
//!
//! The [`Bus`] with its hub is the one there is. Connections, the gate and places inside know this trait only, so that
//! another way of carrying messages is another implementation.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::bus::Bus;
use super::client::Client;
use super::codec::Will;
use super::hub::{Bound, Figures, Opened, Options, QueueLimits, Session, SessionQuota};
use super::memory::Memory;
use super::message::Message;
use crate::domain::{Bulletins, LinkId, Receipt};
use crate::door::rights::Caller;
use crate::store::Batch;

/// Whose session, and how it shall be.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub owner: Caller,
    /// A new one, whatever was there.
    pub clean: bool,
    /// Seconds that it outlives the connection.
    pub expiry: u32,
    /// What may wait for it.
    pub queue: QueueLimits,
}

/// See the module. What is called `Bulletins` is how the gateway itself publishes.
pub(super) trait Broker: Bulletins + fmt::Debug {
    /// Finds or makes the session of a connection, and attaches it.
    fn open(&self, visit: Visit, client: &Arc<Client>) -> Result<Opened, SessionQuota>;

    /// The session of a part of the gateway: it is kept for ever, and no quota keeps it out.
    fn open_inside(&self, owner: Caller, bound: Bound, client: &Arc<Client>) -> Result<Opened, SessionQuota>;

    /// A connection is over; its will, when it is due at once.
    fn leave(&self, session: &Arc<Session>, link: LinkId, will: Option<Will>) -> Option<Will>;

    /// Ends the sessions of a user; one that has somebody connected ends with its connection.
    fn forget_user(&self, user: &str);

    /// Ends the sessions of parts of the gateway that are not wanted any more; their names, and what waited.
    fn forget_inside(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, usize)>;

    /// Adds or replaces a subscription; queues what is retained unless `retain_handling` says no.
    fn subscribe(&self, session: &Arc<Session>, filter: &str, options: Options, retain_handling: u8);

    /// Removes a subscription; false when there was none.
    fn unsubscribe(&self, session: &Session, filter: &str) -> bool;

    /// Would anybody but `except` get a message on this topic now.
    fn watched_by_others(&self, topic: &str, except: u64) -> bool;

    /// A copy of what a device said or heard: dropped and counted when there is no room, never waits.
    fn copy(&self, message: Message);

    /// A client's own publish, without waiting; gives both back when there is no room.
    fn try_carry(&self, message: Message, receipt: Receipt) -> Result<(), Box<(Message, Receipt)>>;

    /// The same, waiting for room. The receipt is settled when everybody who subscribes has it in his queue, and what
    /// must survive is durable.
    fn carry(self: Arc<Self>, message: Message, receipt: Receipt) -> BoxFuture<'static, ()>;

    /// A figure of the broker's own: at once, and to whoever subscribes now.
    fn tell(&self, message: Message);

    /// Writes what must be durable before a client is told; false when the store cannot take it.
    fn write(&self, writes: Batch) -> BoxFuture<'static, bool>;

    /// Writes what nobody waits for.
    fn note(&self, writes: Batch);

    /// The memory that clients' messages may take.
    fn memory(&self) -> &Arc<Memory>;

    /// That memory is used up: the session that holds most goes.
    fn relieve(&self);

    /// What is due at `now`: wills, of sessions that live on or not. Forgets what is expired.
    fn due(&self, now: Instant) -> Vec<(Caller, Will)>;

    /// Rights have changed: subscriptions that are not allowed any more go. Says how many.
    fn recheck(&self) -> usize;

    /// Counts for metrics and `$SYS`.
    fn figures(&self) -> Figures;
}

impl Broker for Bus {
    fn open(&self, visit: Visit, client: &Arc<Client>) -> Result<Opened, SessionQuota> {
        let Visit { owner, clean, expiry, queue } = visit;
        self.hub().open(owner, clean, expiry, queue, client)
    }

    fn open_inside(&self, owner: Caller, bound: Bound, client: &Arc<Client>) -> Result<Opened, SessionQuota> {
        self.hub().open_inside(owner, bound, client)
    }

    fn leave(&self, session: &Arc<Session>, link: LinkId, will: Option<Will>) -> Option<Will> {
        self.hub().leave(session, link, will)
    }

    fn forget_user(&self, user: &str) {
        self.hub().forget_user(user);
    }

    fn forget_inside(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, usize)> {
        self.hub().forget_inside(wanted)
    }

    fn subscribe(&self, session: &Arc<Session>, filter: &str, options: Options, retain_handling: u8) {
        self.hub().subscribe(session, filter, options, retain_handling);
    }

    fn unsubscribe(&self, session: &Session, filter: &str) -> bool {
        self.hub().unsubscribe(session, filter)
    }

    fn watched_by_others(&self, topic: &str, except: u64) -> bool {
        self.hub().watched(topic, Some(except))
    }

    fn copy(&self, message: Message) {
        Bus::copy(self, message);
    }

    fn try_carry(&self, message: Message, receipt: Receipt) -> Result<(), Box<(Message, Receipt)>> {
        Bus::try_carry(self, message, receipt)
    }

    fn carry(self: Arc<Self>, message: Message, receipt: Receipt) -> BoxFuture<'static, ()> {
        async move { Bus::carry(&self, message, receipt).await }.boxed()
    }

    fn tell(&self, message: Message) {
        self.hub().dispatch(&Arc::new(message), Receipt::none());
    }

    fn write(&self, writes: Batch) -> BoxFuture<'static, bool> {
        let keeper = self.keeper().clone();
        async move { keeper.write(writes).await }.boxed()
    }

    fn note(&self, writes: Batch) {
        self.keeper().note(writes);
    }

    fn memory(&self) -> &Arc<Memory> {
        Bus::memory(self)
    }

    fn relieve(&self) {
        self.hub().relieve_now();
    }

    fn due(&self, now: Instant) -> Vec<(Caller, Will)> {
        self.hub().due(now)
    }

    fn recheck(&self) -> usize {
        self.hub().recheck()
    }

    fn figures(&self) -> Figures {
        self.hub().figures()
    }
}
