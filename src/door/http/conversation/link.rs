//! What waits for one device, and the [`Link`] by which delivery writes to it. Nothing here touches the socket.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{Link, LinkId, LinkPacket, PacketKind, SendError};

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<LinkPacket>,
    bytes: usize,
    ending: Option<&'static str>,
    gone: bool,
}

/// One connection, as the rest of the gateway sees it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) link: LinkId,
    addresses: Option<(IpAddr, IpAddr)>,
    dialect: &'static str,
    most: (usize, usize),
    queue: Mutex<Queue>,
    wake: Notify,
}

/// What the connection's task is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Send(LinkPacket),
    End(&'static str),
}

impl Socket {
    /// At most so many packets and bytes wait. `addresses` are ours and the device's.
    pub(super) fn new(
        link: LinkId,
        addresses: Option<(IpAddr, IpAddr)>,
        dialect: &'static str,
        most: (usize, usize),
    ) -> Self {
        Self { link, addresses, dialect, most, queue: Mutex::default(), wake: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // each change leaves whole packets in a whole queue
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the task to end, when what waits is sent; the first reason stays.
    pub(super) fn end(&self, reason: &'static str) {
        self.queue().ending.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// The connection is gone: nothing is taken any more.
    pub(super) fn gone(&self) {
        let mut queue = self.queue();
        queue.gone = true;
        queue.packets.clear();
    }

    /// Waits for something to do.
    pub(super) async fn next(&self) -> Next {
        loop {
            let woken = self.wake.notified();
            if let Some(next) = self.take() {
                return next;
            }
            woken.await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut queue = self.queue();
        if let Some(packet) = queue.packets.pop_front() {
            queue.bytes -= packet.payload.len();
            return Some(Next::Send(packet));
        }
        queue.ending.map(Next::End)
    }
}

impl Link for Socket {
    fn id(&self) -> LinkId {
        self.link
    }

    fn send(&self, packet: LinkPacket) -> Result<(), SendError> {
        let mut queue = self.queue();
        if queue.gone || queue.ending.is_some() {
            return Err(SendError::Gone);
        }
        let bytes = packet.payload.len();
        if queue.packets.len() >= self.most.0 || queue.bytes + bytes > self.most.1 {
            return Err(SendError::Full);
        }
        queue.bytes += bytes;
        queue.packets.push_back(packet);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    fn clear_audio(&self) -> usize {
        let mut queue = self.queue();
        let before = queue.packets.len();
        queue.packets.retain(|packet| packet.kind != PacketKind::Audio);
        queue.bytes = queue.packets.iter().map(|packet| packet.payload.len()).sum();
        before - queue.packets.len()
    }

    fn close(&self, reason: &'static str) {
        self.end(if reason == "the conversation is over" { "over" } else { "unread" });
    }

    fn dialect(&self) -> Option<&'static str> {
        Some(self.dialect)
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        self.addresses
    }

    fn has_topics(&self) -> bool {
        false
    }
}
