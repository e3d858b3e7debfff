//! Connections as such: making mTLS ones, and holding idle ones.

use std::{thread, time::Duration};

use super::{Metric, Sample, metric};
use crate::{
    load::{exchange::Exchange, handshake, idle::Idle},
    process,
    proxy::{
        Program,
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

pub fn idle(bench: &Bench, program: &Program, tls: bool) -> anyhow::Result<Vec<Sample>> {
    let tls = tls.then_some(&bench.tls);
    let mut samples = Vec::new();
    for (metric, size) in [(SMALL, 100), (LARGE, 16 << 10)] {
        let setup = Setup {
            accept_tls: tls.is_some(),
            ..Setup::new(Protocol::Http1, bench.origins.http1)
        };
        let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
        // Pools, TLS contexts and the allocator's first pages are no connection's.
        drop(Idle::open(
            proxy.address,
            tls,
            bench.connections / 40,
            &Exchange::get(size),
        )?);
        thread::sleep(SETTLE / 2);
        let before = process::memory(&proxy.pids());
        let open = Idle::open(proxy.address, tls, bench.connections, &Exchange::get(size))?;
        thread::sleep(SETTLE);
        let after = process::memory(&proxy.pids());
        drop(open);
        samples.push((
            metric,
            (after.rss as f64 - before.rss as f64) / bench.connections as f64,
        ));
    }
    Ok(samples)
}
