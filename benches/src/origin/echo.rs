//! A TCP origin that sends back what it gets.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;

use crate::poll::{Interest, Poll};

const LISTENER: u64 = u64::MAX;
const SCRATCH: usize = 256 * 1024;
const IDLE: Duration = Duration::from_secs(1);

struct Connection {
    stream: TcpStream,
    /// What did not fit into the socket; nothing is read before it is out.
    backlog: Vec<u8>,
}

pub fn start() -> anyhow::Result<SocketAddr> {
    let listener = crate::listen()?;
    let address = listener.local_addr()?;
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let run = move || {
        let mut connections = HashMap::new();
        let (mut scratch, mut ready, mut next) = (vec![0; SCRATCH], Vec::new(), 0);
        loop {
            ready.clear();
            if let Err(error) = poll.wait(IDLE, &mut ready) {
                eprintln!("origin: {error}");
                return;
            }
            for &key in &ready {
                if key == LISTENER {
                    while let Ok((stream, _)) = listener.accept() {
                        let watched = stream
                            .set_nonblocking(true)
                            .and_then(|()| stream.set_nodelay(true))
                            .and_then(|()| poll.add(&stream, next, Interest::Read));
                        if watched.is_ok() {
                            let backlog = Vec::new();
                            connections.insert(next, Connection { stream, backlog });
                            next += 1;
                        }
                    }
                } else if let Some(connection) = connections.get_mut(&key)
                    && echo(connection, &poll, key, &mut scratch).is_err()
                {
                    connections.remove(&key);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("origin-echo".into())
        .spawn(run)
        .context("the origin's thread")?;
    Ok(address)
}

fn echo(connection: &mut Connection, poll: &Poll, key: u64, scratch: &mut [u8]) -> io::Result<()> {
    if !connection.backlog.is_empty() {
        let sent = send(&mut connection.stream, &connection.backlog)?;
        connection.backlog.drain(..sent);
        if connection.backlog.is_empty() {
            poll.change(&connection.stream, key, Interest::Read)?;
        }
        return Ok(());
    }
    let count = match connection.stream.read(scratch) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let sent = send(&mut connection.stream, &scratch[..count])?;
    if sent < count {
        connection.backlog.extend_from_slice(&scratch[sent..count]);
        poll.change(&connection.stream, key, Interest::Write)?;
    }
    Ok(())
}

fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
