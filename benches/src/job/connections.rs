//! Connections as such: making mTLS ones, and holding idle ones.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{Metric, Sample, Step, metric};
use crate::{
    load::{exchange::Exchange, handshake, idle::Idle},
    process,
    proxy::{
        Program, Running,
        config::{Protocol, Setup},
    },
    run::Bench,
};

pub const CPU: Metric = metric("CPU per connection", "us");
pub const RATE: Metric = metric("connections", "1/s");
pub const P50: Metric = metric("p50 to the answer", "us");
pub const SMALL: Metric = metric("per idle connection, after a small answer", "KB");
pub const LARGE: Metric = metric("per idle connection, after a 16 KB answer", "KB");

const CLIENTS: usize = 8;
const WARM: Duration = Duration::from_millis(300);

pub fn handshakes(bench: &Bench, program: &Program) -> anyhow::Result<Vec<Sample>> {
    let setup = Setup {
        accept_tls: true,
        ..Setup::new(Protocol::Http1, bench.origins.http1)
    };
    let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
    let run = |duration| handshake::run(proxy.address, &bench.tls, CLIENTS, duration);
    run(WARM)?;
    let before = process::cpu(&proxy.pids());
    let outcome = run(bench.duration)?;
    let used = process::cpu(&proxy.pids()) - before;
    Ok(vec![
        (CPU, used.0 as f64 / 1_000.0 / outcome.latencies.count() as f64),
        (RATE, outcome.per_second()),
        (P50, outcome.latencies.quantile(0.5)),
    ])
}

/// Buffers are given back, and the allocator gives pages back.
const SETTLE: Duration = Duration::from_secs(5);

/// Both sizes side by side, a proxy each.
pub fn idle(bench: &Bench, program: &Program, tls: bool) -> anyhow::Result<Step> {
    let mut running = Vec::new();
    for (metric, size) in [(SMALL, 100), (LARGE, 16 << 10)] {
        let setup = Setup {
            accept_tls: tls,
            ..Setup::new(Protocol::Http1, bench.origins.http1)
        };
        let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
        // Pools, TLS contexts and the allocator's first pages are no connection's.
        drop(open(bench, &proxy, tls, bench.connections / 40, size)?);
        running.push((metric, size, proxy));
    }
    let due = Instant::now() + SETTLE / 2;
    Ok(Step::Settle(due, Box::new(move |bench| hold(bench, running, tls))))
}

fn hold(bench: &Bench, running: Vec<(Metric, usize, Running)>, tls: bool) -> anyhow::Result<Step> {
    let (mut held, mut readings) = (Vec::new(), Vec::new());
    for (metric, size, proxy) in running {
        let before = process::memory(&proxy.pids());
        let open = open(bench, &proxy, tls, bench.connections, size)?;
        let pids = proxy.pids();
        // On a thread of its own: exactly then, whatever is opened meanwhile.
        let after = thread::spawn(move || {
            thread::sleep(SETTLE);
            process::memory(&pids)
        });
        readings.push((metric, before, after));
        held.push((open, proxy));
    }
    let mut samples = Vec::new();
    for (metric, before, after) in readings {
        let after = after.join().map_err(|_| anyhow!("memory was not read"))?;
        let grown = after.rss as f64 - before.rss as f64;
        samples.push((metric, grown / bench.connections as f64));
    }
    // Nothing is closed before all is read.
    drop(held);
    Ok(Step::Done(samples))
}

fn open(bench: &Bench, proxy: &Running, tls: bool, count: usize, size: usize) -> anyhow::Result<Idle> {
    Idle::open(proxy.address, tls.then_some(&bench.tls), count, &Exchange::get(size))
}
