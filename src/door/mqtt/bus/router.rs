//! One Router of rumqttd and its two threads: tokens go in, tokens come out.
//!
//! The Router's links block, so they live on threads of their own; only a token that finds nothing before it is handed
//! over by who brings it, which saves waking a thread. It must not know what a token stands for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures::FutureExt;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet, Publish};
use rumqttd::{Notification, Router, RouterConfig};

use super::credit::Token;

/// The one topic on the bus: constant and ASCII.
const TOPIC: &str = "m";

/// Most tokens handed over with one event.
const BATCH: usize = 64;

/// What the ingress thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Carry a token across.
    Carry(Token),
    /// End both links and threads.
    Stop,
    /// Make the Router's thread panic, as it does on its own faults.
    #[cfg(test)]
    Sabotage,
}

/// A running Router.
#[derive(Debug)]
pub(super) struct Crossing {
    orders: Sender<Order>,
    entrance: Arc<Entrance>,
}

/// The link into the Router, once it is there, and how many tokens wait before it.
#[derive(Default)]
struct Entrance {
    link: Mutex<Option<LinkTx>>,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

type Arrived = Box<dyn Fn(&[u8]) + Send>;
type Failed = Box<dyn Fn() + Send + Sync>;

impl Crossing {
    /// Starts a Router and its links on new threads; `arrived` gets each payload, `failed` is called when it is over.
    /// `room` is more than can ever wait: the caller's credit is smaller.
    pub fn start(number: u64, room: usize, arrived: Arrived, failed: Failed) -> Self {
        let (orders, waiting) = bounded(room);
        let failed: Arc<Failed> = Arc::new(failed);
        let entrance = Arc::new(Entrance::default());
        let run = {
            let (failed, entrance) = (failed.clone(), entrance.clone());
            move || {
                if let Err(error) = ingress(number, &waiting, &entrance, arrived, failed.clone()) {
                    tracing::warn!(%error, "bus ingress ended");
                    failed();
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name(format!("bus-in-{number}")).spawn(run) {
            tracing::error!(%error, "no thread for the bus");
            failed();
        }
        Self { orders, entrance }
    }

    /// Sends a token on its way. Credit keeps this from ever being full; a dead crossing is replaced by its supervisor.
    /// The caller sees to it that one token is carried at a time, which keeps them in order.
    pub fn carry(&self, token: Token) {
        self.entrance.waiting.fetch_add(1, Ordering::AcqRel);
        if self.orders.try_send(Order::Carry(token)).is_err() {
            self.entrance.waiting.fetch_sub(1, Ordering::AcqRel);
            tracing::debug!("bus crossing takes no orders");
        }
    }

    /// The same where next to nothing is under way: the token is handed over at once, if it is the first in its line.
    pub fn carry_alone(&self, token: Token) {
        if self.entrance.waiting.load(Ordering::Acquire) > 0 || !self.entrance.try_hand_over(token) {
            self.carry(token);
        }
    }

    pub fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::debug!("bus crossing takes no orders");
        }
    }
}

impl Entrance {
    /// False: nothing was done with the token.
    fn try_hand_over(&self, token: Token) -> bool {
        let mut link = match self.link.try_lock() {
            Ok(link) => link,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let Some(link) = &mut *link else { return false };
        if link.try_publish(TOPIC, token.to_bytes()).is_err() {
            // it is in the link's buffer all the same, and the Router takes it with the next event, a canary's at the latest
            tracing::debug!("the bus's router takes no events");
        }
        true
    }

    fn with(&self, act: impl FnOnce(&mut LinkTx) -> Result<(), Box<LinkError>>) -> Result<(), Box<LinkError>> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_mut().map_or(Ok(()), act)
    }
}

fn config() -> RouterConfig {
    // An entry counts 21 bytes: three full segments hold 9,362 of them, more than twice the largest credit allowed.
    RouterConfig {
        max_connections: 4,
        max_outgoing_packet_count: 200,
        max_segment_size: 64 << 10,
        max_segment_count: 4,
        ..RouterConfig::default()
    }
}

fn ingress(
    number: u64,
    orders: &Receiver<Order>,
    entrance: &Entrance,
    arrived: Arrived,
    failed: Arc<Failed>,
) -> Result<(), Box<LinkError>> {
    let router = Router::new(usize::try_from(number).unwrap_or(0), config()).spawn();
    let (mut out_tx, out_rx, _) = LinkBuilder::new("out", router.clone()).build()?;
    out_tx.subscribe(TOPIC)?;
    let (in_tx, _in_rx, _) = LinkBuilder::new("in", router).build()?;
    let egress = std::thread::Builder::new().name(format!("bus-out-{number}")).spawn(move || {
        let error = egress(out_rx, &arrived);
        tracing::debug!(%error, "bus egress ended");
        failed();
    });
    if let Err(error) = egress {
        return Err(Box::new(LinkError::ConnectionAck(format!("no thread for the egress: {error}"))));
    }
    *entrance.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(in_tx);
    let served = serve(orders, entrance, out_tx);
    if let Some(mut in_tx) = entrance.link.lock().unwrap_or_else(PoisonError::into_inner).take() {
        leave(&mut in_tx);
    }
    served
}

/// Does what is ordered until the end is; then the link out of the Router says goodbye.
fn serve(orders: &Receiver<Order>, entrance: &Entrance, mut out_tx: LinkTx) -> Result<(), Box<LinkError>> {
    while let Ok(order) = orders.recv() {
        let mut next = Some(order);
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(Order::Carry(token)) = next {
            batch.push(token.to_bytes());
            next = if batch.len() < BATCH { orders.try_recv().ok() } else { None };
        }
        let carried = batch.len();
        entrance.with(|link| hand_over(link, batch))?;
        // only now may a token go past the queue
        entrance.waiting.fetch_sub(carried, Ordering::AcqRel);
        match next {
            None | Some(Order::Carry(_)) => {}
            Some(Order::Stop) => break,
            #[cfg(test)]
            Some(Order::Sabotage) => {
                leave(&mut out_tx);
                // the Router looks its slab up with the id of a link that is gone
                let _ = out_tx.shadow(TOPIC);
            }
        }
    }
    leave(&mut out_tx);
    Ok(())
}

/// One event for the whole batch: all but the last go through the buffer.
fn hand_over(link: &mut LinkTx, mut batch: Vec<bytes::Bytes>) -> Result<(), Box<LinkError>> {
    let Some(last) = batch.pop() else { return Ok(()) };
    if !batch.is_empty() {
        let topic = || bytes::Bytes::from_static(TOPIC.as_bytes());
        link.buffer().extend(batch.into_iter().map(|t| Packet::Publish(Publish::new(topic(), t, false), None)));
    }
    link.publish(TOPIC, last)?;
    Ok(())
}

/// A link must say goodbye, or the Router keeps its slot. The send blocks inside, it is ready at once.
fn leave(link: &mut LinkTx) {
    let goodbye = Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None);
    let _ = link.send(goodbye).now_or_never();
}

fn egress(mut link: LinkRx, arrived: &Arrived) -> LinkError {
    loop {
        match link.recv() {
            Ok(Some(Notification::Forward(forward))) => arrived(&forward.publish.payload),
            Ok(Some(Notification::Unschedule)) => {
                if let Err(error) = link.ready() {
                    return error;
                }
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
