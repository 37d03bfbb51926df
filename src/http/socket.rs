//! A socket that gives up on a peer that takes nothing.
//!
//! The deadline lives in the write itself. One inside a response body would never fire: the body is
//! not asked for more while the socket takes none.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::unread;
use crate::limits::{SEND_BUFFER_BYTES, USER_TIMEOUT, WRITE_LOOK, WRITE_STALL};

/// A connection whose pending write fails after 30 s without progress.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    /// Runs while a write is pending; made at the first one.
    stall: Option<Stall>,
    instead: Option<Instead>,
}

/// A write that waits.
#[derive(Debug)]
struct Stall {
    timer: Pin<Box<Sleep>>,
    /// Whether the timer runs to the end.
    is_last: bool,
}

/// What goes out in place of a refusal that hyper wrote by itself.
#[derive(Debug)]
struct Instead {
    bytes: Vec<u8>,
    sent: usize,
}

impl Socket<TcpStream> {
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(Self { stream, stall: None, instead: None })
    }
}

impl Socket<UnixStream> {
    pub(super) fn unix(stream: UnixStream) -> io::Result<Self> {
        SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        Ok(Self { stream, stall: None, instead: None })
    }
}

impl<S: AsyncWrite + AsFd + Unpin> Socket<S> {
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stall = None;
            return wrote;
        }
        loop {
            let begin = || Stall { timer: Box::pin(sleep(WRITE_LOOK)), is_last: false };
            let stall = self.stall.get_or_insert_with(begin);
            ready!(stall.timer.as_mut().poll(cx));
            // The system calls a socket writable when a third of its buffer is free. Somebody who reads a kilobyte
            // a second gets there too late: what counts is whether anything fits by now. It is tried soon too, so
            // that room which was left at first is not taken for progress at the end.
            if self.instead.is_none()
                && let Ok(sent @ 1..) = send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
            {
                self.stall = None;
                return Poll::Ready(Ok(sent));
            }
            if stall.is_last {
                self.stall = None;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            stall.is_last = true;
            stall.timer.as_mut().reset(Instant::now() + WRITE_STALL.saturating_sub(WRITE_LOOK));
        }
    }

    /// Writes what stands in for these bytes, if something does: `Some` once all of it is out. A writer comes
    /// back with the same bytes until then.
    fn write_instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            self.instead = Some(Instead { bytes: unread::instead_of(bytes)?, sent: 0 });
        }
        let instead = self.instead.as_mut()?;
        while let Some(rest) = instead.bytes.get(instead.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(sent)) if sent > 0 => instead.sent += sent,
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        self.instead = None;
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = match self.write_instead(cx, bytes) {
            Some(wrote) => wrote,
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        };
        self.watch(cx, wrote, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is the one piece there is.
        let instead = match pieces {
            [piece] => self.write_instead(cx, piece),
            _ => None,
        };
        let wrote = match instead {
            Some(wrote) => wrote,
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        };
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.watch(cx, wrote, first.map_or(&[], |piece| piece))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
