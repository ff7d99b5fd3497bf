//! Publishers: as fast as the broker takes them, or at a given pace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Inbox};
use super::packets::Template;
use super::{Content, FloodError};

/// Messages that one write holds.
pub(super) const BATCH: usize = 32;
/// Unacknowledged messages of one publisher with QoS 1.
pub(super) const WINDOW: usize = 50;

/// One publisher, connected.
#[derive(Debug)]
pub(super) struct Publisher {
    pub client: Client,
    pub topic: String,
    pub qos: u8,
    pub content: Content,
}

/// What all publishers of a load share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Times count from here.
    pub origin: Instant,
    pub stop: CancellationToken,
    /// Written to a socket.
    pub sent: Arc<AtomicU64>,
    /// Acknowledged; QoS 1 only.
    pub acked: Arc<AtomicU64>,
    /// From a message to its acknowledgement, ns; those of [`Publisher::pace`] only.
    pub answered: Arc<Mutex<Vec<u64>>>,
    /// What may be under way between publishers and subscribers, when that is bounded, and what one message takes.
    pub credit: Option<(Arc<Semaphore>, u32)>,
}

impl Shared {
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            stop: CancellationToken::new(),
            sent: Arc::default(),
            acked: Arc::default(),
            answered: Arc::default(),
            credit: None,
        }
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for credit; false when it is over meanwhile.
    async fn spend(&self, messages: usize) -> bool {
        let Some((credit, each)) = &self.credit else { return true };
        let wanted = u32::try_from(messages).unwrap_or(u32::MAX).saturating_mul(*each);
        tokio::select! {
            // it is never closed
            permit = credit.acquire_many(wanted) => permit.map(tokio::sync::SemaphorePermit::forget).is_ok(),
            () = self.stop.cancelled() => false,
        }
    }
}

impl Publisher {
    /// As fast as the broker (and the credit) takes them, until `stop`; all that is sent is taken then. The numbers
    /// begin with 1. Gives how many were sent.
    pub async fn flood(mut self, shared: Shared) -> Result<u32, FloodError> {
        let sent = if self.qos == 0 { self.flood_0(&shared).await? } else { self.flood_1(&shared).await? };
        self.client.barrier().await?;
        Ok(sent)
    }

    async fn flood_0(&mut self, shared: &Shared) -> Result<u32, FloodError> {
        let mut template = Template::new(&self.topic, 0, self.content, BATCH);
        let mut next = 1;
        while !shared.stop.is_cancelled() {
            if !shared.spend(BATCH).await {
                break;
            }
            self.client.send(template.fill(next, BATCH, shared.now())).await?;
            next += u32::try_from(BATCH).unwrap_or(0);
            shared.sent.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
        Ok(next - 1)
    }

    async fn flood_1(&mut self, shared: &Shared) -> Result<u32, FloodError> {
        let mut template = Template::new(&self.topic, 1, self.content, WINDOW);
        let mut inbox = Inbox::new(4 << 10);
        let (mut next, mut under_way) = (1, 0);
        loop {
            let room = if shared.stop.is_cancelled() { 0 } else { WINDOW - under_way };
            if room > 0 && shared.spend(room).await {
                self.client.send(template.fill(next, room, shared.now())).await?;
                next += u32::try_from(room).unwrap_or(0);
                under_way += room;
                shared.sent.fetch_add(room as u64, Ordering::Relaxed);
            }
            if under_way == 0 {
                return Ok(next - 1);
            }
            inbox.fill(&mut self.client).await?;
            let before = under_way;
            while let Some(packet) = inbox.next()? {
                under_way -= usize::from(packet.first == 0x40 && under_way > 0);
            }
            shared.acked.fetch_add((before - under_way) as u64, Ordering::Relaxed);
        }
    }

    /// One message each `every`, the first after `phase`; `count` of them. With QoS 1 each is acknowledged before
    /// the next.
    pub async fn pace(
        mut self,
        shared: Shared,
        (every, phase): (Duration, Duration),
        count: u32,
    ) -> Result<(), FloodError> {
        let mut template = Template::new(&self.topic, self.qos, self.content, 1);
        let mut inbox = Inbox::new(256);
        let mut tick = interval_at(Instant::now() + phase, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 1..=count {
            tick.tick().await;
            let at = shared.now();
            self.client.send(template.fill(number, 1, at)).await?;
            shared.sent.fetch_add(1, Ordering::Relaxed);
            if self.qos == 0 {
                continue;
            }
            while inbox.next()?.is_none_or(|packet| packet.first != 0x40) {
                inbox.fill(&mut self.client).await?;
            }
            shared.acked.fetch_add(1, Ordering::Relaxed);
            shared.answered.lock().unwrap_or_else(PoisonError::into_inner).push(shared.now().saturating_sub(at));
        }
        self.client.barrier().await
    }
}
