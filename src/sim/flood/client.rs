//! A connection: CONNECT, SUBSCRIBE, and a barrier.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::packets::{self, Packet};
use super::{FloodError, Login};

/// How long a broker may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A connected client.
#[derive(Debug)]
pub struct Client {
    pub(super) stream: TcpStream,
    pub(super) addr: SocketAddr,
}

impl Client {
    /// Connects; waits for CONNACK.
    pub async fn connect(addr: SocketAddr, login: &Login) -> Result<Self, FloodError> {
        let opening = async {
            let mut stream = dial(addr, Ipv4Addr::LOCALHOST).await?;
            greet(&mut stream, addr, login).await?;
            Ok(Self { stream, addr })
        };
        timeout(PATIENCE, opening).await.map_err(|_| FloodError::Silence("connect", PATIENCE))?
    }

    /// Subscribes; waits for SUBACK.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), FloodError> {
        self.send(&packets::subscribe(filter, qos)).await?;
        let mut suback = [0; 5];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut suback)).await;
        read.map_err(|_| FloodError::Silence("subscribe", PATIENCE))?.map_err(|error| self.failed(error))?;
        let granted = suback[0] == 0x90 && suback[4] == qos;
        if granted { Ok(()) } else { Err(FloodError::Subscription(filter.to_owned())) }
    }

    /// Says goodbye and waits until the broker has closed.
    pub async fn leave(mut self) -> Result<(), FloodError> {
        self.send(&packets::DISCONNECT).await?;
        let mut rest = [0; 64];
        let closed = async { while matches!(self.stream.read(&mut rest).await, Ok(n) if n > 0) {} };
        timeout(PATIENCE, closed).await.map_err(|_| FloodError::Silence("close a connection", PATIENCE))
    }

    /// Waits until the broker closes, or sends something.
    pub async fn closed(&mut self) {
        // an error is an end, too
        let _ = self.stream.read(&mut [0; 1]).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), FloodError> {
        self.stream.write_all(bytes).await.map_err(|error| self.failed(error))
    }

    /// Waits until the broker has taken all that went before: PINGREQ is answered in its turn.
    pub(super) async fn barrier(&mut self) -> Result<(), FloodError> {
        self.send(&packets::PINGREQ).await?;
        let mut answer = [0; 2];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut answer)).await;
        read.map_err(|_| FloodError::Silence("answer a ping", PATIENCE))?.map_err(|error| self.failed(error))?;
        if answer == [0xD0, 0] { Ok(()) } else { Err(FloodError::Garbage) }
    }

    fn failed(&self, error: std::io::Error) -> FloodError {
        FloodError::Io(error, self.addr)
    }
}

/// A socket from an address of this machine: one address has too few ports for a great many connections.
pub(super) async fn dial(addr: SocketAddr, from: Ipv4Addr) -> Result<TcpStream, FloodError> {
    let dialling = async {
        let socket = TcpSocket::new_v4()?;
        // the port is chosen when it connects: one that rests after a connection to another broker will do
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    dialling.await.map_err(|error| FloodError::Io(error, addr))
}

/// CONNECT and CONNACK.
pub(super) async fn greet<S>(stream: &mut S, addr: SocketAddr, login: &Login) -> Result<(), FloodError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connack = [0; 4];
    let greeting = async {
        stream.write_all(&packets::connect(login)).await?;
        stream.flush().await?;
        stream.read_exact(&mut connack).await
    };
    greeting.await.map_err(|error| FloodError::Io(error, addr))?;
    match connack {
        [0x20, 2, _, 0] => Ok(()),
        [.., code] => Err(FloodError::Refused(code, addr)),
    }
}

/// What has come and is not yet looked at.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Inbox {
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], from: 0, to: 0 }
    }

    /// Reads once.
    pub async fn fill(&mut self, client: &mut Client) -> Result<(), FloodError> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.bytes.len() {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let addr = client.addr;
        let read = client.stream.read(&mut self.bytes[self.to..]).await.map_err(|error| FloodError::Io(error, addr))?;
        if read == 0 {
            return Err(FloodError::Closed);
        }
        self.to += read;
        Ok(())
    }

    /// The next whole packet.
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, FloodError> {
        let Some((packet, length)) = packets::next(&self.bytes[self.from..self.to])? else { return Ok(None) };
        self.from += length;
        Ok(Some(packet))
    }
}
