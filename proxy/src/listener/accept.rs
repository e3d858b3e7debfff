//! Accepting on a worker: one task a socket.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
};

use super::{
    connection,
    exact_balance::{ExactBalance, Place},
    socket::Listening,
};
use crate::{address::Address, control::Command, io::Socket, worker::Worker};

/// Pause after an accept that failed for want of descriptors or memory: retrying at once would spin (EMFILE).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections of the listener `name` until `stop` turns true or its sender is gone.
///
/// # Errors
/// Where the socket cannot be registered with the runtime.
pub fn spawn(
    worker: &Rc<Worker>,
    name: Arc<str>,
    listening: Listening,
    balance: Option<Arc<ExactBalance>>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = Acceptor::new(listening)?;
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = acceptor.run(&worker, &name, balance.as_ref()) => {}
            _ = stop.wait_for(|stop| *stop) => acceptor.take_waiting(&worker, &name, balance.as_ref()).await,
        }
    });
    Ok(())
}

/// An accepted connection that nobody serves yet.
struct Arrived {
    listener: Arc<str>,
    socket: Socket,
    local: Address,
    remote: Address,
}

/// The same on its way to another worker.
#[derive(Debug)]
pub struct HandedOver {
    listener: Arc<str>,
    socket: Detached,
    local: Address,
    remote: Address,
    place: Place,
}

/// A socket that no runtime watches.
#[derive(Debug)]
enum Detached {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Arrived {
    fn serve(self, worker: &Rc<Worker>, place: Option<Place>) {
        tokio::task::spawn_local(connection::serve(
            worker.clone(),
            self.listener,
            self.socket,
            self.local,
            self.remote,
            place,
        ));
    }

    fn hand_over(self, place: Place) {
        let detached = match self.socket {
            Socket::Tcp(stream) => stream.into_std().map(Detached::Tcp),
            Socket::Unix(stream) => stream.into_std().map(Detached::Unix),
        };
        match detached {
            Ok(socket) => place.hand_over(|place| {
                Command::Serve(HandedOver {
                    listener: self.listener,
                    socket,
                    local: self.local,
                    remote: self.remote,
                    place,
                })
            }),
            Err(e) => tracing::warn!(listener = &*self.listener, "cannot hand a connection over: {e}"),
        }
    }
}

impl HandedOver {
    /// Serves the connection on the worker that it was handed to.
    ///
    /// # Errors
    /// Where the socket cannot be registered with the runtime.
    pub fn serve(self, worker: &Rc<Worker>) -> io::Result<()> {
        let socket = match self.socket {
            Detached::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            Detached::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        };
        let arrived = Arrived {
            listener: self.listener,
            socket,
            local: self.local,
            remote: self.remote,
        };
        arrived.serve(worker, Some(self.place));
        Ok(())
    }
}

/// A socket with its own address and the peer's.
type Accepted = (Socket, Address, Address);

/// Serves a connection here, or where fewer are.
fn serve(worker: &Rc<Worker>, name: &Arc<str>, balance: Option<&Arc<ExactBalance>>, (socket, local, remote): Accepted) {
    let arrived = Arrived {
        listener: name.clone(),
        socket,
        local,
        remote,
    };
    match balance.map(|balance| balance.place(worker.index)) {
        Some(place) if place.worker != worker.index => arrived.hand_over(place),
        place => arrived.serve(worker, place),
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener, Address),
}

impl Acceptor {
    fn new(listening: Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Tcp(l) => Self::Tcp(TcpListener::from_std(l)?),
            Listening::Unix(l) => {
                let path = l
                    .local_addr()?
                    .as_pathname()
                    .map(|p| p.to_string_lossy().into_owned())
                    .unwrap_or_default();
                Self::Unix(UnixListener::from_std(l)?, Address::Pipe(path.into()))
            }
        })
    }

    async fn run(&self, worker: &Rc<Worker>, name: &Arc<str>, balance: Option<&Arc<ExactBalance>>) {
        loop {
            match self.accept().await {
                Ok(accepted) => serve(worker, name, balance, accepted),
                Err(e) => {
                    if !is_transient(&e) {
                        tracing::warn!(listener = &**name, "accept failed, trying again in {BACK_OFF:?}: {e}");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }

    /// Clients that the kernel has accepted for this socket would be reset with it.
    async fn take_waiting(&self, worker: &Rc<Worker>, name: &Arc<str>, balance: Option<&Arc<ExactBalance>>) {
        while let Poll::Ready(Ok(accepted)) = poll_fn(|cx| Poll::Ready(self.poll_accept(cx))).await {
            serve(worker, name, balance, accepted);
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(match self {
            Self::Tcp(l) => ready!(l.poll_accept(cx)).and_then(|(stream, remote)| {
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Socket::Tcp(stream), local.into(), remote.into()))
            }),
            Self::Unix(l, path) => {
                let accepted = ready!(l.poll_accept(cx));
                accepted.map(|(stream, _)| (Socket::Unix(stream), path.clone(), Address::Pipe("".into())))
            }
        })
    }
}

/// The client went away between its SYN and our accept: nothing is wrong here.
fn is_transient(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) || e.kind() == io::ErrorKind::NotConnected
}
