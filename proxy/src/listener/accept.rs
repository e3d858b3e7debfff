//! Accepting on a worker: one task a socket.

use std::{io, rc::Rc, sync::Arc, time::Duration};

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
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    Ok(())
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
                Ok((socket, local, remote)) => {
                    let connection = connection::handle(worker.clone(), name.clone(), socket, local, remote);
                    tokio::task::spawn_local(connection);
                }
                Err(e) => {
                    if !is_transient(&e) {
                        tracing::warn!(listener = &**name, "accept failed, trying again in {BACK_OFF:?}: {e}");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Address, Address)> {
        match self {
            Self::Tcp(l) => {
                let (stream, remote) = l.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Socket::Tcp(stream), local.into(), remote.into()))
            }
            Self::Unix(l, path) => {
                let (stream, _) = l.accept().await?;
                Ok((Socket::Unix(stream), path.clone(), Address::Pipe("".into())))
            }
        }
    }
}

/// The client went away between its SYN and our accept: nothing is wrong here.
fn is_transient(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) || e.kind() == io::ErrorKind::NotConnected
}
