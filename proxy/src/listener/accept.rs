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
    net::{TcpListener, UnixListener},
    sync::watch,
};

use super::{connection, socket::Listening};
use crate::{address::Address, io::Socket, worker::Worker};

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
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = Acceptor::new(listening)?;
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = acceptor.run(&worker, &name) => {}
            _ = stop.wait_for(|stop| *stop) => acceptor.take_waiting(&worker, &name).await,
        }
    });
    Ok(())
}

/// A socket with its own address and the peer's.
type Accepted = (Socket, Address, Address);

fn serve(worker: &Rc<Worker>, name: &Arc<str>, (socket, local, remote): Accepted) {
    let connection = connection::handle(worker.clone(), name.clone(), socket, local, remote);
    tokio::task::spawn_local(connection);
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

    async fn run(&self, worker: &Rc<Worker>, name: &Arc<str>) {
        loop {
            match self.accept().await {
                Ok(accepted) => serve(worker, name, accepted),
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
    async fn take_waiting(&self, worker: &Rc<Worker>, name: &Arc<str>) {
        while let Poll::Ready(Ok(accepted)) = poll_fn(|cx| Poll::Ready(self.poll_accept(cx))).await {
            serve(worker, name, accepted);
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
