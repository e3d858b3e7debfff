//! What is measured: the table of jobs. How, is in the files below.

pub mod connections;
pub mod control_plane;
pub mod duration;
pub mod memory;
pub mod push;
pub mod requests;
pub mod scrape;

use std::time::Instant;

use crate::proxy::{Kind, Program, config::Protocol};
use crate::run::Bench;
use requests::{Ask, Requests};

/// A figure of one round.
pub type Sample = (Metric, f64);

/// How far a job is with one proxy.
pub enum Step {
    Done(Vec<Sample>),
    /// Nothing is done until then: other proxies settle, or have their turn, meanwhile. The proxies belong to what follows.
    Settle(Instant, Next),
}

pub type Next = Box<dyn FnOnce(&Bench) -> anyhow::Result<Step>>;

/// A figure's name and unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
}

pub const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit }
}

pub struct Job {
    pub name: &'static str,
    pub what: &'static str,
    pub measure: Measure,
    /// Whether the load against the origin itself is measured too.
    pub direct: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Measure {
    Requests(Requests),
    /// Latency at 60 % of Envoy's saturation, for long.
    Latency(Requests),
    Handshakes,
    /// Idle connections, plain or mTLS.
    Idle {
        tls: bool,
    },
    /// Idle memory, with clusters, and the time to ready.
    Memory,
    /// Memory after a load of many connections has gone.
    AfterLoad,
    /// Memory with clusters, endpoints and a secret that a control plane gave.
    AdsClusters,
    /// What a push of many endpoints does to running traffic.
    Push,
    /// Reading many statistics.
    Scrape,
}

impl Job {
    /// Why a proxy does not take part; None where it does.
    pub fn excludes(&self, kind: Kind) -> Option<&'static str> {
        match self.measure {
            Measure::Requests(r) => crate::proxy::config::supported(kind, r.protocol).err(),
            Measure::Latency(_) if !matches!(kind, Kind::Pillion | Kind::Envoy | Kind::Direct) => {
                Some("added latency is compared with Envoy's")
            }
            Measure::AfterLoad if !matches!(kind, Kind::Pillion | Kind::Envoy) => {
                Some("memory after a load is compared with Envoy's")
            }
            Measure::Push | Measure::AdsClusters if !matches!(kind, Kind::Pillion | Kind::Envoy) => {
                Some("takes nothing from a control plane")
            }
            Measure::Scrape if !matches!(kind, Kind::Pillion | Kind::Envoy) => {
                Some("a scrape is compared with Envoy's")
            }
            _ => None,
        }
    }

    pub fn run(&self, bench: &mut Bench, program: Option<&Program>) -> anyhow::Result<Step> {
        let samples = match (self.measure, program) {
            (Measure::Requests(r), program) => return requests::measure(bench, self.name, r, program),
            (Measure::Latency(r), program) => requests::latency(bench, self.name, r, program)?,
            (_, None) => Vec::new(),
            (Measure::Handshakes, Some(program)) => connections::handshakes(bench, program)?,
            (Measure::Push, Some(program)) => push::endpoints(bench, program)?,
            (Measure::Scrape, Some(program)) => scrape::statistics(bench, program)?,
            (Measure::Idle { tls }, Some(program)) => return connections::idle(bench, program, tls),
            (Measure::Memory, Some(program)) => return memory::idle(bench, program),
            (Measure::AdsClusters, Some(program)) => return memory::ads_clusters(bench, program),
            (Measure::AfterLoad, Some(program)) => return memory::after_load(bench, program),
        };
        Ok(Step::Done(samples))
    }
}

/// 64 connections, 100 bytes: what the others vary.
const PLAIN: Requests = Requests {
    protocol: Protocol::Http1,
    pair: false,
    connections: 64,
    streams: 1,
    ask: Ask::Get(100),
    workers: 1,
    paced: false,
};
const HTTP2: Requests = Requests {
    protocol: Protocol::Http2,
    connections: 4,
    streams: 16,
    ..PLAIN
};
const GRPC: Requests = Requests {
    protocol: Protocol::Grpc,
    ask: Ask::Grpc { size: 100, count: 1 },
    ..HTTP2
};
const TCP: Requests = Requests {
    protocol: Protocol::Tcp,
    ask: Ask::Echo(64),
    ..PLAIN
};

const fn requests(name: &'static str, what: &'static str, requests: Requests) -> Job {
    Job {
        name,
        what,
        measure: Measure::Requests(requests),
        direct: requests.paced,
    }
}

const fn proxies(name: &'static str, what: &'static str, measure: Measure) -> Job {
    Job {
        name,
        what,
        measure,
        direct: false,
    }
}

pub const JOBS: &[Job] = &[
    requests(
        "h1",
        "HTTP/1.1, 64 connections, 100-byte bodies",
        Requests { paced: true, ..PLAIN },
    ),
    requests(
        "h1-1",
        "HTTP/1.1, one connection",
        Requests {
            connections: 1,
            ..PLAIN
        },
    ),
    requests(
        "h1-4",
        "HTTP/1.1, 4 connections",
        Requests {
            connections: 4,
            ..PLAIN
        },
    ),
    requests(
        "h1-1000",
        "HTTP/1.1, 1,000 connections",
        Requests {
            connections: 1_000,
            ..PLAIN
        },
    ),
    requests(
        "h1-16k",
        "HTTP/1.1, 16 KB answers",
        Requests {
            ask: Ask::Get(16 << 10),
            ..PLAIN
        },
    ),
    requests(
        "h1-1m",
        "HTTP/1.1, 1 MB answers, 8 connections",
        Requests {
            ask: Ask::Get(1 << 20),
            connections: 8,
            ..PLAIN
        },
    ),
    requests(
        "h1-post-16k",
        "HTTP/1.1, 16 KB requests",
        Requests {
            ask: Ask::Post(16 << 10),
            ..PLAIN
        },
    ),
    requests(
        "h1-2-workers",
        "HTTP/1.1, two workers",
        Requests { workers: 2, ..PLAIN },
    ),
    requests(
        "h2",
        "HTTP/2 on both sides, 4 connections with 16 streams each",
        Requests { paced: true, ..HTTP2 },
    ),
    requests("h2-2-workers", "HTTP/2, two workers", Requests { workers: 2, ..HTTP2 }),
    requests(
        "grpc",
        "gRPC unary, 100-byte messages, 4 x 16 streams",
        Requests { paced: true, ..GRPC },
    ),
    requests(
        "grpc-stream",
        "gRPC, 100 messages of 100 bytes answer a call",
        Requests {
            ask: Ask::Grpc { size: 100, count: 100 },
            ..GRPC
        },
    ),
    requests(
        "pair-h1",
        "outbound and inbound proxy, mTLS between them, HTTP/1.1",
        Requests {
            pair: true,
            paced: true,
            ..PLAIN
        },
    ),
    requests(
        "pair-h1-2-workers",
        "the same, two workers each",
        Requests {
            pair: true,
            workers: 2,
            ..PLAIN
        },
    ),
    requests(
        "pair-h2",
        "outbound and inbound proxy, mTLS between them, HTTP/2",
        Requests {
            pair: true,
            paced: true,
            ..HTTP2
        },
    ),
    requests(
        "tcp",
        "TCP, 64 connections, 64 bytes there and back",
        Requests { paced: true, ..TCP },
    ),
    requests(
        "tcp-bulk",
        "TCP, 4 connections, 256 KB there and back",
        Requests {
            ask: Ask::Echo(256 << 10),
            connections: 4,
            ..TCP
        },
    ),
    proxies(
        "handshakes",
        "new mTLS connections, each for one request",
        Measure::Handshakes,
    ),
    Job {
        name: "latency-h1",
        what: "HTTP/1.1, 16 connections, open loop at 60 % of Envoy's saturation",
        measure: Measure::Latency(Requests {
            connections: 16,
            ..PLAIN
        }),
        direct: true,
    },
    Job {
        name: "latency-pair",
        what: "mTLS pair over HTTP/1.1, 16 connections, open loop at 60 % of Envoy's saturation",
        measure: Measure::Latency(Requests {
            pair: true,
            connections: 16,
            ..PLAIN
        }),
        direct: true,
    },
    proxies(
        "memory",
        "resident memory 10 s after ready, idle and with clusters; start to ready",
        Measure::Memory,
    ),
    proxies(
        "ads-clusters",
        "clusters, endpoints and one secret over ADS, each cluster with mTLS: memory 10 s after ready and at the peak",
        Measure::AdsClusters,
    ),
    proxies(
        "after-load",
        "memory after 4,000 busy connections have gone",
        Measure::AfterLoad,
    ),
    proxies(
        "idle",
        "4,000 idle connections: KB each, after a small and after a 16 KB answer",
        Measure::Idle { tls: false },
    ),
    proxies(
        "idle-mtls",
        "4,000 idle mTLS connections: KB each",
        Measure::Idle { tls: true },
    ),
    proxies(
        "push",
        "10,000 endpoints of the cluster in use arrive over ADS while 2,000 requests a second run",
        Measure::Push,
    ),
    proxies("scrape", "/stats/prometheus with 50,000 series", Measure::Scrape),
];
