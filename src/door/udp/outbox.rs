//! What the socket does not take at once: one bounded queue, as there is one socket.
//!
//! As long as anything waits everything queues behind it, so each channel's datagrams leave in order; firmware drops what
//! comes after its successor.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::channel::Route;
use super::metrics::{Down, Metrics};
use super::socket::Socket;

struct Waiting {
    ssrc: u32,
    route: Route,
    datagram: Bytes,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The socket has it.
    Now,
    /// It waits.
    Later,
    /// The socket refused it: there is no way to that address now, or a firewall is in it.
    Refused,
}

/// The way out.
pub(super) struct Outbox {
    socket: Arc<Socket>,
    /// Something waits. Set and cleared under the lock only.
    backed_up: AtomicBool,
    waiting: Mutex<VecDeque<Waiting>>,
    most: usize,
    wake: Notify,
    metrics: Metrics,
}

impl Outbox {
    pub fn new(socket: Arc<Socket>, most: usize, metrics: Metrics) -> Self {
        Self {
            socket,
            backed_up: AtomicBool::new(false),
            waiting: Mutex::default(),
            most,
            wake: Notify::new(),
            metrics,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends or queues. Calls for one channel must not overlap, or its datagrams could change places.
    pub fn send(&self, ssrc: u32, route: Route, datagram: Bytes) -> Sent {
        if !self.backed_up.load(Ordering::Acquire) {
            match self.socket.try_send(route, &datagram) {
                Ok(()) => return Sent::Now,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Sent::Refused,
                Err(_) => {}
            }
        }
        let mut waiting = self.waiting();
        waiting.push_back(Waiting { ssrc, route, datagram });
        while waiting.len() > self.most {
            waiting.pop_front();
            self.metrics.down(Down::Overflow);
        }
        self.backed_up.store(!waiting.is_empty(), Ordering::Release);
        self.wake.notify_one();
        Sent::Later
    }

    /// Drops what waits for a channel; says how many.
    pub fn clear(&self, ssrc: u32) -> usize {
        if !self.backed_up.load(Ordering::Acquire) {
            return 0;
        }
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.retain(|waiting| waiting.ssrc != ssrc);
        let cleared = before - waiting.len();
        self.metrics.down_by(Down::Cleared, cleared);
        cleared
    }

    /// Sends what waits, for ever.
    pub async fn run(&self) {
        loop {
            self.wake.notified().await;
            while self.backed_up.load(Ordering::Acquire) {
                if self.socket.writable().await.is_err() {
                    break; // the runtime ends
                }
                self.flush();
            }
        }
    }

    fn flush(&self) {
        let mut waiting = self.waiting();
        while let Some(first) = waiting.front() {
            match self.socket.try_send_waiting(first.route, &first.datagram) {
                Ok(()) => self.metrics.down(Down::Sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.metrics.down(Down::Error),
            }
            waiting.pop_front();
        }
        self.backed_up.store(false, Ordering::Release);
    }
}

#[cfg(test)]
impl Outbox {
    /// Lets everything queue, as if the socket were busy.
    pub fn pretend_busy(&self) {
        self.backed_up.store(true, Ordering::Release);
    }

    pub fn len(&self) -> usize {
        self.waiting().len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::net::UdpSocket;

    use super::*;

    /// An outbox that believes the socket to be busy, and where its datagrams go.
    async fn busy(most: usize) -> (Outbox, UdpSocket, Route) {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let route = Route { peer: device.local_addr().unwrap(), local: None };
        let outbox = Outbox::new(Arc::new(socket), most, Metrics::default());
        outbox.pretend_busy();
        (outbox, device, route)
    }

    async fn heard(device: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 64];
        let (length, _) = device.recv_from(&mut buffer).await.unwrap();
        buffer[..length].to_vec()
    }

    #[tokio::test]
    async fn what_waits_leaves_in_order_and_what_follows_does_not_overtake_it() {
        let (outbox, device, route) = busy(10).await;
        for number in 1..=3 {
            assert_eq!(outbox.send(7, route, Bytes::from(vec![number])), Sent::Later);
        }
        let run = async {
            tokio::select! { () = outbox.run() => {}, () = async {
                for number in 1..=3 {
                    assert_eq!(heard(&device).await, [number]);
                }
            } => {} }
        };
        run.await;
        assert_eq!(outbox.send(7, route, Bytes::from_static(&[4])), Sent::Now);
        assert_eq!(heard(&device).await, [4]);
        assert_eq!(outbox.metrics.count_down(Down::Sent), 3, "who sends at once counts himself");
    }

    #[tokio::test]
    async fn more_than_may_wait_pushes_the_oldest_out_and_a_clear_takes_one_channels_only() {
        let (outbox, device, route) = busy(3).await;
        for (ssrc, number) in [(7, 1), (7, 2), (8, 3), (7, 4)] {
            outbox.send(ssrc, route, Bytes::from(vec![number]));
        }
        assert_eq!(outbox.metrics.count_down(Down::Overflow), 1);
        assert_eq!((outbox.clear(7), outbox.clear(7)), (2, 0));
        assert_eq!(outbox.metrics.count_down(Down::Cleared), 2);
        tokio::select! { () = outbox.run() => {}, one = heard(&device) => assert_eq!(one, [3]) }
    }

    #[tokio::test]
    async fn with_no_room_at_all_nothing_waits() {
        let (outbox, _device, route) = busy(0).await;
        outbox.send(7, route, Bytes::from_static(&[1]));
        assert_eq!(outbox.metrics.count_down(Down::Overflow), 1);
        assert_eq!(outbox.len(), 0);
    }
}
