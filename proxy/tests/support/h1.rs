//! An HTTP/1.1 client that sends exact bytes and tells what came back and what became of the connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::message::{self, Kind, Message};
use super::upstream::{HARNESS_PATH, Recorder};

/// Long enough for a loaded machine; an exchange that is not over by then hangs.
const LIMIT: Duration = Duration::from_secs(8);

/// One thing that the client does.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Sleep(Duration),
    /// Waits until these bytes have come.
    Await(&'static str),
    /// Waits until the proxy closes.
    AwaitEnd,
    /// Waits until the upstreams have seen so many requests.
    AwaitUpstream(usize),
    /// Shuts its sending side.
    Fin,
    /// RST.
    Abort,
}

/// What became of the connection after the last response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The proxy took and answered another request on it.
    Kept,
    Closed,
    /// Still open, and no further request is answered.
    Stuck,
    /// Open as a tunnel.
    Tunnel,
    /// The client ended it.
    Left,
}

/// What the client saw.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Informational responses among them.
    pub responses: Vec<Message>,
    /// What followed the last response.
    pub rest: Vec<u8>,
    pub connection: Connection,
    /// The client's own port, which shows in forwarded headers.
    pub port: u16,
}

/// Carries out the steps and reads one final response per entry of `kinds`.
pub async fn exchange(address: SocketAddr, steps: &[Step], kinds: &[Kind], recorder: &Recorder) -> Exchange {
    let stream = TcpStream::connect(address).await.expect("a listening proxy");
    let _ = stream.set_nodelay(true);
    let port = stream.local_addr().map_or(0, |local| local.port());
    let (read, mut write) = stream.into_split();
    let inbox = Arc::new(Inbox::default());
    let reader = tokio::spawn(fill(read, inbox.clone()));
    let left = carry_out(steps, &mut write, &inbox, recorder).await;
    let wait = if left { Duration::ZERO } else { LIMIT };
    inbox
        .wait(wait, |bytes, eof| eof || responses(bytes, kinds, eof).2)
        .await;
    let (responses_seen, used, done) = inbox.look(|bytes, eof| responses(bytes, kinds, eof));
    let connection = if left {
        Connection::Left
    } else {
        fate(&mut write, &inbox, responses_seen.last(), done).await
    };
    let rest = inbox.look(|bytes, _| bytes[used..].to_vec());
    reader.abort();
    let rest = if connection == Connection::Kept {
        Vec::new()
    } else {
        rest
    };
    Exchange {
        responses: responses_seen,
        rest,
        connection,
        port,
    }
}

/// One request on a connection of its own, closed by the client; its response.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Option<Message> {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut bytes = Vec::new();
        loop {
            let eof = stream.read_buf(&mut bytes).await.ok()? == 0;
            match Message::parse(&bytes, Kind::Response, eof) {
                Some((message, _)) if message.complete => return Some(message),
                _ if eof => return None,
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, attempt).await.ok()?
}

/// The responses so far, the bytes they take, and whether all that were asked for are complete.
fn responses(bytes: &[u8], kinds: &[Kind], eof: bool) -> (Vec<Message>, usize, bool) {
    let (mut seen, mut at, mut finals) = (Vec::new(), 0, 0);
    while finals < kinds.len() {
        let Some((message, used)) = Message::parse(&bytes[at..], kinds[finals], eof) else {
            break;
        };
        at += used;
        let complete = message.complete;
        if message.status() == 101 || !(100..200).contains(&message.status()) {
            finals += 1;
        }
        seen.push(message);
        if !complete {
            return (seen, at, false);
        }
    }
    (seen, at, finals == kinds.len())
}

/// Whether the client left the connection.
async fn carry_out(steps: &[Step], write: &mut OwnedWriteHalf, inbox: &Inbox, recorder: &Recorder) -> bool {
    for step in steps {
        match step {
            // The proxy may have answered and closed already: that shows in what was read.
            Step::Send(bytes) => {
                let _ = tokio::time::timeout(LIMIT, write.write_all(bytes)).await;
            }
            Step::Sleep(time) => tokio::time::sleep(*time).await,
            Step::Await(text) => {
                inbox
                    .wait(LIMIT, |bytes, eof| {
                        eof || message::find(bytes, text.as_bytes()).is_some()
                    })
                    .await
            }
            Step::AwaitEnd => inbox.wait(LIMIT, |_, eof| eof).await,
            Step::AwaitUpstream(count) => {
                recorder.wait(LIMIT, |received| received.len() >= *count).await;
            }
            Step::Fin => {
                let _ = write.shutdown().await;
            }
            Step::Abort => {
                let _ = SockRef::from(write.as_ref()).set_linger(Some(Duration::ZERO));
                return true;
            }
        }
    }
    false
}

async fn fate(write: &mut OwnedWriteHalf, inbox: &Inbox, last: Option<&Message>, done: bool) -> Connection {
    if inbox.look(|_, eof| eof) {
        return Connection::Closed;
    }
    let announced = last
        .and_then(|last| last.header("connection"))
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if last.is_some_and(|last| last.status() == 101) && !announced {
        return Connection::Tunnel;
    }
    let before = inbox.look(|bytes, _| bytes.len());
    if !done || announced {
        inbox.wait(LIMIT, |_, eof| eof).await;
    } else {
        let probe = format!("GET {HARNESS_PATH} HTTP/1.1\r\nhost: harness.invalid\r\n\r\n");
        let _ = write.write_all(probe.as_bytes()).await;
        inbox
            .wait(LIMIT, |bytes, eof| {
                eof || Message::parse(&bytes[before..], Kind::Response, false).is_some()
            })
            .await;
    }
    match inbox.look(|bytes, eof| (eof, bytes.len() > before)) {
        (_, true) if done && !announced => Connection::Kept,
        (true, _) => Connection::Closed,
        (false, _) => Connection::Stuck,
    }
}

#[derive(Default)]
struct Inbox {
    read: Mutex<(Vec<u8>, bool)>,
    changed: Notify,
}

impl Inbox {
    fn look<T>(&self, at: impl FnOnce(&[u8], bool) -> T) -> T {
        let read = self.read.lock().expect("the reader does not panic");
        at(&read.0, read.1)
    }

    async fn wait(&self, limit: Duration, until: impl Fn(&[u8], bool) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.look(&until) {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(limit, wait).await;
    }
}

async fn fill(mut read: OwnedReadHalf, inbox: Arc<Inbox>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let got = read.read(&mut buffer).await.unwrap_or(0);
        let mut inner = inbox.read.lock().expect("no one panics with the inbox locked");
        inner.0.extend_from_slice(&buffer[..got]);
        inner.1 |= got == 0;
        drop(inner);
        inbox.changed.notify_waiters();
        if got == 0 {
            return;
        }
    }
}
