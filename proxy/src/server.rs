//! The process: threads, signals, start and end.
//!
//! The calling thread becomes the control thread; `--concurrency` workers are threads of their own. Nothing but the
//! snapshot, statistics and commands passes between them.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{runtime, sync::mpsc};

use crate::{
    access_log::file::{FlushSettings, LogFiles},
    cluster::Limit,
    control::{
        Command,
        demand::Demand,
        publisher::{DrainSettings, Publisher},
    },
    stats,
    trace::Tracer,
    worker::{self, Node, Shared, Worker},
};

mod concurrency;
mod end;
pub mod gauges;
mod resident;

pub use concurrency::default_concurrency;
pub use end::{Ending, drain, signals};
pub use resident::{Release, Resident};

/// Everything that threads need before any config is known.
pub struct Process {
    pub shared: Arc<Shared>,
    pub publisher: Publisher,
    pub workers: Vec<JoinHandle<()>>,
    /// What requests wait for.
    pub demands: mpsc::UnboundedReceiver<Demand>,
}

/// What the command line and the bootstrap say of the process.
pub struct Settings {
    pub concurrency: usize,
    pub node: Node,
    pub stats: stats::Store,
    pub drain: DrainSettings,
    pub flush: FlushSettings,
    /// `--local-address-ip-version v6`.
    pub ipv6: bool,
    /// `None`: no limit.
    pub max_downstream_connections: Option<u32>,
    /// The bootstrap's.
    pub tracer: Option<Arc<Tracer>>,
}

impl Process {
    /// Starts the workers; they wait for listeners.
    ///
    /// # Errors
    /// Where the system gives no more threads.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let filesystem = settings.stats.group(stats::Prefix::root("filesystem."));
        crate::istio::stats::prepare(&settings.stats, &settings.node);
        let (demands, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            demands,
            snapshot: Arc::default(),
            stats: settings.stats,
            connection_ids: AtomicU64::new(0),
            node: settings.node,
            own_address: crate::sys::own_address(settings.ipv6),
            log_files: LogFiles::start(settings.flush, filesystem)?,
            tracer: settings.tracer,
            workers: settings.concurrency,
            downstream_connections: Limit {
                now: AtomicU32::new(0),
                max: AtomicU32::new(settings.max_downstream_connections.unwrap_or(u32::MAX)),
            },
        });
        let mut inboxes = Vec::with_capacity(settings.concurrency);
        let mut workers = Vec::with_capacity(settings.concurrency);
        for index in 0..settings.concurrency {
            let (inbox, commands) = mpsc::unbounded_channel();
            inboxes.push(inbox);
            workers.push(spawn_worker(index, shared.clone(), commands)?);
        }
        let publisher = Publisher::new(shared.clone(), inboxes, settings.drain);
        Ok(Self {
            shared,
            publisher,
            workers,
            demands: asked,
        })
    }

    /// Waits for the workers, which were told to stop, and writes out what log lines are left.
    pub fn stop(shared: &Shared, workers: Vec<JoinHandle<()>>) {
        for worker in workers {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
        shared.log_files.flush();
    }
}

/// The control thread's own part in what workers do: it sends requests, and accepts none. Must be called on it, inside its
/// runtime.
pub fn caller(shared: &Arc<Shared>, publisher: &mut Publisher) -> Rc<Worker> {
    let (inbox, commands) = mpsc::unbounded_channel();
    let caller = Worker::new(shared.workers, shared.clone(), seed());
    publisher.set_caller(inbox);
    tokio::task::spawn_local(worker::run(caller.clone(), commands));
    caller
}

fn spawn_worker(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<JoinHandle<()>> {
    // The runtime belongs to the thread that it was made on, so that the thread tells how that went.
    let (made, outcome) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("wrk:worker_{index}"))
        .spawn(move || {
            stats::enter_worker(index);
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                // Nobody waits for the outcome only where the process is ending.
                Err(error) => return drop(made.send(Err(error))),
            };
            let _ = made.send(Ok(()));
            runtime.block_on(worker::run(Worker::new(index, shared, seed()), commands));
            // What is left of connections ends with the runtime.
            runtime.shutdown_timeout(Duration::ZERO);
        })?;
    outcome.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// A runtime whose tasks never leave their thread, as every thread of the proxy has one. Unlike a `LocalSet` on a runtime it
/// needs no wake-up of its own (a write and a read) for each batch of tasks that sockets make ready.
///
/// # Errors
/// The system's.
pub fn runtime() -> io::Result<runtime::LocalRuntime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(runtime::LocalOptions::default())
}

/// A seed that differs by process and thread: the standard library's hasher keys are random.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
