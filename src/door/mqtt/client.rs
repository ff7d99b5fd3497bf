//! What the rest of the gateway sees of a connection: its bounded queue, its end, its [`Link`].
//!
//! Nothing here waits and nothing here touches the socket: the connection's own task takes from the queue.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::message::Message;
use super::metrics::Metrics;
use crate::domain::{Link, LinkId, LinkPacket, PacketKind, SendError};
use crate::topics::Who;

/// Something to write to the connection.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// For the device itself.
    Downlink {
        /// The packet.
        packet: LinkPacket,
        /// When it was queued.
        at: Instant,
    },
    /// A copy from the bus.
    Copy(Copy),
}

/// A bus message for one subscriber.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub message: Arc<Message>,
    pub qos: u8,
    pub retain: bool,
    pub subscriptions: Vec<u32>,
    /// Retained, brought by a SUBSCRIBE: it does not count against the queue.
    pub from_store: bool,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub packets: usize,
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Outgoing>,
    /// Live copies and downlinks, without the retained messages that a SUBSCRIBE brought.
    live: usize,
    bytes: usize,
    /// Counts `clear_audio` calls: a frame that is encoded but not begun knows that it is void.
    audio_epoch: u64,
    ending: Option<Ending>,
    gone: bool,
}

/// One admitted connection.
pub(super) struct Client {
    pub link: LinkId,
    pub who: Who,
    /// User name and client id: what a takeover compares.
    pub key: Arc<str>,
    pub peer: SocketAddr,
    /// Cancelled when the connection has left the registry.
    pub left: CancellationToken,
    limits: QueueLimits,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    metrics: Metrics,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("link", &self.link)
            .field("who", &self.who)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub fn new(link: LinkId, who: Who, key: Arc<str>, peer: SocketAddr, limits: QueueLimits, metrics: Metrics) -> Self {
        let (queue, waker, left) = (Mutex::default(), AtomicWaker::new(), CancellationToken::new());
        Self { link, who, key, peer, left, limits, queue, waker, metrics }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection's task will be woken by what is queued from now on.
    pub fn watch(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Why it shall end, when it shall.
    pub fn ending(&self) -> Option<Ending> {
        self.queue().ending
    }

    /// Asks the connection's task to end; the first reason stays.
    pub fn end(&self, ending: Ending) {
        self.queue().ending.get_or_insert(ending);
        self.waker.wake();
    }

    /// Nothing is taken any more.
    pub fn close_queue(&self) {
        let mut queue = self.queue();
        queue.gone = true;
        queue.packets = VecDeque::new();
        (queue.live, queue.bytes) = (0, 0);
    }

    /// Queues a copy from the bus. A watcher that does not keep up is disconnected, never served with a gap.
    pub fn offer(&self, copy: Copy) {
        let from_store = copy.from_store;
        let mut queue = self.queue();
        if queue.gone || queue.ending.is_some() {
            return;
        }
        let cost = copy.message.cost();
        if !from_store && (queue.live >= self.limits.packets || queue.bytes + cost > self.limits.bytes) {
            queue.ending = Some(Ending::TooSlow);
        } else {
            queue.live += usize::from(!from_store);
            queue.bytes += if from_store { 0 } else { cost };
            queue.packets.push_back(Outgoing::Copy(copy));
        }
        drop(queue);
        self.waker.wake();
    }

    /// Takes the next packet, with the audio epoch in which it was taken. A frame of speech leaves alone, so it
    /// waits while others are `alone == false`; a copy that needs a packet id waits for `room`.
    pub fn take(&self, alone: bool, room: bool) -> Option<(Outgoing, u64)> {
        let mut queue = self.queue();
        let waits = match queue.packets.front()? {
            Outgoing::Copy(copy) => copy.qos > 0 && !room,
            packet @ Outgoing::Downlink { .. } => is_audio(packet) && !alone,
        };
        if waits {
            return None;
        }
        let next = queue.packets.pop_front()?;
        if !from_store(&next) {
            queue.live = queue.live.saturating_sub(1);
            queue.bytes = queue.bytes.saturating_sub(cost(&next));
        }
        if queue.packets.is_empty() {
            queue.packets = VecDeque::new();
        }
        let epoch = queue.audio_epoch;
        Some((next, epoch))
    }

    /// The current audio epoch.
    pub fn audio_epoch(&self) -> u64 {
        self.queue().audio_epoch
    }
}

fn cost(packet: &Outgoing) -> usize {
    match packet {
        Outgoing::Downlink { packet, .. } => 160 + packet.payload.len(),
        Outgoing::Copy(copy) => copy.message.cost(),
    }
}

fn from_store(packet: &Outgoing) -> bool {
    matches!(packet, Outgoing::Copy(Copy { from_store: true, .. }))
}

fn is_audio(packet: &Outgoing) -> bool {
    matches!(packet, Outgoing::Downlink { packet, .. } if packet.kind == PacketKind::Audio)
}

impl Link for Client {
    fn id(&self) -> LinkId {
        self.link
    }

    fn send(&self, packet: LinkPacket) -> Result<(), SendError> {
        let mut queue = self.queue();
        if queue.gone || queue.ending.is_some() {
            return Err(SendError::Gone);
        }
        let packet = Outgoing::Downlink { packet, at: Instant::now() };
        if queue.live >= self.limits.packets || queue.bytes + cost(&packet) > self.limits.bytes {
            self.metrics.dropped("downlink_queue_full");
            return Err(SendError::Full);
        }
        queue.live += 1;
        queue.bytes += cost(&packet);
        queue.packets.push_back(packet);
        drop(queue);
        self.waker.wake();
        Ok(())
    }

    fn clear_audio(&self) -> usize {
        let mut queue = self.queue();
        let before = queue.packets.len();
        queue.packets.retain(|p| !is_audio(p));
        let cleared = before - queue.packets.len();
        queue.live = queue.live.saturating_sub(cleared);
        queue.bytes = queue.packets.iter().filter(|p| !from_store(p)).map(cost).sum();
        queue.audio_epoch += 1;
        cleared
    }

    fn close(&self, reason: &'static str) {
        self.end(Ending::Closed(reason));
    }
}
