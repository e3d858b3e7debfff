//! The admin interface, on the control thread: Envoy's paths, Envoy's formats.
//!
//! `server` speaks HTTP, `respond` says who may ask, `paths` is the table of paths; the rest makes the bodies. What changes state
//! wants POST and refuses browsers that were sent from elsewhere; reading works under any `Host`.

mod certificates;
mod dump;
mod hosts;
mod info;
mod init_dump;
mod paths;
mod respond;
mod server;

pub use server::serve;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::sync::mpsc;

use crate::{
    bootstrap::Received,
    control::{ledger::Ledger, runtime::RuntimeLayers},
    stats::{ConfigStat, Group, ListenerManagerStat, ServerStat},
    worker::Shared,
};

/// What a request asks the process to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Quit,
    /// The runtime layers were changed: make that public.
    RuntimeChanged,
    DrainListeners {
        inbound_only: bool,
        graceful: bool,
        close: bool,
    },
}

/// `server.state`, as Envoy numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Live = 0,
    Draining = 1,
    PreInitializing = 2,
    Initializing = 3,
}

impl State {
    /// As `/ready` and `/server_info` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
            Self::Initializing => "INITIALIZING",
        }
    }
}

/// What the admin interface shows. One per process, on the control thread.
pub struct Admin {
    pub shared: Arc<Shared>,
    pub requests: mpsc::UnboundedSender<Request>,
    pub bootstrap: Received,
    pub node: bytes::Bytes,
    /// Resources as they came.
    pub ledger: Rc<RefCell<Ledger>>,
    pub options: Options,
    pub started: Instant,
    pub state: Cell<State>,
    /// `/healthcheck/fail`.
    pub failing: Cell<bool>,
    pub runtime: Rc<RefCell<RuntimeLayers>>,
    server: Group<ServerStat>,
    listener_manager: Group<ListenerManagerStat>,
    config: Group<ConfigStat>,
}

/// What the process was told of itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `CommandLineOptions`, as `/server_info` prints it.
    pub command_line: serde_json::Value,
    pub allow_paths: Vec<crate::matcher::StringMatcher>,
}

impl Admin {
    pub fn new(
        shared: Arc<Shared>,
        requests: mpsc::UnboundedSender<Request>,
        bootstrap: Received,
        node: bytes::Bytes,
        ledger: Rc<RefCell<Ledger>>,
        runtime: Rc<RefCell<RuntimeLayers>>,
        options: Options,
    ) -> Rc<Self> {
        let server = shared.stats.group(crate::stats::Prefix::root("server."));
        let listener_manager = shared.stats.group(crate::stats::Prefix::root("listener_manager."));
        let config = shared.stats.group(crate::stats::Prefix::root("control_plane."));
        let admin = Rc::new(Self {
            shared,
            requests,
            bootstrap,
            node,
            ledger,
            options,
            started: Instant::now(),
            state: Cell::new(State::PreInitializing),
            failing: Cell::new(false),
            runtime,
            server,
            listener_manager,
            config,
        });
        admin.refresh_gauges();
        admin
    }

    /// What is said to the outside: who fails health checks drains.
    pub fn shown_state(&self) -> State {
        match self.state.get() {
            State::Live if self.failing.get() => State::Draining,
            state => state,
        }
    }

    /// Sets gauges that are known rather than counted; before every rendering of statistics.
    pub fn refresh_gauges(&self) {
        let server = &self.server;
        server.set(ServerStat::State, self.shown_state() as u64);
        server.set(ServerStat::Live, u64::from(!self.failing.get()));
        server.set(ServerStat::Concurrency, self.shared.workers as u64);
        server.set(ServerStat::Uptime, self.started.elapsed().as_secs());
        let memory = info::Memory::read();
        server.set(ServerStat::MemoryAllocated, memory.allocated);
        server.set(ServerStat::MemoryHeapSize, memory.heap_size);
        server.set(ServerStat::MemoryPhysicalSize, memory.physical);
        crate::server::gauges::refresh(&self.shared, server);
        if let Some(accepted) = self.ledger.borrow().accepted {
            self.config
                .set(ConfigStat::ConfigAgeSeconds, accepted.elapsed().as_secs());
        }
        let manager = &self.listener_manager;
        manager.set(
            ListenerManagerStat::WorkersStarted,
            u64::from(self.state.get() == State::Live),
        );
    }
}
