//! Resident memory: idle, with many clusters, and after a load has gone; and how long a proxy takes to be ready.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Metric, Sample, metric};
use crate::{
    load::{Pace, exchange::Client, exchange::Exchange},
    process,
    proxy::{
        Kind, Program, Running,
        config::{Protocol, Setup},
    },
    run::Bench,
};

pub const IDLE: Metric = metric("RSS idle", "KB");
pub const IDLE_PSS: Metric = metric("PSS idle", "KB");
pub const READY: Metric = metric("start to ready", "ms");
pub const CLUSTERS: [(usize, Metric, Metric, Metric); 3] = [
    (
        100,
        metric("RSS with 100 clusters", "KB"),
        metric("peak RSS with 100 clusters", "KB"),
        metric("start to ready with 100 clusters", "ms"),
    ),
    (
        1_000,
        metric("RSS with 1,000 clusters", "KB"),
        metric("peak RSS with 1,000 clusters", "KB"),
        metric("start to ready with 1,000 clusters", "ms"),
    ),
    (
        10_000,
        metric("RSS with 10,000 clusters", "KB"),
        metric("peak RSS with 10,000 clusters", "KB"),
        metric("start to ready with 10,000 clusters", "ms"),
    ),
];
pub const AFTER: Metric = metric("RSS after the load has gone", "KB");
pub const SETTLED: Metric = metric("within 1.5 x idle after", "s");

/// What `RSS idle` waits after a proxy is ready.
pub const SETTLE: Duration = Duration::from_secs(10);

fn start(bench: &Bench, program: &Program, clusters: usize) -> anyhow::Result<Running> {
    let setup = Setup {
        clusters,
        ..Setup::new(Protocol::Http1, bench.origins.http1)
    };
    program.start(&setup, bench.cores.proxy, bench.dir())
}

pub fn static_clusters(bench: &Bench, program: &Program) -> anyhow::Result<Vec<Sample>> {
    let has_clusters = matches!(program.kind, Kind::Pillion | Kind::Envoy);
    // Once for the page cache.
    drop(start(bench, program, 0)?);
    let idle = start(bench, program, 0)?;
    let mut samples = vec![(READY, idle.start_to_ready.as_secs_f64() * 1_000.0)];
    let mut running = Vec::new();
    for (count, rss, peak, ready) in CLUSTERS.into_iter().filter(|_| has_clusters) {
        let proxy = start(bench, program, count)?;
        samples.push((ready, proxy.start_to_ready.as_secs_f64() * 1_000.0));
        running.push((proxy, rss, peak));
    }
    thread::sleep(SETTLE);
    let memory = process::memory(&idle.pids());
    samples.push((IDLE, memory.rss as f64));
    samples.push((IDLE_PSS, memory.pss as f64));
    for (proxy, rss, peak) in running {
        samples.push((rss, process::memory(&proxy.pids()).rss as f64));
        samples.push((peak, process::peak_rss(&proxy.pids()) as f64));
    }
    Ok(samples)
}

/// How long memory may take to come back.
const RETURN: Duration = Duration::from_secs(30);

pub fn after_load(bench: &Bench, program: &Program) -> anyhow::Result<Vec<Sample>> {
    let proxy = start(bench, program, 0)?;
    thread::sleep(SETTLE);
    let idle = process::memory(&proxy.pids()).rss;
    let mut client = Client::connect(proxy.address, bench.connections, Exchange::get(100))?;
    client.run(Pace::Saturate, bench.duration)?;
    drop(client);
    let gone = Instant::now();
    loop {
        thread::sleep(Duration::from_millis(500));
        let rss = process::memory(&proxy.pids()).rss;
        if rss * 2 <= idle * 3 || gone.elapsed() >= RETURN {
            return Ok(vec![
                (IDLE, idle as f64),
                (AFTER, rss as f64),
                (SETTLED, gone.elapsed().as_secs_f64()),
            ]);
        }
    }
}

/// `benches idle`: one figure, as `/proc` has it.
pub fn print_idle(bench: &Bench, program: &Program) -> anyhow::Result<()> {
    let proxy = start(bench, program, 0)?;
    thread::sleep(SETTLE);
    let rss = process::vm_rss(proxy.pid());
    println!("pillion, idle {} s after ready: VmRSS {rss} kB", SETTLE.as_secs());
    Ok(())
}
