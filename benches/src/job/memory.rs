//! Resident memory: idle, with many clusters, and after a load has gone; and how long a proxy takes to be ready.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{Metric, Sample, Step, control_plane, metric};
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
pub const ADS_CLUSTERS: [(usize, Metric, Metric, Metric); 2] = [
    (
        1_000,
        metric("RSS with 1,000 clusters over ADS", "KB"),
        metric("peak RSS with 1,000 clusters over ADS", "KB"),
        metric("start to ready with 1,000 clusters over ADS", "ms"),
    ),
    (
        10_000,
        metric("RSS with 10,000 clusters over ADS", "KB"),
        metric("peak RSS with 10,000 clusters over ADS", "KB"),
        metric("start to ready with 10,000 clusters over ADS", "ms"),
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

/// Idle memory first and alone: a second process of the same program would share pages, and halve the PSS.
pub fn idle(bench: &Bench, program: &Program) -> anyhow::Result<Step> {
    // Once for the page cache.
    drop(start(bench, program, 0)?);
    let idle = start(bench, program, 0)?;
    let program = program.clone();
    Ok(settle(move |bench| {
        let memory = process::memory(&idle.pids());
        let samples = vec![
            (READY, idle.start_to_ready.as_secs_f64() * 1_000.0),
            (IDLE, memory.rss as f64),
            (IDLE_PSS, memory.pss as f64),
        ];
        drop(idle);
        if matches!(program.kind, Kind::Pillion | Kind::Envoy) {
            static_clusters(bench, &program, samples)
        } else {
            Ok(Step::Done(samples))
        }
    }))
}

fn static_clusters(bench: &Bench, program: &Program, mut samples: Vec<Sample>) -> anyhow::Result<Step> {
    let mut running = Vec::new();
    for (count, rss, peak, ready) in CLUSTERS {
        let proxy = start(bench, program, count)?;
        samples.push((ready, proxy.start_to_ready.as_secs_f64() * 1_000.0));
        running.push((proxy, rss, peak));
    }
    Ok(settle(move |_| {
        for (proxy, rss, peak) in running {
            samples.extend(with_peak(&proxy, rss, peak));
        }
        Ok(Step::Done(samples))
    }))
}

/// `next` comes [`SETTLE`] from now.
fn settle(next: impl FnOnce(&Bench) -> anyhow::Result<Step> + 'static) -> Step {
    Step::Settle(Instant::now() + SETTLE, Box::new(next))
}

fn with_peak(proxy: &Running, rss: Metric, peak: Metric) -> [Sample; 2] {
    let pids = proxy.pids();
    [
        (rss, process::memory(&pids).rss as f64),
        (peak, process::peak_rss(&pids) as f64),
    ]
}

pub fn ads_clusters(bench: &Bench, program: &Program) -> anyhow::Result<Step> {
    let mut samples = Vec::new();
    let mut running = Vec::new();
    for (count, rss, peak, ready) in ADS_CLUSTERS {
        let (plane, serving) = control_plane::start()?;
        control_plane::stage_clusters(&plane, bench, count)?;
        let setup = Setup {
            control_plane: Some(plane.address()),
            discovers_clusters: true,
            ..Setup::new(Protocol::Http1, bench.origins.http1)
        };
        let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
        samples.push((ready, proxy.start_to_ready.as_secs_f64() * 1_000.0));
        control_plane::arrived(&proxy, &plane, count)?;
        running.push((proxy, serving, rss, peak));
    }
    Ok(settle(move |_| {
        for (proxy, _serving, rss, peak) in running {
            samples.extend(with_peak(&proxy, rss, peak));
        }
        Ok(Step::Done(samples))
    }))
}

/// How long memory may take to come back.
const RETURN: Duration = Duration::from_secs(30);

pub fn after_load(bench: &Bench, program: &Program) -> anyhow::Result<Step> {
    let proxy = start(bench, program, 0)?;
    Ok(settle(move |bench| {
        let idle = process::memory(&proxy.pids()).rss;
        let mut client = Client::connect(proxy.address, bench.connections, Exchange::get(100))?;
        client.run(Pace::Saturate, bench.duration)?;
        drop(client);
        // On a thread of its own: the other proxies' loads come meanwhile.
        let watch = thread::spawn({
            let pids = proxy.pids();
            move || watch(&pids, idle)
        });
        let next = move |_: &Bench| {
            let (after, settled) = watch.join().map_err(|_| anyhow!("memory was not read"))?;
            drop(proxy);
            Ok(Step::Done(vec![
                (IDLE, idle as f64),
                (AFTER, after as f64),
                (SETTLED, settled.as_secs_f64()),
            ]))
        };
        Ok(Step::Settle(Instant::now(), Box::new(next)))
    }))
}

/// Resident memory once it is within 1.5 x `idle`, or at the end of [`RETURN`], and when that was.
fn watch(pids: &[u32], idle: u64) -> (u64, Duration) {
    let gone = Instant::now();
    loop {
        thread::sleep(Duration::from_millis(500));
        let rss = process::memory(pids).rss;
        if rss * 2 <= idle * 3 || gone.elapsed() >= RETURN {
            return (rss, gone.elapsed());
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
