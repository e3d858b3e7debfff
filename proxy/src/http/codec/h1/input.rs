//! Bytes received and not yet decoded. Without allocation while empty.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::super::limits::READ_SIZE;

thread_local! {
    /// Where every connection of this worker reads to. Bytes are copied out once, exactly as many as came.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: BytesMut,
    /// Where the search for the end of a head goes on, so that a head that trickles in is not searched from its start each
    /// time.
    searched: usize,
    /// Bytes that were ever decoded.
    decoded: u64,
}

impl Input {
    /// Reads once. `Ready(0)` is the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(io).poll_read(cx, &mut read))?;
            self.bytes.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `n` bytes, without copying them.
    pub(super) fn take(&mut self, n: usize) -> Bytes {
        self.searched = 0;
        self.decoded += n as u64;
        if n == self.bytes.len() {
            std::mem::take(&mut self.bytes).freeze()
        } else {
            self.bytes.split_to(n).freeze()
        }
    }

    pub(super) fn skip(&mut self, n: usize) {
        self.searched = 0;
        self.decoded += n as u64;
        self.bytes.advance(n);
        if self.bytes.is_empty() {
            // An idle connection must not hold the buffer of its last message.
            self.bytes = BytesMut::new();
        }
    }

    /// Bytes that were ever decoded.
    pub(super) fn decoded(&self) -> u64 {
        self.decoded
    }

    pub(super) fn into_inner(self) -> BytesMut {
        self.bytes
    }

    /// The length of the head (or trailer block) at the start: up to and with its empty line. None while incomplete.
    pub(super) fn head_len(&mut self) -> Option<usize> {
        for at in memchr::memchr_iter(b'\n', &self.bytes[self.searched..]) {
            let line = self.searched + at + 1;
            match self.bytes[line..] {
                [b'\n', ..] => return Some(line + 1),
                [b'\r', b'\n', ..] => return Some(line + 2),
                // Undecided: the next search starts at this line's end again.
                [] | [b'\r'] => {
                    self.searched = line - 1;
                    return None;
                }
                _ => {}
            }
        }
        self.searched = self.bytes.len();
        None
    }
}
