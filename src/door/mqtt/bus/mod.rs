//! The bus inside the door: rumqttd's Router, flow-controlled, between those who publish and those who watch.
//!
//! Nothing that a client sends reaches the Router: each message crosses it as a 16-byte token on one constant
//! topic, and is looked up in our own slab when the token comes back. Credit (slots and bytes) bounds what is
//! under way; a Router that panics or stands still is replaced in place. No conversation needs the bus.

mod credit;
mod router;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::{Hub, HubLimits, Keeper};
use super::memory::Memory;
use super::message::Message;
use super::metrics::Metrics;
use super::settings::{BusSettings, Limits};
use crate::domain::{Bulletins, Clock, Event, EventKind, QoS, Receipt, Refusal, Settled};
use crate::door::rights::Rights;
use crate::store::{Store, StoreError};
use crate::topics::Table;
use credit::{Class, Slab, Token};
use router::{Crossing, Order};

/// Up to so many messages under way, each goes across by itself.
const ALONE: usize = 4;

/// A topic that nobody subscribes to.
const FLUSH: &str = "$flush";

/// The bus. Share it as an `Arc`.
#[derive(Debug)]
pub struct Bus {
    settings: BusSettings,
    table: Arc<Table>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    hub: Hub,
    memory: Arc<Memory>,
    keeper: Keeper,
    state: Mutex<State>,
    /// Signalled when credit comes back, and when the bus goes off.
    credit: Notify,
    off: AtomicBool,
    /// Copies dropped since the last gap event.
    gap: AtomicU64,
    /// The highest canary that came back.
    canary_back: AtomicU64,
    failures: mpsc::Sender<u64>,
    /// Tests make the egress deaf with it.
    #[cfg(test)]
    deaf: AtomicBool,
}

/// What the bus works with.
#[expect(missing_debug_implementations, reason = "the store behind the trait has none")]
pub struct BusParts {
    /// Where sessions, queues and retained messages are kept.
    pub store: Arc<dyn Store>,
    /// Who may receive what.
    pub rights: Arc<Rights>,
    /// The names of the gateway's own topics.
    pub table: Arc<Table>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub metrics: Metrics,
}

#[derive(Debug)]
struct State {
    slab: Slab,
    crossing: Option<Crossing>,
}

impl Bus {
    /// Starts the Router, its two links and the supervisor (on `tracker`, until `cancel`).
    pub fn start(
        settings: BusSettings,
        limits: &Limits,
        parts: BusParts,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let BusParts { store, rights, table, clock, metrics } = parts;
        let (failures, failed) = mpsc::channel(8);
        let (keeper, keeping) = Keeper::new(store, metrics.clone());
        let quotas = HubLimits {
            sessions: limits.sessions,
            sessions_per_user: limits.sessions_per_user,
            retained: settings.retained,
            retained_bytes: settings.retained_bytes.len(),
        };
        let memory = Memory::new(limits.memory.len());
        let hub = Hub::new(quotas, memory.clone(), keeper.clone(), rights, clock.clone(), metrics.clone());
        let slab = Slab::new(settings.slots, settings.bytes.len());
        let bus = Arc::new(Self {
            settings,
            table,
            clock,
            metrics,
            hub,
            memory,
            keeper,
            state: Mutex::new(State { slab, crossing: None }),
            credit: Notify::new(),
            off: AtomicBool::new(false),
            gap: AtomicU64::new(0),
            canary_back: AtomicU64::new(0),
            failures,
            #[cfg(test)]
            deaf: AtomicBool::new(false),
        });
        bus.cross(1);
        let supervising = bus.clone().supervise(failed, cancel);
        tracker.spawn(async move {
            tokio::select! {
                () = keeping => {}
                () = supervising => {}
            }
        });
        bus
    }

    /// The bus does not work now: readiness says degraded.
    pub fn degraded(&self) -> bool {
        self.metrics.bus_degraded.get() != 0
    }

    /// A copy of what a device said or heard, for watchers: dropped and counted when credit is short, never waits.
    pub(super) fn copy(&self, message: Message) {
        if self.memory.full() || self.admit(self.charged(message), Receipt::none(), Class::Copy).is_err() {
            self.metrics.dropped("bus_copy");
            self.gap.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same without waiting; gives both back when there is no credit.
    pub(super) fn try_carry(&self, message: Message, receipt: Receipt) -> Result<(), Box<(Message, Receipt)>> {
        self.admit(self.charged(message), receipt, Class::Publish).map_err(|(message, receipt)| {
            // nobody else has it yet
            Box::new((Arc::unwrap_or_clone(message), receipt))
        })
    }

    /// A client's own publish: waits for credit, which stops that client and nobody else. The receipt is settled
    /// when everybody who subscribes has it in his queue, and what must survive is durable.
    pub(super) async fn carry(&self, message: Message, mut receipt: Receipt) {
        let mut message = self.charged(message);
        loop {
            let mut credit = std::pin::pin!(self.credit.notified());
            credit.as_mut().enable();
            if self.off.load(Ordering::Acquire) {
                // nobody has it: a publisher of 3.1.1 must not be told that somebody does
                return receipt.settle(Settled::Refused(Refusal::Storage));
            }
            match self.admit(message, receipt, Class::Publish) {
                Ok(()) => return,
                Err(back) => (message, receipt) = back,
            }
            credit.await;
        }
    }

    /// Resolves when all that was published before has reached the queues of those who subscribe.
    pub async fn flushed(&self) {
        let (receipt, reached) = Receipt::new();
        self.carry(Message::new(FLUSH, Bytes::new(), 0, false), receipt).await;
        // a bus that is off has nothing under way
        let _ = reached.await;
    }

    fn charged(&self, message: Message) -> Arc<Message> {
        Arc::new(message.charged(&self.memory))
    }

    /// The memory that clients' messages may take.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Reads the sessions and retained messages that were kept. Before the doors open.
    pub async fn load(&self, store: &dyn Store, limits: &Limits) -> Result<(), StoreError> {
        self.hub.load(store, |owner| limits.queue(&owner.who)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, message: Arc<Message>, receipt: Receipt, class: Class) -> Result<(), (Arc<Message>, Receipt)> {
        if self.off.load(Ordering::Acquire) {
            return Err((message, receipt));
        }
        let mut state = self.state();
        let token = state.slab.admit(message, receipt, class)?;
        if let Some(crossing) = &state.crossing {
            // a batch costs less than its messages do alone: when more are under way, the next waits for company
            if state.slab.live() <= ALONE { crossing.carry_alone(token) } else { crossing.carry(token) }
        }
        self.gauge(&state.slab);
        Ok(())
    }

    fn gauge(&self, slab: &Slab) {
        self.metrics.bus_live.set(i64::try_from(slab.live()).unwrap_or(i64::MAX));
        self.metrics.bus_bytes.set(i64::try_from(slab.bytes()).unwrap_or(i64::MAX));
    }

    /// What the egress thread calls with each payload that came across.
    fn arrived(&self, payload: &[u8]) {
        #[cfg(test)]
        if self.deaf.load(Ordering::Acquire) {
            return;
        }
        let Some(token) = Token::parse(payload) else {
            self.metrics.dropped("bus_token");
            return;
        };
        if let Some(number) = token.canary() {
            self.canary_back.fetch_max(number, Ordering::AcqRel);
            return;
        }
        let taken = {
            let mut state = self.state();
            let taken = state.slab.take(token);
            self.gauge(&state.slab);
            taken
        };
        self.credit.notify_waiters();
        match taken {
            Some((message, receipt)) => self.hub.dispatch(&message, receipt),
            None => self.metrics.dropped("bus_token"),
        }
    }

    /// Puts a new Router in place, and sends again what is still under way, in its order.
    fn cross(self: &Arc<Self>, number: u64) {
        let (bus, failures) = (self.clone(), self.failures.clone());
        let arrived = Box::new(move |payload: &[u8]| bus.arrived(payload));
        // `failures` is bounded and read by the supervisor only; more than one failure of a crossing says nothing new
        let failed = Box::new(move || {
            let _ = failures.try_send(number);
        });
        let crossing = Crossing::start(number, self.settings.slots + 64, arrived, failed);
        let mut state = self.state();
        for token in state.slab.live_in_order() {
            crossing.carry(token);
        }
        if let Some(old) = state.crossing.replace(crossing) {
            old.order(Order::Stop);
        }
    }

    async fn supervise(self: Arc<Self>, mut failed: mpsc::Receiver<u64>, cancel: CancellationToken) {
        let mut number = 1;
        let mut restarts: VecDeque<Instant> = VecDeque::new();
        let mut canary = Canary { sent: 0, waiting_since: None, behind: 0 };
        let mut tick = tokio::time::interval(self.settings.canary.0.max(Duration::from_millis(10)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let lost = tokio::select! {
                () = cancel.cancelled() => break,
                Some(which) = failed.recv() => (which == number).then_some("its thread ended"),
                _ = tick.tick() => self.check(&mut canary),
            };
            let Some(why) = lost else { continue };
            let now = Instant::now();
            restarts.retain(|at| now - *at < self.settings.restart_window.0);
            self.metrics.bus_degraded.set(1);
            if restarts.len() >= self.settings.restarts {
                tracing::error!(restarts = restarts.len(), "bus given up until the gateway restarts");
                break;
            }
            restarts.push_back(now);
            self.metrics.bus_restarts.inc();
            tracing::warn!(why, restart = number, "bus restarted in place");
            number += 1;
            canary.waiting_since = None;
            self.cross(number);
        }
        self.off.store(true, Ordering::Release);
        if let Some(crossing) = self.state().crossing.take() {
            crossing.order(Order::Stop);
        }
        self.credit.notify_waiters();
    }

    /// Sends the canary when the last one is back; says what is wrong when it is overdue.
    fn check(&self, canary: &mut Canary) -> Option<&'static str> {
        let now = Instant::now();
        if self.canary_back.load(Ordering::Acquire) >= canary.sent {
            if canary.waiting_since.take().is_some() {
                // what went before the canary must be back before it
                if self.state().slab.oldest().is_some_and(|oldest| oldest <= canary.behind) {
                    return Some("a message did not come back");
                }
                self.metrics.bus_degraded.set(0);
            }
            self.tell_gap();
        } else if canary.waiting_since.is_some_and(|since| now - since >= self.settings.canary_deadline.0) {
            return Some("its canary did not come back");
        }
        if canary.waiting_since.is_none() {
            canary.sent += 1;
            canary.waiting_since = Some(now);
            let state = self.state();
            canary.behind = state.slab.newest();
            if let Some(crossing) = &state.crossing {
                crossing.carry(Token::of_canary(canary.sent));
            }
        }
        None
    }

    fn tell_gap(&self) {
        let dropped = self.gap.swap(0, Ordering::AcqRel);
        if dropped > 0 {
            let detail = json!({ "dropped": dropped });
            self.event(Event { device: None, at: self.clock.wall(), kind: EventKind::Gap, detail });
        }
    }
}

#[derive(Debug)]
struct Canary {
    sent: u64,
    waiting_since: Option<Instant>,
    /// The last message that went before it.
    behind: u64,
}

impl Bulletins for Bus {
    fn event(&self, event: Event) {
        let topic = self.table.event_topic(event.device.as_ref(), event.kind);
        let mut detail = event.detail;
        if let Value::Object(fields) = &mut detail {
            fields.entry("at").or_insert_with(|| json!(event.at.0));
        }
        self.publish(&topic, Bytes::from(detail.to_string()), QoS::AtMostOnce, false);
    }

    fn publish(&self, topic: &str, payload: Bytes, qos: QoS, retain: bool) {
        if !retain && !self.watched(topic) {
            return;
        }
        let message = Message { own: true, ..Message::new(topic, payload, qos as u8, retain) };
        if let Err((message, _)) = self.admit(self.charged(message), Receipt::none(), Class::Own) {
            self.metrics.dropped("bus_own");
            // what is retained must be right even when nobody can be told now
            if retain {
                self.hub.keep(&message);
            }
        }
    }

    fn watched(&self, topic: &str) -> bool {
        self.hub.watched(topic, None)
    }
}

/// What tests do to a bus.
#[cfg(test)]
impl Bus {
    /// Makes the Router's thread panic, as it does on its own faults.
    pub(crate) fn sabotage(&self) {
        if let Some(crossing) = &self.state().crossing {
            crossing.order(Order::Sabotage);
        }
    }

    /// What comes across is not read any more, or is again.
    pub(crate) fn deafen(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Release);
    }

    /// How often it was restarted, and how many copies were dropped.
    pub(crate) fn trouble(&self) -> (u64, u64) {
        (self.metrics.bus_restarts.get(), self.metrics.drops("bus_copy"))
    }
}

#[cfg(test)]
mod tests;
