//! Copies bytes both ways between two streams, with half-close, until both directions ended or a limit is reached.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First buffer of a direction: most exchanges are small, and idle tunnels are many.
const SMALL: usize = 1024;
/// After a read that filled the small one: a TLS record's worth.
const MEDIUM: usize = 16 * 1024;
/// After a read that filled the medium one: bulk transfer.
const LARGE: usize = 256 * 1024;

/// When to stop although both sides are alive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub idle: Option<Duration>,
    pub close_at: Option<Instant>,
}

/// Bytes carried so far; kept by the caller, so that they are known however the copy ends.
#[derive(Debug, Clone, Default)]
pub struct Copied {
    pub up: Cell<u64>,
    pub down: Cell<u64>,
}

/// Why the copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both directions were closed in order.
    Closed,
    /// One side failed.
    Failed,
    Idle,
    Deadline,
    /// The listener's drain time was over.
    Drained,
    /// The upstream host was ejected.
    HostFailed,
}

/// Copies until both ends are done.
pub async fn both_ways<A, B>(down: &mut A, up: &mut B, limits: Limits, copied: &Copied) -> Ended
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut upward = Direction::default();
    let mut downward = Direction::default();
    let mut last_activity = Instant::now();
    let mut timer = pin!(limits.next(last_activity).map(|at| tokio::time::sleep_until(at.into())));
    std::future::poll_fn(|cx| {
        let before = (copied.up.get(), copied.down.get());
        let one = upward.poll(cx, down, up, &copied.up);
        let two = downward.poll(cx, up, down, &copied.down);
        if before != (copied.up.get(), copied.down.get()) {
            last_activity = Instant::now();
        }
        match (one, two) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(Ended::Failed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Closed),
            _ => {}
        }
        while let Some(mut sleep) = timer.as_mut().as_pin_mut() {
            if sleep.as_mut().poll(cx).is_pending() {
                break;
            }
            let now = Instant::now();
            if limits.close_at.is_some_and(|at| now >= at) {
                return Poll::Ready(Ended::Deadline);
            }
            match limits.next(last_activity) {
                // Bytes moved since the timer was set.
                Some(at) if at > now => sleep.reset(at.into()),
                _ => return Poll::Ready(Ended::Idle),
            }
        }
        Poll::Pending
    })
    .await
}

impl Limits {
    fn next(&self, last_activity: Instant) -> Option<Instant> {
        [self.idle.map(|d| last_activity + d), self.close_at]
            .into_iter()
            .flatten()
            .min()
    }
}

/// One direction: a buffer that exists only while bytes wait in it.
#[derive(Default)]
struct Direction {
    buffer: Vec<u8>,
    at: usize,
    size: usize,
    read_done: bool,
    shut: bool,
}

impl Direction {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W, count: &Cell<u64>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.at < self.buffer.len() {
                match Pin::new(&mut *to).poll_write(cx, &self.buffer[self.at..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => {
                        self.at += n;
                        count.set(count.get() + n as u64);
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.read_done {
                if !self.shut {
                    std::task::ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.poll_read(cx, from)?.is_pending() {
                // TLS writers may hold a record back until they are flushed.
                std::task::ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }

    fn poll_read<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) -> io::Result<Poll<()>> {
        let size = self.size.max(SMALL);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.at = 0;
        buffer.resize(size, 0);
        let mut read = ReadBuf::new(&mut buffer);
        match Pin::new(from).poll_read(cx, &mut read) {
            Poll::Pending => {
                // Nothing is held while nothing comes; the next burst starts small again.
                self.size = SMALL;
                Ok(Poll::Pending)
            }
            Poll::Ready(Err(e)) => Err(e),
            Poll::Ready(Ok(())) => {
                let n = read.filled().len();
                buffer.truncate(n);
                self.read_done = n == 0;
                if n == size {
                    self.size = if size == SMALL { MEDIUM } else { LARGE };
                }
                self.buffer = buffer;
                Ok(Poll::Ready(()))
            }
        }
    }
}
