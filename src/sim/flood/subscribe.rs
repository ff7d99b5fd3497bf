//! Subscribers: read, acknowledge, look at every number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::FloodError;
use super::client::{Client, Inbox};
use super::packets::Publish;

/// Read at once.
const BUFFER: usize = 256 << 10;
/// Times that one subscriber keeps.
const MOST_TIMES: usize = 1 << 20;

/// What a subscriber saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of each publisher: its last number.
    last: Vec<u32>,
    pub count: u64,
    /// Numbers that came again, or behind a later one.
    pub repeats: u64,
    /// From the publisher's write to here, ns.
    pub times: Vec<u64>,
    /// It was closed by the broker.
    pub closed: bool,
}

impl Seen {
    pub fn note(&mut self, publish: Publish) {
        if publish.from >= self.last.len() {
            self.last.resize(publish.from + 1, 0);
        }
        let last = &mut self.last[publish.from];
        if publish.number > *last {
            *last = publish.number;
        } else {
            self.repeats += 1;
        }
        self.count += 1;
    }
}

/// One subscriber, connected and subscribed.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub client: Client,
    /// Shared by all: what has come.
    pub received: Arc<AtomicU64>,
    /// Gives back what publishers took.
    pub credit: Option<Arc<Semaphore>>,
    /// Keep the times, counted from here.
    pub times_from: Option<Instant>,
}

impl Subscriber {
    /// Reads until `stop`, or until the broker closes.
    pub async fn listen(mut self, stop: CancellationToken) -> Result<Seen, FloodError> {
        let mut seen = Seen::default();
        let size = if self.times_from.is_some() { 16 << 10 } else { BUFFER };
        let (mut inbox, mut acks) = (Inbox::new(size), Vec::new());
        loop {
            tokio::select! {
                filled = inbox.fill(&mut self.client) => match filled {
                    Ok(()) => {}
                    Err(FloodError::Closed | FloodError::Io(..)) => {
                        seen.closed = true;
                        return Ok(seen);
                    }
                    Err(error) => return Err(error),
                },
                () = stop.cancelled() => return Ok(seen),
            }
            let before = seen.count;
            let now = self.times_from.map(|origin| u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
            while let Some(packet) = inbox.next()? {
                if packet.first & 0xF0 != 0x30 {
                    continue;
                }
                let publish = Publish::of(packet).ok_or(FloodError::Garbage)?;
                if let Some([high, low]) = publish.id {
                    acks.extend_from_slice(&[0x40, 2, high, low]);
                }
                if let Some(now) = now.filter(|_| seen.times.len() < MOST_TIMES) {
                    seen.times.push(now.saturating_sub(publish.at));
                }
                seen.note(publish);
            }
            let came = seen.count - before;
            self.received.fetch_add(came, Ordering::Relaxed);
            if let Some(credit) = &self.credit {
                credit.add_permits(usize::try_from(came).unwrap_or(0));
            }
            if !acks.is_empty() {
                if self.client.send(&acks).await.is_err() {
                    seen.closed = true;
                    return Ok(seen);
                }
                acks.clear();
            }
        }
    }
}
