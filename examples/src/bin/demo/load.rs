//! The clients: paced, each on a kept connection to web's sidecar, counting what comes back.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    app::{CALLER, VERSION, WEIGHTS},
    http1::Wire,
    phase::Phase,
};

/// Above the router's own limit of 15 s, so that the mesh is the one that gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) phase: Phase,
    pub(crate) route: &'static str,
    /// Which application answered; empty where none did.
    pub(crate) version: String,
    /// The weights under which the route was chosen, as the route configuration says on every reply.
    pub(crate) weights: String,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Series {
    pub(crate) failed: usize,
    /// Of those that succeeded, in microseconds, in order of their ends.
    pub(crate) latencies: Vec<u32>,
}

impl Series {
    pub(crate) fn requests(&self) -> usize {
        self.failed + self.latencies.len()
    }
}

/// Everything that the clients saw.
#[derive(Default)]
pub(crate) struct Tally {
    phase: Phase,
    pub(crate) series: BTreeMap<Key, Series>,
    /// Callers' identities as the API found them, by version.
    pub(crate) callers: BTreeMap<String, BTreeMap<String, usize>>,
    /// The first failures of each phase, in words.
    pub(crate) failures: Vec<(Phase, String)>,
}

/// As many failures of a phase are kept in words; more would say nothing new.
const TOLD_FAILURES: usize = 10;

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that start from now on belong to `phase`.
    pub(crate) fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }
}

impl Tally {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Requests and failures of one phase.
    pub(crate) fn of(&self, phase: Phase) -> (usize, usize) {
        let series = self.series.iter().filter(|(key, _)| key.phase == phase);
        series.fold((0, 0), |(requests, failed), (_, s)| {
            (requests + s.requests(), failed + s.failed)
        })
    }

    /// Replies of one phase's main route under its own weights: of v1 and of v2.
    pub(crate) fn split(&self, phase: Phase) -> (usize, usize) {
        let count = |version: &str| {
            let series = self.series.iter().filter(|(key, _)| {
                key.phase == phase
                    && key.route == MAIN
                    && key.version == version
                    && key.weights == phase.weights().label()
            });
            series.map(|(_, s)| s.latencies.len()).sum()
        };
        (count("v1"), count("v2"))
    }

    /// Replies of `version` in a phase, whatever the route.
    pub(crate) fn answered(&self, phase: Phase, version: &str) -> usize {
        let series = self.series.iter();
        let series = series.filter(|(key, _)| key.phase == phase && key.version == version);
        series.map(|(_, s)| s.latencies.len()).sum()
    }

    fn note(&mut self, key: Key, took: Duration, outcome: Result<String, String>) {
        match &outcome {
            Ok(caller) => {
                let callers = self.callers.entry(key.version.clone()).or_default();
                // Looked up first: the same few names come back for every request.
                match callers.get_mut(caller) {
                    Some(count) => *count += 1,
                    None => {
                        callers.insert(caller.clone(), 1);
                    }
                }
            }
            Err(words) => {
                let told = self.failures.iter().filter(|(phase, _)| *phase == key.phase).count();
                if told < TOLD_FAILURES {
                    self.failures.push((key.phase, words.clone()));
                }
            }
        }
        let series = self.series.entry(key).or_default();
        match outcome {
            Ok(_) => series
                .latencies
                .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
            Err(_) => series.failed += 1,
        }
    }
}

/// The weighted route.
pub(crate) const MAIN: &str = "/";
/// The route that leads to v2 alone.
pub(crate) const DIRECT: &str = "/v2";

/// Clients that run until they are told to stop.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// `count` clients that each begin a request every `pace`, or as soon as the one before has ended.
    pub(crate) fn start(entry: SocketAddr, route: &'static str, count: u32, pace: Duration, tally: &Shared) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for n in 0..count {
            let (stop, tally) = (stop.clone(), tally.clone());
            tasks.spawn(async move {
                // Spread over one interval, so that they do not come in bursts.
                tokio::time::sleep(pace * n / count).await;
                client(entry, route, pace, &tally, &stop).await;
            });
        }
        Self { stop, tasks }
    }

    /// Every client ends its request and goes.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn client(entry: SocketAddr, route: &'static str, pace: Duration, tally: &Shared, stop: &AtomicBool) {
    let mut connection = None;
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut key = Key {
            phase: tally.lock().phase,
            route,
            version: String::new(),
            weights: String::new(),
        };
        let start = Instant::now();
        let got = tokio::time::timeout(PATIENCE, get(entry, &mut connection, &mut key)).await;
        let outcome = match got {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(e)) => Err(format!("connection: {e}")),
            Err(_) => Err(format!("no reply within {PATIENCE:?}")),
        };
        if got_lost(&outcome) {
            connection = None;
        }
        let mut tally = tally.lock();
        if outcome.is_err() && tally.phase.may_fail() {
            // It was in flight when the trouble began.
            key.phase = tally.phase;
        }
        tally.note(key, start.elapsed(), outcome);
    }
}

/// A failure that was not an HTTP status leaves the connection in an unknown state.
fn got_lost(outcome: &Result<String, String>) -> bool {
    outcome.as_ref().is_err_and(|words| !words.starts_with("status"))
}

/// One request: the caller's identity as the API saw it, or the failure in words.
async fn get(entry: SocketAddr, connection: &mut Option<Wire>, key: &mut Key) -> io::Result<Result<String, String>> {
    let wire = match connection {
        Some(wire) => wire,
        None => connection.insert(Wire::connect(entry).await?),
    };
    wire.send(&format!("GET {} HTTP/1.1\r\nhost: web\r\n\r\n", key.route))
        .await?;
    let (head, body) = wire.response().await?;
    if head.closes() {
        *connection = None;
    }
    key.version = head.header(VERSION).unwrap_or_default().to_owned();
    key.weights = head.header(WEIGHTS).unwrap_or_default().to_owned();
    if head.status == 200 && !key.version.is_empty() {
        return Ok(Ok(head.header(CALLER).unwrap_or("none").to_owned()));
    }
    Ok(Err(format!(
        "status {}: {}",
        head.status,
        String::from_utf8_lossy(&body).trim()
    )))
}
