//! Upstreams that record what reaches them and answer as a script says: HTTP/1.1 on raw sockets, where every byte of an
//! answer can be wrong, and HTTP/2 on `h2`.

mod h1;
mod h2;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::HeaderMap;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::message::Message;

/// Requests to these paths belong to the harness: answered with 200, never recorded, never scripted.
pub const HARNESS_PATH: &str = "/__harness";

pub type Fields = &'static [(&'static str, &'static str)];

/// One thing that an upstream does; the first five are HTTP/1.1's or everybody's, the others HTTP/2's.
#[derive(Clone, Debug)]
pub enum Act {
    /// These bytes, as they are.
    Raw(Vec<u8>),
    Sleep(Duration),
    /// Nothing more, until the proxy gives up.
    Hang,
    /// FIN.
    Close,
    /// RST of the connection.
    Abort,
    /// Send back what comes, until the proxy closes.
    Echo,
    /// Send back what comes next, once.
    EchoOnce,
    /// An informational response.
    Interim(u16, Fields),
    Head(u16, Fields),
    Data(Vec<u8>),
    Trailers(Fields),
    /// END_STREAM, on an empty frame where nothing else can carry it.
    End,
    Reset(::h2::Reason),
    GoAway,
}

/// What is done for one request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Start when the head is there, not the body.
    pub early: bool,
    pub acts: Vec<Act>,
}

/// A request that reached an upstream.
#[derive(Clone, Debug)]
pub struct Received {
    /// The name in the bootstrap (`h1:NAME`).
    pub upstream: String,
    /// Which of the upstreams' connections it came on; tells reuse, its value means nothing.
    pub connection: usize,
    pub message: Message,
    /// How it ended: `complete`, `truncated` (the connection closed within the request), `abandoned` (the proxy gave up
    /// waiting for the answer), `reset CODE`; `open` before.
    pub end: String,
}

/// What all upstreams of one proxy have received since the last [`Recorder::begin`], and what they answer.
#[derive(Default)]
pub struct Recorder {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    script: Vec<Reply>,
    received: Vec<Received>,
    generation: usize,
    connections: usize,
}

/// Names a request in the recorder; one from before the last `begin` changes nothing.
#[derive(Clone, Copy)]
struct Entry {
    generation: usize,
    index: usize,
}

impl Recorder {
    /// Forgets everything; the n-th request from now gets the n-th reply, later ones the last, all `200 hello` if none.
    pub fn begin(&self, script: Vec<Reply>) {
        let mut state = self.lock();
        state.generation += 1;
        state.received.clear();
        state.script = script;
    }

    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Waits until `wanted` holds of what was received, at most `limit`; whether it does.
    pub async fn wait(&self, limit: Duration, wanted: impl Fn(&[Received]) -> bool) -> bool {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if wanted(&self.lock().received) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    fn add(&self, upstream: &str, connection: usize, message: Message) -> (Entry, Option<Reply>) {
        let mut state = self.lock();
        let index = state.received.len();
        state.received.push(Received {
            upstream: upstream.to_owned(),
            connection,
            message,
            end: "open".to_owned(),
        });
        let reply = state.script.get(index).or(state.script.last()).cloned();
        let entry = Entry {
            generation: state.generation,
            index,
        };
        drop(state);
        self.changed.notify_waiters();
        (entry, reply)
    }

    fn update(&self, entry: Entry, change: impl FnOnce(&mut Received)) {
        let mut state = self.lock();
        if state.generation == entry.generation {
            change(&mut state.received[entry.index]);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn end(&self, entry: Entry, end: &str) {
        self.update(entry, |received| end.clone_into(&mut received.end));
    }

    fn next_connection(&self) -> usize {
        let mut state = self.lock();
        state.connections += 1;
        state.connections
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test thread panics with the recorder locked")
    }
}

/// Serves HTTP/1.1 on a port of a bootstrap for as long as the runtime lives.
pub fn serve_h1(port: u16, name: &str, recorder: &Arc<Recorder>) {
    let (listener, name, recorder) = (listen(port), name.to_owned(), recorder.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = recorder.next_connection();
            tokio::spawn(h1::serve(stream, name.clone(), connection, recorder.clone()));
        }
    });
}

/// Serves HTTP/2 with prior knowledge on a port of a bootstrap.
pub fn serve_h2(port: u16, name: &str, recorder: &Arc<Recorder>) {
    let (listener, name, recorder) = (listen(port), name.to_owned(), recorder.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = recorder.next_connection();
            tokio::spawn(h2::serve(stream, name.clone(), connection, recorder.clone()));
        }
    });
}

/// SO_REUSEPORT, because the bootstrap holds the port reserved.
fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    socket
        .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into())
        .expect("a reserved port");
    socket.listen(128).expect("a listening socket");
    TcpListener::from_std(socket.into()).expect("a tokio listener")
}

/// The fields of an HTTP/2 header block, as text.
pub fn fields(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

pub fn header_map(fields: Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().expect("a header value in a table of cases"));
    }
    map
}

/// Act by act, for tables of cases.
impl Reply {
    pub fn acts(acts: impl Into<Vec<Act>>) -> Self {
        Self {
            early: false,
            acts: acts.into(),
        }
    }

    /// Raw HTTP/1.1 bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::acts([Act::Raw(bytes.into())])
    }

    /// An HTTP/1.1 response with this status line tail (`503 Service Unavailable`), more header lines (each with its
    /// CRLF) and a body with its length.
    pub fn h1(status: &str, headers: &str, body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ))
    }

    /// An HTTP/2 response.
    pub fn h2(status: u16, headers: Fields, body: &str) -> Self {
        Self::acts([Act::Head(status, headers), Act::Data(body.into()), Act::End])
    }

    #[must_use]
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    #[must_use]
    pub fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    #[must_use]
    pub fn then_raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Act::Raw(bytes.into()))
    }

    #[must_use]
    pub fn then_sleep(self, milliseconds: u64) -> Self {
        self.then(Act::Sleep(Duration::from_millis(milliseconds)))
    }
}
