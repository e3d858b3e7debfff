//! Requests and answers over many plain connections: HTTP/1.1, or bytes that a TCP origin sends back.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZeroU64,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use memchr::memmem;

use super::{Outcome, Pace};
use crate::poll::{Interest, Poll};

/// One request, and how the end of its answer is known.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: Vec<u8>,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// A 200 with `content-length`.
    Http,
    /// That many bytes.
    Bytes(usize),
}

impl Exchange {
    /// `GET /size`, as a client with a few ordinary headers sends it.
    pub fn get(size: usize) -> Self {
        Self {
            request: format!("GET /{size} HTTP/1.1\r\nhost: origin.test\r\nuser-agent: load\r\naccept: */*\r\n\r\n")
                .into_bytes(),
            answer: Answer::Http,
        }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let end = self.request.len() - "\r\n".len();
        let line = format!("{name}: {value}\r\n");
        self.request.splice(end..end, line.into_bytes());
        self
    }

    pub fn post(size: usize) -> Self {
        let mut request =
            format!("POST /0 HTTP/1.1\r\nhost: origin.test\r\nuser-agent: load\r\ncontent-length: {size}\r\n\r\n")
                .into_bytes();
        request.resize(request.len() + size, b'x');
        Self {
            request,
            answer: Answer::Http,
        }
    }

    pub fn echo(size: usize) -> Self {
        Self {
            request: vec![b'x'; size],
            answer: Answer::Bytes(size),
        }
    }
}

const SCRATCH: usize = 256 * 1024;
/// An answer that takes longer ends the run: something is broken, not slow.
const LONGEST: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    /// When the request in flight was due; None while idle.
    due: Option<Instant>,
    /// Bytes of the request that are out.
    sent: usize,
    /// A head that has not arrived whole.
    partial: Vec<u8>,
    /// Bytes of the answer still to come; None before its head is known.
    left: Option<usize>,
    writing: bool,
}

/// Open connections and what is sent over them.
pub struct Client {
    poll: Poll,
    connections: Vec<Connection>,
    exchange: Exchange,
    scratch: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr, connections: usize, exchange: Exchange) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let connect = |key: usize| {
            let stream = TcpStream::connect(address).with_context(|| format!("connection {key} to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            poll.add(&stream, key as u64, Interest::Read)?;
            anyhow::Ok(Connection {
                stream,
                due: None,
                sent: 0,
                partial: Vec::new(),
                left: None,
                writing: false,
            })
        };
        let connections = (0..connections).map(connect).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            poll,
            connections,
            exchange,
            scratch: vec![0; SCRATCH],
        })
    }

    /// Runs for `duration`, then waits for the answers that are still due.
    pub fn run(&mut self, pace: Pace, duration: Duration) -> anyhow::Result<Outcome> {
        // Else the kernel may wake this thread 50 us late, which would count as latency.
        rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
        let mut outcome = Outcome::default();
        let start = Instant::now();
        let end = start + duration;
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let (mut next, mut ready) = (0_u64, Vec::new());
        loop {
            let now = Instant::now();
            // When the next request is due, while one is.
            let due = |next: u64| match pace {
                Pace::Saturate => now,
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(next as f64 / rate),
            };
            while due(next) <= now
                && due(next) < end
                && let Some(key) = idle.pop_front()
            {
                self.send(key, due(next))?;
                next += 1;
            }
            if due(next) >= end && idle.len() == self.connections.len() {
                outcome.elapsed = start.elapsed();
                return Ok(outcome);
            }
            if now > end + LONGEST {
                bail!("{} answers are missing", self.connections.len() - idle.len());
            }
            let wait = if idle.is_empty() {
                LONGEST
            } else {
                due(next).saturating_duration_since(now)
            };
            ready.clear();
            self.poll.wait(wait, &mut ready)?;
            for &key in &ready {
                let key = key as usize;
                if self.ready(key)? {
                    let connection = &mut self.connections[key];
                    if let Some(due) = connection.due.take() {
                        outcome.latencies.record(due.elapsed());
                    }
                    idle.push_back(key);
                }
            }
        }
    }

    fn send(&mut self, key: usize, due: Instant) -> anyhow::Result<()> {
        let connection = &mut self.connections[key];
        connection.due = Some(due);
        connection.sent = 0;
        connection.left = match self.exchange.answer {
            Answer::Http => None,
            Answer::Bytes(count) => Some(count),
        };
        self.write(key)
    }

    fn write(&mut self, key: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[key];
        while connection.sent < self.exchange.request.len() {
            match connection.stream.write(&self.exchange.request[connection.sent..]) {
                Ok(count) => connection.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !connection.writing {
                        connection.writing = true;
                        self.poll.change(&connection.stream, key as u64, Interest::Both)?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        if connection.writing {
            connection.writing = false;
            self.poll.change(&connection.stream, key as u64, Interest::Read)?;
        }
        Ok(())
    }

    /// Moves what can be moved; true when the answer is complete.
    fn ready(&mut self, key: usize) -> anyhow::Result<bool> {
        if self.connections[key].writing {
            self.write(key)?;
        }
        let connection = &mut self.connections[key];
        let count = match connection.stream.read(&mut self.scratch) {
            Ok(0) => bail!("the proxy closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("reading an answer"),
        };
        if let Some(left) = &mut connection.left {
            *left = left.checked_sub(count).context("more came than was asked for")?;
            return Ok(*left == 0);
        }
        let bytes = &self.scratch[..count];
        let found = if connection.partial.is_empty() {
            head(bytes)?
        } else {
            connection.partial.extend_from_slice(bytes);
            head(&connection.partial)?
        };
        let all = connection.partial.len().max(count);
        match found {
            None if connection.partial.is_empty() => connection.partial.extend_from_slice(bytes),
            None => {}
            Some(whole) => {
                connection.partial.clear();
                connection.left = Some(whole.checked_sub(all).context("more came than was asked for")?);
            }
        }
        Ok(connection.left == Some(0))
    }
}

/// The length of an answer, head and body, once its head is whole.
pub(super) fn head(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    if !bytes.starts_with(b"HTTP/1.1 200") {
        bail!("the proxy answered {}", String::from_utf8_lossy(&bytes[..end.min(200)]));
    }
    let body = crate::http1::content_length(&bytes[..end]).context("an answer without content-length")?;
    Ok(Some(end + body))
}
