//! One byte stream to a peer: TCP or Unix socket, with or without TLS, and bytes that inspectors already read.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use certs::HandshakeError;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::{address::Address, istio::exchange::Exchange, network};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// For people; none of a Unix socket's peer, which has none.
    pub fn peer_address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A socket whose first bytes may have been read already by a listener filter.
#[derive(Debug)]
pub struct Raw {
    socket: Socket,
    /// Read but not consumed by inspection; empty and without allocation for almost every connection's life.
    prefix: Bytes,
}

impl Raw {
    pub fn new(socket: Socket, prefix: Bytes) -> Self {
        Self { socket, prefix }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// Moves bytes that were read earlier into `buf`; false where there are none.
fn take_prefix(prefix: &mut Bytes, buf: &mut ReadBuf<'_>) -> bool {
    if prefix.is_empty() {
        return false;
    }
    let n = prefix.len().min(buf.remaining());
    buf.put_slice(&prefix[..n]);
    prefix.advance(n);
    if prefix.is_empty() {
        // Lets go of the allocation.
        *prefix = Bytes::new();
    }
    true
}

impl AsyncRead for Raw {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if take_prefix(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Socket::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// What codecs and the TCP proxy read and write: a socket, with TLS or without.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// Read already, by whoever had to look what the peer speaks.
    prefix: Bytes,
    /// Network filters that are to see what is read.
    filters: Option<Box<network::Running>>,
    /// Istio's metadata exchange, until it is over: it stands between the transport and the filters.
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Transport {
    Plain(Raw),
    Tls(Box<certs::TlsStream<Raw>>),
}

impl Stream {
    pub fn plain(raw: Raw) -> Self {
        Self {
            transport: Transport::Plain(raw),
            prefix: Bytes::new(),
            filters: None,
            exchange: None,
        }
    }

    pub fn tls(stream: certs::TlsStream<Raw>) -> Self {
        Self {
            transport: Transport::Tls(Box::new(stream)),
            prefix: Bytes::new(),
            filters: None,
            exchange: None,
        }
    }

    /// What is read from now on passes these.
    pub fn set_filters(&mut self, filters: Option<Box<network::Running>>) {
        self.filters = filters;
    }

    /// The exchange comes before every other byte of either direction.
    pub fn set_exchange(&mut self, exchange: Option<Box<Exchange>>) {
        self.exchange = exchange;
    }

    pub fn raw(&self) -> &Raw {
        match &self.transport {
            Transport::Plain(raw) => raw,
            Transport::Tls(tls) => tls.get_ref(),
        }
    }

    /// Whether the stream is nothing but its socket.
    pub fn may_sleep(&self) -> bool {
        let Transport::Plain(raw) = &self.transport else {
            return false;
        };
        self.prefix.is_empty() && raw.prefix.is_empty() && self.filters.is_none()
    }

    /// The socket alone, out of the runtime; `None` where there is more to the stream, or the runtime does not let go.
    pub fn sleep(self) -> Option<Asleep> {
        if !self.may_sleep() {
            return None;
        }
        match self.transport {
            Transport::Plain(raw) => match raw.socket {
                Socket::Tcp(socket) => socket.into_std().map(Asleep::Tcp).ok(),
                Socket::Unix(socket) => socket.into_std().map(Asleep::Unix).ok(),
            },
            Transport::Tls(_) => None,
        }
    }

    /// With TLS 1.3 a server's refusal of our certificate comes after our handshake, with the first read.
    #[cold]
    fn tell(&self, error: &io::Error) {
        let (Some(alert), Transport::Tls(tls)) = (HandshakeError::behind(error), &self.transport) else {
            return;
        };
        crate::tls::refused::say(alert, None, || {
            let address = tls.get_ref().socket().peer_address();
            address.map_or_else(|| "TLS".to_owned(), |address| format!("TLS with {address}"))
        });
    }

    /// Puts bytes back that were read; the next read delivers them first.
    pub fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }
}

/// A connected socket that nobody reads or writes for now: it costs its descriptor.
#[derive(Debug)]
pub enum Asleep {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Asleep {
    /// # Errors
    /// The runtime's, which cannot watch the socket.
    pub fn wake(self) -> io::Result<Stream> {
        let socket = match self {
            Self::Tcp(socket) => Socket::Tcp(TcpStream::from_std(socket)?),
            Self::Unix(socket) => Socket::Unix(UnixStream::from_std(socket)?),
        };
        Ok(Stream::plain(Raw::new(socket, Bytes::new())))
    }

    pub fn local_address(&self) -> Option<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok().map(Address::from),
            Self::Unix(_) => None,
        }
    }
}

impl AsRawFd for Asleep {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

/// Runs one poll on whichever transport it is.
macro_rules! either {
    ($stream:expr, $pinned:ident => $poll:expr) => {
        match &mut $stream.transport {
            Transport::Plain(s) => {
                let $pinned = Pin::new(s);
                $poll
            }
            Transport::Tls(s) => {
                let $pinned = Pin::new(&mut **s);
                $poll
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if take_prefix(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        if self.filters.is_some() {
            return self.poll_filtered(cx, buf);
        }
        let read = self.poll_own(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.tell(error);
        }
        read
    }
}

impl Stream {
    /// Reads what is the connection's own, after the exchange.
    fn poll_own(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.exchange.is_none() {
            return either!(self, s => s.poll_read(cx, buf));
        }
        // Whoever only reads must send too, or the peer waits. What cannot be sent yet wakes the task.
        if let Poll::Ready(Err(e)) = self.poll_exchange_out(cx) {
            return Poll::Ready(Err(e));
        }
        while let Some(exchange) = &mut self.exchange {
            if exchange.is_settled() {
                if exchange.came.is_empty() {
                    self.exchange_over();
                    return either!(self, s => s.poll_read(cx, buf));
                }
                let n = exchange.came.len().min(buf.remaining());
                buf.put_slice(&exchange.came.split_to(n));
                self.exchange_over();
                return Poll::Ready(Ok(()));
            }
            let start = buf.filled().len();
            std::task::ready!(either!(self, s => s.poll_read(cx, buf)))?;
            let Some(exchange) = &mut self.exchange else { break };
            let came = &buf.filled()[start..];
            exchange.came.extend_from_slice(came);
            let end = came.is_empty();
            buf.set_filled(start);
            exchange.look(end)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the exchange has to send before all else.
    fn poll_exchange_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(mut out) = self
            .exchange
            .as_ref()
            .map(|e| e.out.clone())
            .filter(|out| !out.is_empty())
        {
            let n = std::task::ready!(either!(self, s => s.poll_write(cx, &out)))?;
            out.advance(n);
            let all = out.is_empty();
            if let Some(exchange) = &mut self.exchange {
                exchange.out = out;
            }
            if all {
                // TLS may hold a record back; a flush that has to wait is the next write's.
                let _ = either!(self, s => s.poll_flush(cx))?;
            }
        }
        self.exchange_over();
        Poll::Ready(Ok(()))
    }

    fn exchange_over(&mut self) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.is_over()) {
            self.exchange = None;
        }
    }

    /// Reads, and delivers what the network filters let pass.
    fn poll_filtered(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut filters) = self.filters.take() else {
            return Poll::Ready(Ok(()));
        };
        if buf.remaining() == 0 {
            self.filters = Some(filters);
            return Poll::Ready(Ok(()));
        }
        let mut passed = BytesMut::new();
        let end = loop {
            let start = buf.filled().len();
            let read = self.poll_own(cx, buf);
            if read.is_pending() {
                self.filters = Some(filters);
                return Poll::Pending;
            }
            std::task::ready!(read)?;
            let end = buf.filled().len() == start;
            let verdict = filters.data(&buf.filled()[start..], end, &mut passed);
            buf.set_filled(start);
            if verdict.is_err() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if end || !passed.is_empty() {
                break end;
            }
        };
        self.filters = Some(filters).filter(|filters| !end && !filters.is_done());
        self.prefix = passed.freeze();
        take_prefix(&mut self.prefix, buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.exchange.is_some() {
            std::task::ready!(self.poll_exchange_out(cx))?;
        }
        either!(self, s => s.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_some() {
            std::task::ready!(self.poll_exchange_out(cx))?;
        }
        either!(self, s => s.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.is_some() {
            std::task::ready!(self.poll_exchange_out(cx))?;
        }
        either!(self, s => s.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => s.poll_shutdown(cx))
    }
}
