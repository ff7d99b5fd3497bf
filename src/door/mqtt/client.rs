//! What the rest of the gateway sees of a connection: its bounded queue, its end, its [`Link`].
//!
//! Nothing here waits and nothing here touches the socket: the connection's own task takes from the queue.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::hub::QueueLimits;
use super::memory::{Charge, Memory};
use super::metrics::Metrics;
use crate::domain::{Link, LinkId, LinkPacket, PacketKind, SendError};
use crate::topics::Who;

/// A packet for the device itself.
#[derive(Debug)]
pub(super) struct Downlink {
    /// The packet.
    pub packet: LinkPacket,
    /// When it was queued.
    pub at: Instant,
    _charge: Charge,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Downlink>,
    bytes: usize,
    /// Counts `clear_audio` calls: a frame that is encoded but not begun knows that it is void.
    audio_epoch: u64,
    ending: Option<Ending>,
    gone: bool,
}

/// What may wait for a client, and from what budget.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub limits: QueueLimits,
    pub memory: Arc<Memory>,
}

/// One admitted connection.
pub(super) struct Client {
    pub link: LinkId,
    pub who: Who,
    /// User name and client id: what a takeover compares, and a session is found by.
    pub key: Arc<str>,
    pub peer: SocketAddr,
    local: Option<IpAddr>,
    dialect: Option<&'static str>,
    /// Cancelled when the connection has left the registry.
    pub left: CancellationToken,
    limits: QueueLimits,
    memory: Arc<Memory>,
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
    pub fn new(link: LinkId, who: Who, key: Arc<str>, peer: SocketAddr, room: Room, metrics: Metrics) -> Self {
        let (queue, waker, left) = (Mutex::default(), AtomicWaker::new(), CancellationToken::new());
        let Room { limits, memory } = room;
        let (local, dialect) = (None, None);
        Self { link, who, key, peer, local, dialect, left, limits, memory, queue, waker, metrics }
    }

    /// The address of ours that it reached.
    #[must_use]
    pub fn reached(self, local: Option<IpAddr>) -> Self {
        Self { local, ..self }
    }

    /// What its device speaks, as its record says.
    #[must_use]
    pub fn speaking(self, dialect: Option<&'static str>) -> Self {
        Self { dialect, ..self }
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

    /// User name and client id.
    pub fn names(&self) -> (&str, &str) {
        self.key.split_once('\0').unwrap_or((&self.key, ""))
    }

    /// Nothing is taken any more.
    pub fn close_queue(&self) {
        let mut queue = self.queue();
        queue.gone = true;
        queue.packets = VecDeque::new();
        queue.bytes = 0;
    }

    /// Something waits for it in its session.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Takes the next packet, with the audio epoch in which it was taken. A frame of speech leaves alone, so it
    /// waits while others are `alone == false`.
    pub fn take(&self, alone: bool) -> Option<(Downlink, u64)> {
        let mut queue = self.queue();
        if is_audio(queue.packets.front()?) && !alone {
            return None;
        }
        let next = queue.packets.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(cost(&next.packet));
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

fn cost(packet: &LinkPacket) -> usize {
    160 + packet.payload.len()
}

fn is_audio(downlink: &Downlink) -> bool {
    downlink.packet.kind == PacketKind::Audio
}

impl Link for Client {
    fn id(&self) -> LinkId {
        self.link
    }

    fn dialect(&self) -> Option<&'static str> {
        self.dialect
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        Some((self.local?.to_canonical(), self.peer.ip().to_canonical()))
    }

    fn send(&self, packet: LinkPacket) -> Result<(), SendError> {
        let mut queue = self.queue();
        if queue.gone || queue.ending.is_some() {
            return Err(SendError::Gone);
        }
        let bytes = cost(&packet);
        if queue.packets.len() >= self.limits.packets || queue.bytes + bytes > self.limits.bytes {
            self.metrics.dropped("downlink_queue_full");
            return Err(SendError::Full);
        }
        // what goes at once takes nothing
        if !queue.packets.is_empty() && self.memory.full() {
            self.metrics.dropped("memory");
            return Err(SendError::Full);
        }
        queue.bytes += bytes;
        queue.packets.push_back(Downlink { packet, at: Instant::now(), _charge: self.memory.charge(bytes) });
        drop(queue);
        self.waker.wake();
        Ok(())
    }

    fn clear_audio(&self) -> usize {
        let mut queue = self.queue();
        let before = queue.packets.len();
        queue.packets.retain(|p| !is_audio(p));
        let cleared = before - queue.packets.len();
        queue.bytes = queue.packets.iter().map(|p| cost(&p.packet)).sum();
        queue.audio_epoch += 1;
        cleared
    }

    fn close(&self, reason: &'static str) {
        self.end(Ending::Closed(reason));
    }
}
