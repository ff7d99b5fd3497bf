//! Sockets: their options, and the one interface that plain TCP, TLS and WebSocket share.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream to a client.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Frames of speech that are in the kernel cannot be taken back: leave it room for a few only.
    fn keep_little_unsent(&self);
}

/// What a device's socket may hold unsent; the kernel doubles it for its own overhead.
const DEVICE_SEND_BUFFER: usize = 4 << 10;

impl Transport for TcpStream {
    fn keep_little_unsent(&self) {
        if let Err(error) = SockRef::from(self).set_send_buffer_size(DEVICE_SEND_BUFFER) {
            tracing::debug!(%error, "send buffer keeps its size");
        }
    }
}

/// Connections that may wait to be accepted; the system may allow fewer. One that finds no room tries again after 1, 3,
/// 7 and 15 s: a herd that comes back should fit.
const BACKLOG: i32 = 16_384;

/// Binds a listening socket.
pub(super) fn listen(at: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Small packets leave at once; a peer that is gone is noticed in 20 s when something is owed to it, in 60 s else.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}
