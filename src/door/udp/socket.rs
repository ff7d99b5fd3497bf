//! The one socket of all channels.
//!
//! quinn-udp says which address of ours a datagram came to and sends the answer from there: firmware's socket takes
//! datagrams of the address that it sends to only, and the system would choose another where the gateway has several on
//! one network. It also reads several datagrams at once.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as Raw, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::channel::Route;

/// How many reads are made at once. The system may put datagrams of one peer that come together into one read.
const BATCH: usize = 8;
/// The longest read.
const READ: usize = 64 << 10;

/// A bound socket.
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Where datagrams are read to: 512 KB, once.
pub(super) struct Inbox {
    reads: Vec<Vec<u8>>,
    about: [RecvMeta; BATCH],
    filled: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Self { reads: vec![vec![0; READ]; BATCH], about: [RecvMeta::default(); BATCH], filled: 0 }
    }

    /// The datagrams of the last read, in the order in which they came.
    pub fn datagrams(&self) -> impl Iterator<Item = (Route, &[u8])> {
        self.about[..self.filled].iter().zip(&self.reads).flat_map(|(about, read)| {
            let route = Route { peer: about.addr, local: about.dst_ip };
            let read = read.get(..about.len).unwrap_or_default();
            // an empty datagram is one, too
            let empty = read.is_empty().then_some(read);
            read.chunks(about.stride.max(1)).chain(empty).map(move |datagram| (route, datagram))
        })
    }
}

impl Socket {
    /// Binds an address; of "[::]", IPv4 too. Inside a runtime only.
    pub fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let raw = Raw::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            raw.set_only_v6(false)?;
        }
        // the system gives what it allows, and says nothing
        raw.set_recv_buffer_size(receive_buffer)?;
        raw.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&raw))?;
        let io = UdpSocket::from_std(raw.into())?;
        let address = io.local_addr()?;
        Ok(Self { io, state, address })
    }

    /// The bound address, with the port that was taken for 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for datagrams. What is read stays in `inbox` until the next call; cancelling it loses nothing.
    pub async fn read(&self, inbox: &mut Inbox) -> io::Result<()> {
        inbox.filled = 0;
        let Inbox { reads, about, filled } = inbox;
        let read = || {
            let mut reads = reads.iter_mut();
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(reads.next().map_or(&mut [], Vec::as_mut_slice)));
            self.state.recv(UdpSockRef::from(&self.io), &mut slices, about)
        };
        *filled = self.io.async_io(Interest::READABLE, read).await?;
        Ok(())
    }

    /// Sends at once, or says `WouldBlock`.
    pub fn try_send(&self, route: Route, datagram: &[u8]) -> io::Result<()> {
        self.state.try_send(UdpSockRef::from(&self.io), &transmit(route, datagram))
    }

    /// Waits until the socket takes datagrams again.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Like [`Socket::try_send`], for who waits by [`Socket::writable`].
    pub fn try_send_waiting(&self, route: Route, datagram: &[u8]) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.try_send(route, datagram))
    }
}

fn transmit(route: Route, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination: route.peer, ecn: None, contents, segment_size: None, src_ip: route.local }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    async fn read(socket: &Socket, inbox: &mut Inbox, most: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < most {
            socket.read(inbox).await.unwrap();
            all.extend(inbox.datagrams().map(|(_, datagram)| datagram.to_vec()));
        }
        all
    }

    #[tokio::test]
    async fn datagrams_that_the_system_put_together_come_apart_again() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let peer = Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let sent: Vec<Vec<u8>> =
            [40, 40, 40, 40, 13].iter().zip(1..).map(|(length, byte)| vec![byte; *length]).collect();
        let together = sent.concat();
        let route = Route { peer: socket.address(), local: None };
        let transmit = Transmit { segment_size: Some(40), ..transmit(route, &together) };
        peer.state.try_send(UdpSockRef::from(&peer.io), &transmit).unwrap();
        let mut inbox = Inbox::new();
        assert_eq!(read(&socket, &mut inbox, sent.len()).await, sent);
        assert!(inbox.datagrams().all(|(route, _)| route.peer == peer.address()));
    }

    #[tokio::test]
    async fn an_empty_datagram_is_one_and_the_longest_is_whole() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sent = vec![vec![], vec![7; 60_000], vec![], vec![8; 3]];
        for datagram in &sent {
            peer.send_to(datagram, socket.address()).await.unwrap();
        }
        assert_eq!(read(&socket, &mut Inbox::new(), sent.len()).await, sent);
    }
}
