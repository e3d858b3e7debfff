//! What a request waits for, told to the control thread by the filter `on_demand`.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::config::source::SourceSpecifier;

/// Who waits is told whether what was asked for is there now, once it is public.
#[derive(Debug)]
pub struct Demand {
    pub wanted: Wanted,
    pub answer: oneshot::Sender<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The virtual host of a host, lower-case, by VHDS.
    VirtualHost { routes: Arc<str>, host: Box<str> },
    /// The routes of a scope.
    Scope { source: SourceSpecifier, scope: Arc<str> },
}

pub type Demands = mpsc::UnboundedSender<Demand>;
