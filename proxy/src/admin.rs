//! The admin interface, on the control thread: Envoy's paths, Envoy's formats.
//!
//! `server` speaks HTTP, `respond` is the table of paths, `dump`, `info` and `hosts` make the bodies. What changes state
//! wants POST and refuses browsers that were sent from elsewhere; reading works under any `Host`.

mod dump;
mod hosts;
mod info;
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
    stats::{Group, ListenerManagerStat, RuntimeStat, ServerStat},
    worker::Shared,
};

/// What a request asks the process to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Quit,
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

/// What the admin interface shows. One per process, on the control thread.
pub struct Admin {
    pub shared: Arc<Shared>,
    pub requests: mpsc::UnboundedSender<Request>,
    pub bootstrap: Received,
    pub node: bytes::Bytes,
    /// Static resources as they came.
    pub static_clusters: Vec<Received>,
    pub static_listeners: Vec<Received>,
    pub options: Options,
    pub started: Instant,
    pub state: Cell<State>,
    /// `/healthcheck/fail`.
    pub failing: Cell<bool>,
    pub runtime: RefCell<Arc<serde_json::Map<String, serde_json::Value>>>,
    server: Group<ServerStat>,
    listener_manager: Group<ListenerManagerStat>,
    runtime_stats: Group<RuntimeStat>,
}

/// The command line, as `/server_info` shows it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub concurrency: usize,
    pub config_path: String,
    pub mode: &'static str,
    pub log_level: String,
    pub service_cluster: String,
    pub service_node: String,
    pub service_zone: String,
    pub drain_time_s: u64,
    pub drain_strategy: &'static str,
    pub allow_paths: Vec<crate::matcher::StringMatcher>,
}

impl Admin {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        shared: Arc<Shared>,
        requests: mpsc::UnboundedSender<Request>,
        bootstrap: Received,
        node: bytes::Bytes,
        static_clusters: Vec<Received>,
        static_listeners: Vec<Received>,
        options: Options,
    ) -> Rc<Self> {
        let server = shared.stats.group(crate::stats::Prefix::root("server."));
        let listener_manager = shared.stats.group(crate::stats::Prefix::root("listener_manager."));
        let runtime_stats = shared.stats.group(crate::stats::Prefix::root("runtime."));
        let admin = Rc::new(Self {
            runtime_stats,
            shared,
            requests,
            bootstrap,
            node,
            static_clusters,
            static_listeners,
            options,
            started: Instant::now(),
            state: Cell::new(State::PreInitializing),
            failing: Cell::new(false),
            runtime: RefCell::default(),
            server,
            listener_manager,
        });
        admin.refresh_gauges();
        admin
    }

    /// Sets gauges that are known rather than counted; before every rendering of statistics.
    pub fn refresh_gauges(&self) {
        let server = &self.server;
        server.set(ServerStat::State, self.state.get() as u64);
        server.set(ServerStat::Live, u64::from(!self.failing.get()));
        server.set(ServerStat::Concurrency, self.shared.workers as u64);
        server.set(ServerStat::Uptime, self.started.elapsed().as_secs());
        let memory = info::Memory::read();
        server.set(ServerStat::MemoryAllocated, memory.allocated);
        server.set(ServerStat::MemoryHeapSize, memory.heap_size);
        server.set(ServerStat::MemoryPhysicalSize, memory.physical);
        crate::server::gauges::refresh(&self.shared, server);
        let keys = self.shared.snapshot.load().runtime.len();
        self.runtime_stats.set(RuntimeStat::NumKeys, keys as u64);
        let manager = &self.listener_manager;
        manager.set(
            ListenerManagerStat::WorkersStarted,
            u64::from(self.state.get() == State::Live),
        );
    }
}
