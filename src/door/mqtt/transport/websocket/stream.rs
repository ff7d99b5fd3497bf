//! A WebSocket as a byte stream: each write is a binary message, what messages carry is read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{self, Control, Reader, Violation};
use crate::door::mqtt::gate::Gate;
use crate::door::mqtt::socket::Transport;

/// The server's end of a WebSocket, after the handshake.
pub(in crate::door::mqtt) struct WebSocket<S> {
    inner: S,
    gate: Arc<Gate>,
    reader: Reader,
    /// What came behind the request.
    early: BytesMut,
    /// A part of a frame that must leave before anything else.
    pending: Vec<u8>,
    /// Bytes that the frame under way still needs.
    left: usize,
    /// Waits until no frame is under way.
    control: Vec<u8>,
    /// A Close was sent or will be: nothing follows.
    closed: bool,
}

impl<S> WebSocket<S> {
    pub fn new(inner: S, early: BytesMut, gate: Arc<Gate>) -> Self {
        let (reader, pending, control) = (Reader::default(), Vec::new(), Vec::new());
        Self { inner, gate, reader, early, pending, left: 0, control, closed: false }
    }

    fn answer(&mut self, control: Control) {
        match control {
            // only the last of several pings needs an answer (RFC 6455, section 5.5.3)
            Control::Ping(payload) if !self.closed => self.control = frames::pong(&payload),
            Control::Ping(_) => {}
            Control::Close(code) => self.close(if (1_000..5_000).contains(&code) { code } else { 1_002 }),
        }
    }

    fn close(&mut self, code: u16) {
        if !self.closed {
            self.closed = true;
            self.control = frames::close(code);
        }
    }

    fn refuse(&mut self, violation: Violation) -> io::Error {
        self.gate.metrics.dropped(violation.name());
        self.close(violation.code());
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }
}

impl<S: Transport> WebSocket<S> {
    /// Sends what stands before the next byte of a message.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.pending.is_empty() {
                if self.left > 0 || self.control.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.pending = std::mem::take(&mut self.control);
            }
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.pending))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..n);
            if self.pending.is_empty() {
                self.pending = Vec::new();
            }
        }
    }

    /// Begins a message of the whole of `buf`.
    fn poll_begin(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (head, len) = frames::binary(buf.len());
        let head = &head[..len];
        let parts = [IoSlice::new(head), IoSlice::new(buf)];
        let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &parts))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let taken = if n > len {
            n - len
        } else {
            // the frame is begun, so the writer must be bound to go on with these bytes: it is, once one is taken
            self.pending.extend_from_slice(&head[n..]);
            self.pending.push(buf[0]);
            1
        };
        self.left = buf.len() - taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(n));
        if self.early.is_empty() {
            self.early = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            // pongs leave although nobody writes
            if let Poll::Ready(Err(error)) = this.poll_pending(cx) {
                return Poll::Ready(Err(error));
            }
            if this.closed || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // frames are taken apart where they were read: what is in them is never longer
            let start = buf.filled().len();
            ready!(this.poll_raw(cx, buf))?;
            let max = this.gate.settings.limits.packet.0;
            let raw = &mut buf.filled_mut()[start..];
            if raw.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut controls = None;
            let decoded = this.reader.decode(raw, max, |control| controls = Some(control));
            if let Some(control) = controls {
                this.answer(control);
            }
            let result = decoded.map_err(|violation| this.refuse(violation));
            buf.set_filled(start + *result.as_ref().unwrap_or(&0));
            let failed = result.is_err();
            if failed && let Poll::Ready(Err(error)) = this.poll_pending(cx) {
                return Poll::Ready(Err(error));
            }
            if result? > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: Transport> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_pending(cx))?;
        if this.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.left == 0 {
            return this.poll_begin(cx, buf);
        }
        let rest = &buf[..buf.len().min(this.left)];
        let n = ready!(Pin::new(&mut this.inner).poll_write(cx, rest))?;
        this.left -= n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(1_000);
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Transport> Transport for WebSocket<S> {
    fn keep_little_unsent(&self) {
        self.inner.keep_little_unsent();
    }
}
