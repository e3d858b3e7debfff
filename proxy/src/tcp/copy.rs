//! Copies bytes both ways between two streams, with half-close, until both directions ended or a limit is reached.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::timer::Timer;

/// What one read takes at most; a bulk transfer's reads fill it.
const READ_SIZE: usize = 256 * 1024;

thread_local! {
    /// Where every connection of this worker reads to. What the other side does not take at once is copied out.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lets go of the buffer that the calling thread keeps.
pub fn forget() {
    SCRATCH.take();
}

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
    let mut timer = Timer::default();
    std::future::poll_fn(|cx| {
        let before = (copied.up.get(), copied.down.get());
        let one = upward.poll(cx, down, up, &copied.up);
        let two = downward.poll(cx, up, down, &copied.down);
        let moved = before != (copied.up.get(), copied.down.get());
        if moved {
            last_activity = Instant::now();
        }
        match (one, two) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(Ended::Failed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Closed),
            _ => {}
        }
        if moved && timer.wakes_after(last_activity) {
            return Poll::Pending;
        }
        let Some(next) = limits.next(last_activity) else {
            return Poll::Pending;
        };
        ready!(timer.poll(next, cx));
        Poll::Ready(if limits.close_at == Some(next) {
            Ended::Deadline
        } else {
            Ended::Idle
        })
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

/// One direction.
#[derive(Default)]
struct Direction {
    /// What was read, and the other side has not taken yet.
    left: Bytes,
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
            if !self.left.is_empty() {
                let taken = write(cx, to, &self.left, count)?;
                self.left.advance(taken);
                if !self.left.is_empty() {
                    return Poll::Pending;
                }
                self.left = Bytes::new();
            }
            if self.read_done {
                if !self.shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.poll_pass(cx, from, to, count)?.is_pending() {
                // TLS writers may hold a record back until they are flushed.
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }

    /// Reads once, and passes on what the other side takes.
    fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        count: &Cell<u64>,
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                *scratch = vec![0; READ_SIZE];
            }
            let mut read = ReadBuf::new(scratch);
            if Pin::new(from).poll_read(cx, &mut read)?.is_pending() {
                return Ok(Poll::Pending);
            }
            let came = read.filled();
            self.read_done = came.is_empty();
            let taken = write(cx, to, came, count)?;
            self.left = Bytes::copy_from_slice(&came[taken..]);
            Ok(Poll::Ready(()))
        })
    }
}

/// Writes as much as `to` takes; where that is not all, the task is woken when it takes more.
fn write<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    to: &mut W,
    bytes: &[u8],
    count: &Cell<u64>,
) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len()
        && let Poll::Ready(n) = Pin::new(&mut *to).poll_write(cx, &bytes[taken..])?
    {
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        taken += n;
        count.set(count.get() + n as u64);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A copy between two pipes, and what `peers` do at its ends.
    fn run<T>(limits: Limits, peers: impl AsyncFnOnce(DuplexStream, DuplexStream) -> T) -> (Ended, T, Copied) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let (client, mut down) = duplex(1000);
            let (mut up, server) = duplex(1000);
            let copied = Copied::default();
            let copy = async {
                let ended = both_ways(&mut down, &mut up, limits, &copied).await;
                drop((down, up));
                ended
            };
            let (ended, told) = tokio::join!(copy, peers(client, server));
            (ended, told, copied.clone())
        })
    }

    #[test]
    fn what_the_other_side_takes_slowly_arrives_whole_and_each_way_ends_by_itself() {
        let sent: Vec<u8> = (0..3 * READ_SIZE as u32).flat_map(u32::to_be_bytes).collect();
        let (ended, (), copied) = run(Limits::default(), async |mut client, mut server| {
            let mut came = Vec::new();
            let (wrote, read) = tokio::join!(
                async {
                    client.write_all(&sent).await?;
                    client.shutdown().await
                },
                server.read_to_end(&mut came)
            );
            wrote.unwrap();
            read.unwrap();
            assert!(came == sent);
            server.write_all(b"answer").await.unwrap();
            drop(server);
            assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), "answer".len());
        });
        assert_eq!(ended, Ended::Closed);
        assert_eq!(
            (copied.up.get(), copied.down.get()),
            (sent.len() as u64, "answer".len() as u64)
        );
    }

    #[test]
    fn idle_counts_from_the_last_byte() {
        // Tenfold what the byte may take to come on a busy machine.
        let idle = Duration::from_millis(400);
        let limits = Limits {
            idle: Some(idle),
            ..Limits::default()
        };
        let (ended, silence, _) = run(limits, async |mut client, mut server| {
            tokio::time::sleep(idle / 20).await;
            let last = Instant::now();
            client.write_all(b"x").await.unwrap();
            server.read_to_end(&mut Vec::new()).await.unwrap();
            last.elapsed()
        });
        assert_eq!(ended, Ended::Idle);
        assert!(silence >= idle, "{silence:?}");
    }

    #[test]
    fn the_deadline_comes_through_bytes_that_never_stop() {
        let limits = Limits {
            idle: Some(Duration::from_secs(3600)),
            close_at: Some(Instant::now() + Duration::from_millis(30)),
        };
        let (ended, (), _) = run(limits, async |mut client, mut server| {
            let mut byte = [0];
            while client.write_all(b"x").await.is_ok() && server.read_exact(&mut byte).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(ended, Ended::Deadline);
    }
}
