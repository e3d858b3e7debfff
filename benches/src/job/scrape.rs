//! What reading 50,000 statistics costs.

use std::time::Instant;

use super::{Metric, Sample, metric};
use crate::{
    load::{exchange::Exchange, handshake},
    process,
    proxy::{
        Program, Running,
        config::{CLUSTER_HEADER, Protocol, Setup, cluster_name},
    },
    run::Bench,
};

pub const TIME: Metric = metric("time of a scrape", "ms");
pub const CPU: Metric = metric("CPU of a scrape", "ms");
pub const BYTES: Metric = metric("bytes of a scrape", "KB");
pub const SERIES: Metric = metric("series of a scrape", "lines");
pub const CLUSTERS: Metric = metric("clusters that have so many series", "clusters");
pub const RSS_BEFORE: Metric = metric("RSS before scrapes", "KB");
pub const RSS_AFTER: Metric = metric("RSS after scrapes", "KB");
pub const PEAK: Metric = metric("peak RSS of scrapes", "KB");

const WANTED: usize = 50_000;
/// From so many clusters it is known how many series one has.
const PROBE: usize = 100;
/// The first one makes buffers; the median counts.
const SCRAPES: usize = 5;
const PATH: &str = "/stats/prometheus";

pub fn statistics(bench: &Bench, program: &Program) -> anyhow::Result<Vec<Sample>> {
    // A cluster has other statistics in each proxy: as many clusters as it takes to have the same number of series.
    let has = |clusters| anyhow::Ok(series(&used(bench, program, clusters)?.get(PATH)?));
    let (none, some) = (has(0)?, has(PROBE)?);
    let each = (some.saturating_sub(none) as f64 / PROBE as f64).max(1.0);
    let clusters = (WANTED.saturating_sub(none) as f64 / each).ceil() as usize;
    let proxy = used(bench, program, clusters)?;
    let pids = proxy.pids();
    let before = process::memory(&pids).rss;
    process::reset_peak(&pids)?;
    let (mut times, mut cpus, mut answer) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..SCRAPES {
        let (begun, spent) = (Instant::now(), process::cpu(&pids));
        answer = proxy.get(PATH)?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        cpus.push((process::cpu(&pids) - spent).0 as f64 / 1e6);
    }
    Ok(vec![
        (TIME, median(times)),
        (CPU, median(cpus)),
        (BYTES, answer.len() as f64 / 1_024.0),
        (SERIES, series(&answer) as f64),
        (CLUSTERS, clusters as f64),
        (RSS_BEFORE, before as f64),
        (RSS_AFTER, process::memory(&pids).rss as f64),
        (PEAK, process::peak_rss(&pids) as f64),
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A proxy in which every cluster has had a request.
fn used(bench: &Bench, program: &Program, clusters: usize) -> anyhow::Result<Running> {
    let setup = Setup {
        clusters,
        routes_by_header: true,
        ..Setup::new(Protocol::Http1, bench.origins.http1)
    };
    let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = tokio::net::TcpStream::connect(proxy.address).await?;
        stream.set_nodelay(true)?;
        for name in (0..clusters).map(cluster_name).chain(["origin".to_owned()]) {
            let exchange = Exchange::get(100).with(CLUSTER_HEADER, &name);
            handshake::request(&mut stream, &exchange).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(proxy)
}

/// Samples of an answer in Prometheus' text format.
fn series(answer: &str) -> usize {
    let samples = answer.lines().filter(|line| !line.starts_with('#'));
    samples.filter(|line| line.starts_with("envoy_")).count()
}
