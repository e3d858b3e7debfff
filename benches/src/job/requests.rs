//! Requests through a proxy, or through two with mTLS between them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Metric, Sample, Step, metric};
use crate::{
    load::{Outcome, Pace, exchange, exchange::Exchange, http2},
    process::{self, Cpu},
    proxy::{
        Kind, Program, Running,
        config::{Protocol, Setup},
    },
    run::Bench,
};

#[derive(Debug, Clone, Copy)]
pub struct Requests {
    pub protocol: Protocol,
    /// Two proxies of a kind, mTLS between them.
    pub pair: bool,
    pub connections: usize,
    /// At a time over each connection.
    pub streams: usize,
    pub ask: Ask,
    pub workers: usize,
    /// Measured at a fixed rate too.
    pub paced: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Ask {
    Get(usize),
    Post(usize),
    Grpc { size: usize, count: usize },
    Echo(usize),
}

pub const CPU: Metric = metric("CPU per request", "us");
pub const RATE: Metric = metric("requests at saturation", "1/s");
pub const RSS_BEFORE: Metric = metric("RSS before", "KB");
pub const RSS_DURING: Metric = metric("RSS during", "KB");
pub const RSS_AFTER: Metric = metric("RSS after", "KB");
pub const PSS_AFTER: Metric = metric("PSS after", "KB");
pub const CPU_PACED: Metric = metric("CPU per request at the fixed rate", "us");
pub const PACE: Metric = metric("fixed rate", "1/s");

const SATURATED: [Metric; 4] = [
    metric("p50 at saturation", "us"),
    metric("p90 at saturation", "us"),
    metric("p99 at saturation", "us"),
    metric("p99.9 at saturation", "us"),
];
pub const PACED: [Metric; 4] = [
    metric("p50 at the fixed rate", "us"),
    metric("p90 at the fixed rate", "us"),
    metric("p99 at the fixed rate", "us"),
    metric("p99.9 at the fixed rate", "us"),
];
/// What a proxy adds to the same round's figure without one.
pub const ADDED: [(Metric, Metric); 2] = [
    (PACED[0], metric("added p50", "us")),
    (PACED[2], metric("added p99", "us")),
];
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Pools fill, caches warm.
const WARM: Duration = Duration::from_millis(400);
/// In which a load is measured, at each pace.
const TURNS: u32 = 5;
/// The fixed rate, as a fraction of what Envoy does at saturation.
const PACE_OF_ENVOY: f64 = 0.6;

enum Client {
    Exchange(exchange::Client),
    Http2(http2::Client),
}

impl Client {
    fn connect(address: SocketAddr, requests: &Requests) -> anyhow::Result<Self> {
        let plain = |exchange| {
            let client = exchange::Client::connect(address, requests.connections, exchange)?;
            anyhow::Ok(Self::Exchange(client))
        };
        let multiplexed = |ask| {
            let client = http2::Client::connect(address, requests.connections, requests.streams, ask)?;
            anyhow::Ok(Self::Http2(client))
        };
        match (requests.protocol, requests.ask) {
            (Protocol::Http2, Ask::Get(size)) => multiplexed(http2::Ask::Get { size }),
            (_, Ask::Grpc { size, count }) => multiplexed(http2::Ask::Grpc { size, count }),
            (_, Ask::Get(size)) => plain(Exchange::get(size)),
            (_, Ask::Post(size)) => plain(Exchange::post(size)),
            (_, Ask::Echo(size)) => plain(Exchange::echo(size)),
        }
    }

    fn run(&mut self, pace: Pace, duration: Duration) -> anyhow::Result<Outcome> {
        match self {
            Self::Exchange(client) => client.run(pace, duration),
            Self::Http2(client) => client.run(pace, duration),
        }
    }
}

/// The proxies on the way; none where the load asks the origin itself.
struct Way {
    proxies: Vec<Running>,
    address: SocketAddr,
}

impl Way {
    fn start(bench: &Bench, requests: &Requests, program: Option<&Program>) -> anyhow::Result<Self> {
        let target = match requests.protocol {
            Protocol::Http1 => bench.origins.http1,
            Protocol::Http2 | Protocol::Grpc => bench.origins.http2,
            Protocol::Tcp => bench.origins.echo,
        };
        let Some(program) = program else {
            return Ok(Self {
                proxies: Vec::new(),
                address: target,
            });
        };
        let cores = if requests.workers > 1 {
            bench.cores.two
        } else {
            bench.cores.proxy
        };
        let setup = Setup {
            workers: requests.workers,
            ..Setup::new(requests.protocol, target)
        };
        let mut proxies = Vec::new();
        if requests.pair {
            let inbound = Setup {
                accept_tls: true,
                ..setup
            };
            proxies.push(program.start(&inbound, cores, bench.dir())?);
            let outbound = Setup {
                connect_tls: true,
                target: proxies[0].address,
                ..setup
            };
            proxies.push(program.start(&outbound, cores, bench.dir())?);
        } else {
            proxies.push(program.start(&setup, cores, bench.dir())?);
        }
        let address = proxies[proxies.len() - 1].address;
        Ok(Self { proxies, address })
    }

    fn pids(&self) -> Vec<u32> {
        self.proxies.iter().flat_map(Running::pids).collect()
    }
}

pub fn measure(
    bench: &mut Bench,
    job: &'static str,
    requests: Requests,
    program: Option<&Program>,
) -> anyhow::Result<Step> {
    let rate = if requests.paced {
        Some(pace(bench, job, &requests)?)
    } else {
        None
    };
    let way = Way::start(bench, &requests, program)?;
    let samples = vec![(RSS_BEFORE, process::memory(&way.pids()).rss as f64)];
    let mut client = Client::connect(way.address, &requests)?;
    client.run(Pace::Saturate, WARM)?;
    // Only now: nginx listens before it has workers.
    let pids = way.pids();
    let turns = Turns {
        way,
        client,
        pids,
        rate,
        taken: 0,
        saturated: Used::default(),
        paced: Used::default(),
        samples,
    };
    Ok(turns.settle())
}

/// A proxy under load, in turns with the others: what the machine does meanwhile meets all of them alike.
struct Turns {
    way: Way,
    client: Client,
    pids: Vec<u32>,
    rate: Option<f64>,
    taken: u32,
    saturated: Used,
    paced: Used,
    samples: Vec<Sample>,
}

impl Turns {
    fn settle(self) -> Step {
        Step::Settle(Instant::now(), Box::new(|bench| self.next(bench)))
    }

    fn next(mut self, bench: &Bench) -> anyhow::Result<Step> {
        let length = bench.duration / TURNS;
        match self.rate {
            _ if self.taken < TURNS => self
                .saturated
                .add(&mut self.client, &self.pids, Pace::Saturate, length)?,
            Some(rate) if self.taken < 2 * TURNS => {
                let pace = Pace::PerSecond(rate);
                self.paced.add(&mut self.client, &self.pids, pace, length)?;
            }
            _ => return Ok(Step::Done(self.end())),
        }
        self.taken += 1;
        if self.taken == TURNS {
            self.samples.push((RSS_DURING, process::memory(&self.pids).rss as f64));
        }
        Ok(self.settle())
    }

    fn end(self) -> Vec<Sample> {
        let mut samples = self.samples;
        samples.push((CPU, self.saturated.cpu_per_request()));
        samples.push((RATE, self.saturated.outcome.per_second()));
        samples.extend(quantiles(SATURATED, &self.saturated.outcome));
        if let Some(rate) = self.rate {
            samples.push((CPU_PACED, self.paced.cpu_per_request()));
            samples.push((PACE, rate));
            samples.extend(quantiles(PACED, &self.paced.outcome));
        }
        drop(self.client);
        // The proxy notices that the connections are closed.
        std::thread::sleep(WARM);
        let memory = process::memory(&self.pids);
        samples.push((RSS_AFTER, memory.rss as f64));
        samples.push((PSS_AFTER, memory.pss as f64));
        if self.way.proxies.is_empty() {
            // There is no process to account.
            samples.retain(|(metric, _)| !metric.name.contains("CPU") && !metric.name.contains("SS "));
        }
        samples
    }
}

/// What a load saw in all its turns, and the CPU time that it cost the proxies.
#[derive(Default)]
struct Used {
    outcome: Outcome,
    cpu: Cpu,
}

impl Used {
    fn add(&mut self, client: &mut Client, pids: &[u32], pace: Pace, length: Duration) -> anyhow::Result<()> {
        let before = process::cpu(pids);
        self.outcome.add(&client.run(pace, length)?);
        self.cpu += process::cpu(pids) - before;
        Ok(())
    }

    fn cpu_per_request(&self) -> f64 {
        self.cpu.0 as f64 / 1_000.0 / self.outcome.latencies.count() as f64
    }
}

/// Only latency, at the fixed rate, for longer.
pub fn latency(
    bench: &mut Bench,
    job: &'static str,
    requests: Requests,
    program: Option<&Program>,
) -> anyhow::Result<Vec<Sample>> {
    let rate = pace(bench, job, &requests)?;
    let way = Way::start(bench, &requests, program)?;
    let mut client = Client::connect(way.address, &requests)?;
    client.run(Pace::PerSecond(rate), WARM)?;
    let outcome = client.run(Pace::PerSecond(rate), bench.latency_duration)?;
    let mut samples = vec![(PACE, rate)];
    samples.extend(quantiles(PACED, &outcome));
    Ok(samples)
}

fn quantiles(metrics: [Metric; 4], outcome: &Outcome) -> impl Iterator<Item = Sample> + '_ {
    let values = QUANTILES.map(|q| outcome.latencies.quantile(q));
    metrics.into_iter().zip(values)
}

/// The job's fixed rate, the same for all proxies: measured at the first call, with Envoy where it is there.
fn pace(bench: &mut Bench, job: &'static str, requests: &Requests) -> anyhow::Result<f64> {
    if let Some(rate) = bench.rates.get(job) {
        return Ok(*rate);
    }
    let reference = [Kind::Envoy, Kind::Pillion, Kind::HaProxy, Kind::Nginx]
        .into_iter()
        .find_map(|kind| bench.programs.iter().find(|p| p.kind == kind));
    let way = Way::start(bench, requests, reference)?;
    let mut client = Client::connect(way.address, requests)?;
    client.run(Pace::Saturate, WARM)?;
    let rate = client.run(Pace::Saturate, bench.duration)?.per_second() * PACE_OF_ENVOY;
    bench.rates.insert(job, rate);
    Ok(rate)
}
