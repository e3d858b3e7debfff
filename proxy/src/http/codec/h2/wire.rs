//! The byte stream under `h2`, watched: it tells whether a peer is heard and ends a connection that floods.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    error::{End, MESSAGING},
    frames::{PREFACE, Watch},
};
use crate::http::codec::CodecError;

/// A byte stream whose frames are watched.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    watch: Watch,
    /// Of the client's preface, which was read from `io` and which `h2` is still to read.
    preface: &'static [u8],
}

impl<IO> Wire<IO> {
    pub(super) fn new(io: IO, watch: Watch) -> Self {
        Self {
            io,
            watch,
            preface: &[],
        }
    }
}

impl<IO: AsyncRead + Unpin> Wire<IO> {
    /// The server's end, once the client has sent its preface: whoever speaks something else hears nothing, as of Envoy.
    ///
    /// # Errors
    /// `Protocol` for the first byte that is not the preface's.
    pub(super) async fn accept(mut io: IO, watch: Watch) -> Result<Self, CodecError> {
        let mut left = PREFACE;
        while !left.is_empty() {
            let mut bytes = [0; PREFACE.len()];
            let read = io.read(&mut bytes[..left.len()]).await;
            let arrived = match read {
                Ok(0) => return Err(CodecError::Closed),
                Ok(n) => &bytes[..n],
                Err(e) => return Err(CodecError::Io(e.to_string())),
            };
            left = left.strip_prefix(arrived).ok_or_else(|| {
                End::Server.violation(
                    MESSAGING,
                    "the connection does not begin with HTTP/2's preface".to_owned(),
                )
            })?;
        }
        Ok(Self {
            io,
            watch,
            preface: PREFACE,
        })
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = if this.preface.is_empty() {
            Pin::new(&mut this.io).poll_read(cx, buf)
        } else {
            let (now, later) = this.preface.split_at(this.preface.len().min(buf.remaining()));
            buf.put_slice(now);
            this.preface = later;
            Poll::Ready(Ok(()))
        };
        let arrived = &buf.filled()[before..];
        if !arrived.is_empty() && this.watch.received(arrived).is_err() {
            // The connection reads the verdict from `News`; `h2` only has to stop.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            this.watch.sent(&buf[..written]);
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut written)) = polled {
            for buf in bufs {
                let part = written.min(buf.len());
                this.watch.sent(&buf[..part]);
                written -= part;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
