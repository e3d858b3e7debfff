//! The control thread: everything that is not a request. Config comes in, becomes runtime types, and is published.
//!
//! `publisher` owns the next snapshot, the listening sockets and the drains; workers hear of it by [`Command`]s.

pub mod publisher;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::listener::socket::Listening;

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Accept on these sockets for the listener `name` until `stop`.
    Listen {
        name: Arc<str>,
        sockets: Vec<Listening>,
        stop: watch::Receiver<bool>,
    },
    /// The snapshot changed: let go of the old one, and of clusters that left.
    Swapped,
    /// Finish and end the thread.
    Stop,
}

/// A worker's inbox.
pub type Commands = mpsc::UnboundedReceiver<Command>;
