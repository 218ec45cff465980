//! Connections: how they are accepted, and what is kept from the parser of requests.

mod heads;
mod serve;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::heads::Heads;
pub use self::serve::Serving;
pub(super) use self::serve::serve;

/// A connection on which offers to change the protocol (`Connection: Upgrade`, RFC 9110, section 7.8) are not seen.
///
/// The service speaks HTTP/1.1 alone, so it ignores every offer. The server below would close the connection after the
/// answer to such a request, and read the body of one that offers `websocket` to the end of the connection.
struct WithoutUpgrades<S> {
    stream: S,
    heads: Heads,
}

impl<S> WithoutUpgrades<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            heads: Heads::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithoutUpgrades<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.heads.pass(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithoutUpgrades<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
