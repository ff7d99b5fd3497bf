//! A stream that encrypts, made to behave as a socket does: what it says it took has left.
//!
//! tokio-rustls takes bytes, and may keep what they became until somebody flushes. A connection never flushes: it writes
//! until there is nothing more. So the last byte of a write is only admitted when everything has left.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps a stream that buffers.
#[derive(Debug)]
pub(super) struct Whole<S> {
    inner: S,
    /// The last byte of the write before has been taken and not admitted: the next write begins with it again.
    held: bool,
    /// Something may not have left.
    unsent: bool,
}

impl<S> Whole<S> {
    pub fn new(inner: S) -> Self {
        // session tickets may wait to be sent
        Self { inner, held: false, unsent: true }
    }

    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncWrite + Unpin> Whole<S> {
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unsent = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Of `n` bytes that the stream took, how many may be admitted now.
    fn admit(&mut self, cx: &mut Context<'_>, n: usize) -> Poll<io::Result<usize>> {
        self.unsent = true;
        match self.poll_sent(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if n > 1 => {
                self.held = true;
                Poll::Ready(Ok(n - 1))
            }
            // a single byte has to be admitted; reading sends it
            _ => Poll::Ready(Ok(n)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Whole<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Whole<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        if std::mem::take(&mut self.held) {
            return Poll::Ready(Ok(1));
        }
        let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.admit(cx, n)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream};

    use super::*;

    /// Takes up to 64 bytes, passes them on through a pipe of 8.
    fn narrow() -> (Whole<BufWriter<DuplexStream>>, DuplexStream) {
        let (here, there) = tokio::io::duplex(8);
        (Whole::new(BufWriter::with_capacity(64, here)), there)
    }

    #[tokio::test]
    async fn what_was_written_arrives_although_nobody_flushes() {
        let (mut whole, mut there) = narrow();
        let sent: Vec<u8> = (0..200).collect();
        let expected = sent.clone();
        let reading = tokio::spawn(async move {
            let mut got = vec![0; 200];
            there.read_exact(&mut got).await.unwrap();
            (got, there)
        });
        whole.write_all(&sent).await.unwrap();
        let (got, _there) = reading.await.unwrap();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_write_is_not_done_before_its_last_byte_has_left() {
        let (mut whole, mut there) = narrow();
        let mut write = poll_once(&mut whole, &[7; 20]);
        assert!(matches!(write, Poll::Ready(Ok(19))), "{write:?}");
        write = poll_once(&mut whole, &[7; 1]);
        assert!(write.is_pending(), "eight of twenty have left");
        let mut got = [0; 8];
        there.read_exact(&mut got).await.unwrap();
        assert!(poll_once(&mut whole, &[7; 1]).is_pending());
        there.read_exact(&mut got).await.unwrap();
        assert!(matches!(poll_once(&mut whole, &[7; 1]), Poll::Ready(Ok(1))));
        let mut rest = [0; 4];
        there.read_exact(&mut rest).await.unwrap();
        drop(whole);
        assert_eq!(there.read(&mut got).await.unwrap(), 0, "no byte went twice");
    }

    fn poll_once(whole: &mut Whole<BufWriter<DuplexStream>>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(whole).poll_write(&mut cx, bytes)
    }
}
