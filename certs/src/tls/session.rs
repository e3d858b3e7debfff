//! One rustls connection and the traffic between it and the socket.

use std::cell::Cell;
use std::io::{self, BufRead as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{Connection, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handshake;
use super::peer::PeerInfo;

/// A connection's TLS state. Boxed by its owner: rustls's part alone is over a kilobyte.
pub(super) struct Session {
    pub(super) tls: Connection,
    /// Ciphertext that rustls would not take while its plaintext waits for a reader with a small buffer.
    backlog: Vec<u8>,
    pub(super) peer: Option<PeerInfo>,
    pub(super) peer_signature: Option<SignatureScheme>,
    pub(super) sni: Option<Box<str>>,
    /// Named in errors: which of our certificates the peer may have refused.
    pub(super) our_certificate: Option<Box<str>>,
    closed: bool,
}

/// One read takes one full record (2^14 bytes, RFC 8446 section 5.2, and up to 256 of expansion and header), where
/// rustls by itself would read 4 KB at a time.
const READ: usize = (16 << 10) + 512;

thread_local! {
    /// Ciphertext on its way from a socket to rustls: one buffer per worker instead of one per connection. Taken while
    /// in use, so that TLS inside TLS finds it empty and makes another.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads what the socket has, up to one record, and hands it to `take`, which may leave bytes over only by keeping
/// them itself. An empty slice is the end of the stream.
pub(super) fn poll_receive<IO: AsyncRead + Unpin, T>(
    io: &mut IO,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut scratch = SCRATCH.take();
    scratch.resize(READ, 0);
    let mut buf = ReadBuf::new(&mut scratch);
    let received = Pin::new(io).poll_read(cx, &mut buf).map_ok(|()| take(buf.filled()));
    SCRATCH.set(scratch);
    received
}

impl Session {
    pub(super) fn new(tls: Connection) -> Box<Self> {
        Box::new(Self {
            tls,
            backlog: Vec::new(),
            peer: None,
            peer_signature: None,
            sni: None,
            our_certificate: None,
            closed: false,
        })
    }

    /// Moves decrypted bytes into `buf`. WouldBlock: there are none; an empty success: the peer has closed.
    pub(super) fn read_plaintext(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut reader = self.tls.reader();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let chunk = match reader.fill_buf() {
                Err(_) if buf.filled().len() > before => break,
                outcome => outcome?,
            };
            let length = chunk.len().min(buf.remaining());
            if length == 0 {
                break;
            }
            buf.put_slice(&chunk[..length]);
            reader.consume(length);
        }
        Ok(())
    }

    /// Encrypts what fits rustls's send buffer (64 KB) and says how much that was.
    pub(super) fn write_plaintext(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.tls.writer().write_vectored(bufs)
    }

    /// Queues close_notify, once.
    pub(super) fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.tls.send_close_notify();
        }
    }

    pub(super) fn has_buffered_input(&mut self) -> bool {
        !self.backlog.is_empty() || self.tls.reader().fill_buf().is_ok_and(|chunk| !chunk.is_empty())
    }

    /// Gets more ciphertext and decrypts it. What rustls has to send of itself (the end of a handshake, a key update, an
    /// alert) is sent as far as the socket takes it, since the reader may be the only one to poll this stream.
    pub(super) fn poll_fill<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if self.tls.wants_write() {
            let _ = self.poll_send(io, cx)?;
        }
        let fed = if self.backlog.is_empty() {
            match poll_receive(io, cx, |bytes| self.feed_or_end(bytes)) {
                Poll::Pending => {
                    self.shrink();
                    return Poll::Pending;
                }
                Poll::Ready(received) => received?,
            }
        } else {
            let backlog = std::mem::take(&mut self.backlog);
            self.feed(&backlog)
        };
        if self.tls.wants_write() {
            let _ = self.poll_send(io, cx)?;
        }
        Poll::Ready(fed.map_err(|error| {
            let peer = self.peer.as_ref().map(|peer| &*peer.certificate);
            handshake::after(error, self.our_certificate.as_deref(), peer).into_io()
        }))
    }

    fn feed_or_end(&mut self, bytes: &[u8]) -> Result<(), rustls::Error> {
        if bytes.is_empty() {
            let _ = self.tls.read_tls(&mut io::empty());
        }
        self.feed(bytes)
    }

    /// Gives ciphertext to rustls, as much as there is.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            match self.tls.read_tls(&mut bytes) {
                // After close_notify nothing is read any more (RFC 8446 section 6.1).
                Ok(0) => return Ok(()),
                Ok(_) => self.tls.process_new_packets()?,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(rustls::Error::PeerSentOversizedRecord);
                }
                Err(_) => {
                    self.backlog = bytes.to_vec();
                    return Ok(());
                }
            };
        }
        Ok(())
    }

    /// Sends what rustls has ready. Ready only when all of it is with the socket.
    pub(super) fn poll_send<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let sent = self.tls.write_tls(&mut Socket {
                io: &mut *io,
                cx: &mut *cx,
            });
            if ready!(would_block_is_pending(sent))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// rustls resizes its record buffer only when asked to read: this asks, with nothing to read.
    fn shrink(&mut self) {
        let _ = self.tls.read_tls(&mut Nothing);
    }
}

/// A socket's writing half as `io::Write`.
pub(super) struct Socket<'a, 'b, IO> {
    pub(super) io: &'a mut IO,
    pub(super) cx: &'a mut Context<'b>,
}

impl<IO: AsyncWrite + Unpin> io::Write for Socket<'_, '_, IO> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        pending_is_would_block(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        pending_is_would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn pending_is_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn would_block_is_pending<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .field("sni", &self.sni)
            .finish_non_exhaustive()
    }
}
