//! An HTTP/1.1 origin: one thread, one loop, prepared bytes.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::Context as _;
use memchr::memmem;

use crate::poll::{Interest, Poll};

const LISTENER: u64 = u64::MAX;
/// One read's worth.
const SCRATCH: usize = 64 * 1024;
/// Nothing needs waking: sockets do that.
const IDLE: Duration = Duration::from_secs(1);

struct Connection {
    stream: TcpStream,
    /// A head that has not arrived whole.
    partial: Vec<u8>,
    /// Bytes of a request's body still to come.
    body: usize,
    /// What is being answered, and how much of it is out.
    answer: Option<(usize, usize)>,
}

impl Connection {
    /// Not before the request is here whole: a client that had its answer early would send the next one behind the rest.
    fn is_answering(&self) -> bool {
        self.body == 0 && self.answer.is_some()
    }
}

struct Origin {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    answers: HashMap<usize, Vec<u8>>,
    next: u64,
}

pub fn start() -> anyhow::Result<SocketAddr> {
    let listener = crate::listen()?;
    let address = listener.local_addr()?;
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let mut origin = Origin {
        poll,
        listener,
        connections: HashMap::new(),
        answers: HashMap::new(),
        next: 0,
    };
    std::thread::Builder::new()
        .name("origin-http1".into())
        .spawn(move || origin.run())
        .context("the origin's thread")?;
    Ok(address)
}

impl Origin {
    fn run(&mut self) {
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        loop {
            ready.clear();
            if let Err(error) = self.poll.wait(IDLE, &mut ready) {
                eprintln!("origin: {error}");
                return;
            }
            for &key in &ready {
                if key == LISTENER {
                    self.accept();
                } else if self.serve(key, &mut scratch).is_err() {
                    // Closing takes the socket out of the poll.
                    self.connections.remove(&key);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let key = self.next;
            self.next += 1;
            let watched = stream
                .set_nonblocking(true)
                .and_then(|()| stream.set_nodelay(true))
                .and_then(|()| self.poll.add(&stream, key, Interest::Read));
            if watched.is_ok() {
                let connection = Connection {
                    stream,
                    partial: Vec::new(),
                    body: 0,
                    answer: None,
                };
                self.connections.insert(key, connection);
            }
        }
    }

    fn serve(&mut self, key: u64, scratch: &mut [u8]) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        if connection.is_answering() {
            return write(connection, &self.answers, &self.poll, key);
        }
        let count = match connection.stream.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut bytes = &scratch[..count];
        let joined;
        if !connection.partial.is_empty() {
            connection.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut connection.partial);
            bytes = &joined;
        }
        if connection.body > 0 {
            let taken = connection.body.min(bytes.len());
            connection.body -= taken;
            bytes = &bytes[taken..];
        } else if let Some(head) = memmem::find(bytes, b"\r\n\r\n").map(|at| &bytes[..at + 4]) {
            let rest = bytes.len() - head.len();
            let body = crate::http1::content_length(head).unwrap_or(0);
            connection.body = body.saturating_sub(rest);
            let size = wanted_size(head);
            self.answers.entry(size).or_insert_with(|| answer(size));
            connection.answer = Some((size, 0));
            bytes = &[];
        }
        connection.partial.extend_from_slice(bytes);
        if connection.is_answering() {
            return write(connection, &self.answers, &self.poll, key);
        }
        Ok(())
    }
}

fn write(connection: &mut Connection, answers: &HashMap<usize, Vec<u8>>, poll: &Poll, key: u64) -> io::Result<()> {
    let Some((size, sent)) = &mut connection.answer else {
        return Ok(());
    };
    let bytes = &answers[size];
    let waited = *sent > 0;
    while *sent < bytes.len() {
        match connection.stream.write(&bytes[*sent..]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *sent = (*sent).max(1);
                return poll.change(&connection.stream, key, Interest::Write);
            }
            Err(error) => return Err(error),
        }
    }
    connection.answer = None;
    if waited {
        poll.change(&connection.stream, key, Interest::Read)?;
    }
    Ok(())
}

/// `GET /N HTTP/1.1`: N bytes are wanted.
fn wanted_size(head: &[u8]) -> usize {
    head.iter()
        .skip_while(|&&b| b != b'/')
        .skip(1)
        .take_while(|b| b.is_ascii_digit())
        .fold(0, |n: usize, b| {
            n.saturating_mul(10).saturating_add(usize::from(b - b'0'))
        })
}

fn answer(size: usize) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n")
            .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}
