//! Bytes to be written. The buffer is borrowed from the worker's pool while there are any.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::super::limits::{COPY_BELOW, COPY_BELOW_FLAT, KEPT_OUTPUT_SIZE, KEPT_OUTPUTS};

/// Slices handed to one vectored write: a head, its data and the framing between them; the kernel takes up to 1,024.
const SLICES: usize = 16;

thread_local! {
    #[expect(clippy::vec_box, reason = "a connection holds the box")]
    static POOL: RefCell<Vec<Box<Queue>>> = const { RefCell::new(Vec::new()) };
}

/// What one connection has to write; sixteen bytes while it has nothing.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: Option<Box<Queue>>,
    /// Bytes that were ever queued.
    total: u64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Heads, framing and short data, in order.
    small: Vec<u8>,
    /// Of `small`.
    written: usize,
    large: VecDeque<Large>,
    /// Of `small` and `large` together, not yet written.
    left: usize,
    flat: bool,
}

/// Data written from where it lies.
#[derive(Debug)]
struct Large {
    /// The position in `small` before which this data stands.
    at: usize,
    data: Bytes,
}

/// Lets go of the buffers that the calling thread keeps.
pub(super) fn forget() {
    POOL.take();
}

impl Output {
    /// Bytes queued.
    pub(super) fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |q| q.left)
    }

    /// Bytes that were ever queued.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Lets `write` append to the buffer. `vectored`: whether the stream writes vectored.
    pub(super) fn append(&mut self, vectored: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue(vectored);
        let before = queue.small.len();
        write(&mut queue.small);
        let added = queue.small.len() - before;
        queue.left += added;
        self.total += added as u64;
    }

    pub(super) fn push(&mut self, vectored: bool, data: Bytes) {
        self.total += data.len() as u64;
        let queue = self.queue(vectored);
        queue.left += data.len();
        if data.len() < if queue.flat { COPY_BELOW_FLAT } else { COPY_BELOW } {
            queue.small.extend_from_slice(&data);
        } else {
            queue.large.push_back(Large {
                at: queue.small.len(),
                data,
            });
        }
    }

    /// Writes everything queued, then gives the buffer back.
    pub(super) fn poll_flush(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(queue) = &mut self.queue else {
            return Poll::Ready(Ok(()));
        };
        while queue.left > 0 {
            let n = ready!(queue.poll_write(io, cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queue.advance(n);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        if let Some(queue) = self.queue.take() {
            queue.give_back();
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, vectored: bool) -> &mut Queue {
        self.queue.get_or_insert_with(|| {
            let mut queue = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
            queue.flat = !vectored;
            queue
        })
    }
}

impl Queue {
    fn poll_write(&self, io: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.large.is_empty() {
            return Pin::new(io).poll_write(cx, &self.small[self.written..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let mut from = self.written;
        for large in &self.large {
            if large.at > from {
                slices[used] = IoSlice::new(&self.small[from..large.at]);
                used += 1;
                from = large.at;
            }
            slices[used] = IoSlice::new(&large.data);
            used += 1;
            // Two more may be needed for the next round, and one for the rest.
            if used + 2 >= SLICES {
                return Pin::new(io).poll_write_vectored(cx, &slices[..used]);
            }
        }
        if from < self.small.len() {
            slices[used] = IoSlice::new(&self.small[from..]);
            used += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..used])
    }

    fn advance(&mut self, mut n: usize) {
        self.left -= n;
        while n > 0 {
            let small_end = self.large.front().map_or(self.small.len(), |l| l.at);
            let small = n.min(small_end - self.written);
            self.written += small;
            n -= small;
            let Some(large) = self.large.front_mut().filter(|_| n > 0) else {
                continue;
            };
            if n < large.data.len() {
                bytes::Buf::advance(&mut large.data, n);
                return;
            }
            n -= large.data.len();
            self.large.pop_front();
        }
        if self.large.is_empty() && self.written == self.small.len() {
            self.small.clear();
            self.written = 0;
        }
    }

    fn give_back(mut self: Box<Self>) {
        if self.small.capacity() > KEPT_OUTPUT_SIZE || self.large.capacity() > KEPT_OUTPUTS {
            return;
        }
        self.small.clear();
        self.written = 0;
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT_OUTPUTS {
                pool.push(self);
            }
        });
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(mut queue) = self.queue.take() {
            queue.large.clear();
            queue.left = 0;
            queue.give_back();
        }
    }
}
