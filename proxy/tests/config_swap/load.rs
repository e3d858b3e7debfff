//! Load: clients in closed loops, and what went wrong with any of their requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_local};

use super::clients::{Http1, Http2, Http2Error, LIMIT, Tunnel};
use super::mesh::{CHANGING, Config, HERE};

/// Between two requests of one client: the load must leave two shared cores room for the proxy.
const PAUSE: Duration = Duration::from_millis(3);
const PATHS: [&str; 3] = ["/plain", "/multiplexed", "/secure"];

const HTTP1: &str = "http1";
const HTTP1_STAYS: &str = "http1 of the chain that stays";
const HTTP1_NEW: &str = "http1, a connection each";
pub const HTTP1_CHANGES: &str = "http1 of the chain that changes";
const HTTP2: &str = "http2";
const HTTP2_STAYS: &str = "http2 of the chain that stays";
pub const HTTP2_CHANGES: &str = "http2 of the chain that changes";
const TCP: &str = "tcp";
const TCP_MTLS: &str = "tcp by mTLS";
const TCP_NEW: &str = "tcp, a connection each";
const TCP_MTLS_NEW: &str = "tcp by mTLS, a connection each";
pub const CLIENTS: [&str; 11] = [
    HTTP1,
    HTTP1_STAYS,
    HTTP1_NEW,
    HTTP1_CHANGES,
    HTTP2,
    HTTP2_STAYS,
    HTTP2_CHANGES,
    TCP,
    TCP_MTLS,
    TCP_NEW,
    TCP_MTLS_NEW,
];

/// What the clients did.
#[derive(Default)]
pub struct Tally {
    stop: Cell<bool>,
    served: RefCell<BTreeMap<&'static str, u64>>,
    /// Connections whose end the proxy announced.
    moved: RefCell<BTreeMap<&'static str, u64>>,
    failures: RefCell<Vec<String>>,
}

impl Tally {
    fn served(&self, client: &'static str) {
        *self.served.borrow_mut().entry(client).or_default() += 1;
    }

    fn moved(&self, client: &'static str) {
        *self.moved.borrow_mut().entry(client).or_default() += 1;
    }

    fn failed(&self, client: &'static str, error: impl Display) {
        self.failures.borrow_mut().push(format!("{client}: {error}"));
    }
}

pub struct Load {
    tally: Rc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

/// What a load came to.
pub struct Report {
    pub served: BTreeMap<&'static str, u64>,
    pub moved: BTreeMap<&'static str, u64>,
    pub failures: Vec<String>,
}

/// Starts every kind of client. Must be called inside a `LocalSet`.
pub fn start(config: &Config) -> Load {
    let tally = Rc::new(Tally::default());
    let at = |listener: &str| config.address(listener);
    let clients = vec![
        spawn_local(http1_kept(tally.clone(), HTTP1, at("web"), HERE)),
        spawn_local(http1_kept(tally.clone(), HTTP1_STAYS, at("chains"), HERE)),
        spawn_local(http1_new(tally.clone(), HTTP1_NEW, at("web"))),
        spawn_local(http1_moving(tally.clone(), HTTP1_CHANGES, at("chains"))),
        spawn_local(http2_kept(tally.clone(), HTTP2, at("web"))),
        spawn_local(http2_kept(tally.clone(), HTTP2_STAYS, at("chains"))),
        spawn_local(http2_moving(tally.clone(), HTTP2_CHANGES, at("chains"))),
        spawn_local(tcp_kept(tally.clone(), TCP, at("tcp"))),
        spawn_local(tcp_kept(tally.clone(), TCP_MTLS, at("tcp-secure"))),
        spawn_local(tcp_new(tally.clone(), TCP_NEW, at("tcp"))),
        spawn_local(tcp_new(tally.clone(), TCP_MTLS_NEW, at("tcp-secure"))),
    ];
    Load { tally, clients }
}

impl Load {
    /// Failures so far: a test that has some need not go on.
    pub fn failures(&self) -> usize {
        self.tally.failures.borrow().len()
    }

    /// Waits until every client has had another request served, or one has failed.
    pub async fn progress(&self) {
        let before = self.tally.served.borrow().clone();
        let deadline = Instant::now() + LIMIT;
        let waits = |name: &&'static str| self.tally.served.borrow().get(name) <= before.get(name);
        while self.failures() == 0 {
            let waiting: Vec<_> = CLIENTS.iter().filter(|name| waits(name)).collect();
            if waiting.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "no request served: {waiting:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn stop(self) -> Report {
        self.tally.stop.set(true);
        for client in self.clients {
            client.await.expect("a client that does not panic");
        }
        Report {
            served: self.tally.served.take(),
            moved: self.tally.moved.take(),
            failures: self.tally.failures.take(),
        }
    }
}

/// One connection, which must last.
async fn http1_kept(tally: Rc<Tally>, name: &'static str, to: SocketAddr, source: std::net::Ipv4Addr) {
    let mut connection = match Http1::open(source, to).await {
        Ok(connection) => connection,
        Err(e) => return tally.failed(name, e),
    };
    for path in PATHS.iter().cycle() {
        if tally.stop.get() {
            return;
        }
        match connection.get(path).await {
            Ok(answer) if answer.last => return tally.failed(name, format!("{path}: Connection: close")),
            Ok(_) => tally.served(name),
            Err(e) => return tally.failed(name, format!("{path}: {e}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn http1_new(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    for path in PATHS.iter().cycle() {
        if tally.stop.get() {
            return;
        }
        let asked = async { Http1::open(HERE, to).await?.get(path).await };
        match asked.await {
            Ok(_) => tally.served(name),
            Err(e) => tally.failed(name, format!("{path}: {e}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Connections that are told to go, and must not end before they are.
async fn http1_moving(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    let mut paths = PATHS.iter().cycle();
    while !tally.stop.get() {
        let mut connection = match Http1::open(CHANGING, to).await {
            Ok(connection) => connection,
            Err(e) => return tally.failed(name, e),
        };
        while !tally.stop.get() {
            let path = paths.next().expect("an endless iterator");
            match connection.get(path).await {
                Ok(answer) => {
                    tally.served(name);
                    if answer.last {
                        tally.moved(name);
                        break;
                    }
                }
                Err(e) => return tally.failed(name, format!("{path}: {e}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn http2_kept(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    let (connection, _driver) = match Http2::open(HERE, to).await {
        Ok(opened) => opened,
        Err(e) => return tally.failed(name, e),
    };
    // A stream of its own for every path.
    let streams = PATHS.map(|path| {
        let (tally, mut connection) = (tally.clone(), connection.clone());
        spawn_local(async move {
            while !tally.stop.get() {
                match connection.get(path).await {
                    Ok(_) => tally.served(name),
                    Err(e) => return tally.failed(name, format!("{path}: {e}")),
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    });
    for stream in streams {
        stream.await.expect("a client that does not panic");
    }
}

async fn http2_moving(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    let mut paths = PATHS.iter().cycle();
    while !tally.stop.get() {
        let (mut connection, _driver) = match Http2::open(CHANGING, to).await {
            Ok(opened) => opened,
            Err(e) => return tally.failed(name, e),
        };
        while !tally.stop.get() {
            let path = paths.next().expect("an endless iterator");
            match connection.get(path).await {
                Ok(_) => tally.served(name),
                Err(Http2Error::GoAway) => {
                    tally.moved(name);
                    break;
                }
                Err(e) => return tally.failed(name, format!("{path}: {e}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn tcp_kept(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    let mut tunnel = match Tunnel::open(HERE, to).await {
        Ok(tunnel) => tunnel,
        Err(e) => return tally.failed(name, e),
    };
    while !tally.stop.get() {
        match tunnel.echo(&[b'x'; 700]).await {
            Ok(()) => tally.served(name),
            Err(e) => return tally.failed(name, e),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn tcp_new(tally: Rc<Tally>, name: &'static str, to: SocketAddr) {
    while !tally.stop.get() {
        let exchanged = async { Tunnel::open(HERE, to).await?.echo(b"hello").await };
        match exchanged.await {
            Ok(()) => tally.served(name),
            Err(e) => tally.failed(name, e),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
