//! What running traffic feels of a push, and what the push costs each thread.

use std::{thread, time::Duration};

use examples::resources::{self, ENDPOINT};
use serde_json::{Value, json};

use super::{Metric, Sample, control_plane, metric};
use crate::{
    histogram::Histogram,
    load::{Pace, exchange::Client, exchange::Exchange},
    process::{self, Cpu},
    proxy::{
        Program, Running,
        config::{NODE, PUSHED, Protocol, Setup},
    },
    run::Bench,
};

pub const P99_BEFORE: Metric = metric("p99 before the push", "us");
pub const P99: Metric = metric("p99 during the push", "us");
pub const P99_MOVED: Metric = metric("p99 moved by", "us");
pub const P999_BEFORE: Metric = metric("p99.9 before the push", "us");
pub const P999: Metric = metric("p99.9 during the push", "us");
pub const MAIN: Metric = metric("CPU of the push, main thread", "ms");
pub const WORKER: Metric = metric("CPU of the push, worker", "ms");
pub const OTHERS: Metric = metric("CPU of the push, other threads", "ms");

const ENDPOINTS: usize = 10_000;
/// In a round, each taken back before the next: a p99 of one window is its 20th slowest request, and chance.
const PUSHES: u32 = 8;
const CONNECTIONS: usize = 16;
/// Far from saturation, so that little of the CPU time is the traffic's.
const PACE: Pace = Pace::PerSecond(2_000.0);
/// Short, so that a p99 sees a stall of 10 ms.
const WINDOW: Duration = Duration::from_secs(1);
/// When in the window the push begins.
const LEAD: Duration = Duration::from_millis(200);
const WARM: Duration = Duration::from_millis(400);

pub fn endpoints(bench: &Bench, program: &Program) -> anyhow::Result<Vec<Sample>> {
    let (plane, _serving) = control_plane::start()?;
    let port = bench.origins.http1.port();
    let few = resources::any(ENDPOINT, &assignment(port, 1))?;
    let many = resources::any(ENDPOINT, &assignment(port, ENDPOINTS))?;
    plane.set(NODE, ENDPOINT, PUSHED, few.clone());
    let setup = Setup {
        control_plane: Some(plane.address()),
        ..Setup::new(Protocol::Http1, bench.origins.http1)
    };
    let proxy = program.start(&setup, bench.cores.proxy, bench.dir())?;
    let mut client = Client::connect(proxy.address, CONNECTIONS, Exchange::get(100))?;
    let membership = format!("cluster.{PUSHED}.membership_total");
    let (mut before, mut during) = (Windows::default(), Windows::default());
    for _ in 0..PUSHES {
        client.run(PACE, WARM)?;
        before.add(&mut client, &proxy)?;
        let pushed = thread::spawn({
            let (plane, many) = (plane.clone(), many.clone());
            move || {
                thread::sleep(LEAD);
                plane.set(NODE, ENDPOINT, PUSHED, many);
            }
        });
        during.add(&mut client, &proxy)?;
        let _ = pushed.join();
        control_plane::wait_for(&proxy, &plane, &membership, ENDPOINTS)?;
        plane.set(NODE, ENDPOINT, PUSHED, few.clone());
        control_plane::wait_for(&proxy, &plane, &membership, 1)?;
    }
    let [p99_before, p999_before] = [0.99, 0.999].map(|q| before.latencies.quantile(q));
    let [p99, p999] = [0.99, 0.999].map(|q| during.latencies.quantile(q));
    let mut samples = vec![
        (P99_BEFORE, p99_before),
        (P99, p99),
        (P99_MOVED, p99 - p99_before),
        (P999_BEFORE, p999_before),
        (P999, p999),
    ];
    let metrics = [MAIN, WORKER, OTHERS];
    samples.extend(
        metrics
            .into_iter()
            .zip(before.cpu)
            .zip(during.cpu)
            .map(|((metric, quiet), busy)| {
                // Less than nothing is noise of the traffic.
                (metric, (busy - quiet).0 as f64 / 1e6 / f64::from(PUSHES))
            }),
    );
    Ok(samples)
}

/// One endpoint that answers, and others of a lower priority, so that no request waits for a connection to a new one.
fn assignment(port: u16, count: usize) -> Value {
    let endpoint = |(a, b): (usize, usize)| {
        json!({"endpoint": {"address": {"socket_address": {
            "address": format!("127.0.{a}.{b}"), "port_value": port,
        }}}})
    };
    let others: Vec<_> = (1..count).map(|i| endpoint((1 + i / 250, 1 + i % 250))).collect();
    json!({"cluster_name": PUSHED, "endpoints": [
        {"lb_endpoints": [endpoint((0, 1))], "priority": 0},
        {"lb_endpoints": others, "priority": 1},
    ]})
}

/// What all windows of a kind saw.
#[derive(Default)]
struct Windows {
    latencies: Histogram,
    /// Of the main thread, the worker and the others.
    cpu: [Cpu; 3],
}

impl Windows {
    fn add(&mut self, client: &mut Client, proxy: &Running) -> anyhow::Result<()> {
        let before = by_role(proxy);
        let outcome = client.run(PACE, WINDOW)?;
        let after = by_role(proxy);
        self.latencies.add(&outcome.latencies);
        for (sum, (after, before)) in self.cpu.iter_mut().zip(after.into_iter().zip(before)) {
            *sum += after - before;
        }
        Ok(())
    }
}

fn by_role(proxy: &Running) -> [Cpu; 3] {
    let mut roles = [Cpu::default(); 3];
    // The first thread that the kernel lists is the process's first.
    for (index, (name, cpu)) in process::threads(&[proxy.pid()]).into_iter().enumerate() {
        let role = match name.as_str() {
            _ if index == 0 => 0,
            // Both name their workers so.
            name if name.starts_with("wrk:") => 1,
            _ => 2,
        };
        roles[role] += cpu;
    }
    roles
}
