//! The README's table: what the project promises, and what the committed run measured, line by line.

use std::{fmt::Write as _, fs};

use anyhow::Context as _;

use serde_json::Value;

use super::number;
use crate::{
    job::{Metric, connections, memory, push, requests},
    proxy::Kind,
};

/// How a figure is judged.
enum Goal {
    /// At most so many times another proxy's.
    Of(Kind, f64),
    /// What the proxy adds to the load without one: at most so many times what another adds.
    AddedOf(Kind, f64),
    AtMost(f64),
}

struct Line {
    what: &'static str,
    job: &'static str,
    metric: Metric,
    goal: Goal,
}

const fn line(what: &'static str, job: &'static str, metric: Metric, goal: Goal) -> Line {
    Line {
        what,
        job,
        metric,
        goal,
    }
}

const LINES: &[Line] = &[
    line(
        "HTTP/1.1, CPU per request",
        "h1",
        requests::CPU,
        Goal::Of(Kind::HaProxy, 1.2),
    ),
    line(
        "HTTP/1.1, CPU per request",
        "h1",
        requests::CPU,
        Goal::Of(Kind::Envoy, 0.42),
    ),
    line(
        "mTLS pair over HTTP/1.1, CPU",
        "pair-h1",
        requests::CPU,
        Goal::Of(Kind::Envoy, 0.5),
    ),
    line(
        "mTLS pair over HTTP/2, CPU",
        "pair-h2",
        requests::CPU,
        Goal::Of(Kind::Envoy, 0.5),
    ),
    line("gRPC unary, CPU", "grpc", requests::CPU, Goal::Of(Kind::Envoy, 0.5)),
    line(
        "TCP, CPU per exchange",
        "tcp",
        requests::CPU,
        Goal::Of(Kind::Envoy, 0.8),
    ),
    line(
        "HTTP/1.1, added p50",
        "latency-h1",
        requests::PACED[0],
        Goal::AddedOf(Kind::Envoy, 0.6),
    ),
    line(
        "HTTP/1.1, added p99",
        "latency-h1",
        requests::PACED[2],
        Goal::AddedOf(Kind::Envoy, 0.6),
    ),
    line(
        "mTLS pair, added p50",
        "latency-pair",
        requests::PACED[0],
        Goal::AddedOf(Kind::Envoy, 0.6),
    ),
    line(
        "mTLS pair, added p99",
        "latency-pair",
        requests::PACED[2],
        Goal::AddedOf(Kind::Envoy, 0.6),
    ),
    line("RSS, idle", "memory", memory::IDLE, Goal::AtMost(8_000.0)),
    line(
        "RSS, 1,000 clusters",
        "memory",
        memory::CLUSTERS[1].1,
        Goal::AtMost(14_000.0),
    ),
    line(
        "RSS, 10,000 clusters",
        "memory",
        memory::CLUSTERS[2].1,
        Goal::AtMost(45_000.0),
    ),
    line("start to ready", "memory", memory::READY, Goal::AtMost(20.0)),
    line("idle plain connection", "idle", connections::SMALL, Goal::AtMost(4.0)),
    line(
        "idle plain connection, after 16 KB",
        "idle",
        connections::LARGE,
        Goal::AtMost(4.0),
    ),
    line(
        "idle mTLS connection",
        "idle-mtls",
        connections::SMALL,
        Goal::AtMost(13.0),
    ),
    line(
        "idle mTLS connection, after 16 KB",
        "idle-mtls",
        connections::LARGE,
        Goal::AtMost(13.0),
    ),
    line(
        "within 1.5 x idle after 4,000 connections",
        "after-load",
        memory::SETTLED,
        Goal::AtMost(30.0),
    ),
    line(
        "p99 moved by a push of 10,000 endpoints",
        "push",
        push::P99_MOVED,
        Goal::Of(Kind::Envoy, 0.25),
    ),
    line("the same, CPU of a worker", "push", push::WORKER, Goal::AtMost(50.0)),
];

impl Line {
    /// The row, or `None` where the run has not measured it.
    fn row(&self, document: &Value) -> Option<String> {
        let named = |list: &Value, name: &str| list.as_array()?.iter().find(|entry| entry["name"] == name).cloned();
        let job = named(&document["jobs"], self.job)?;
        let metric = named(&job["metrics"], self.metric.name)?;
        let of = |kind: Kind| metric["proxies"][kind.name()]["median"].as_f64();
        let shown = |kind| of(kind).map_or_else(|| "-".to_owned(), number);
        let ours = of(Kind::Pillion)?;
        let (measured, wanted, met) = match self.goal {
            Goal::AtMost(most) => (String::new(), format!("at most {}", number(most)), ours <= most),
            Goal::Of(other, most) => {
                let ratio = ours / of(other)?;
                let measured = format!("{ratio:.2} x {}", other.name());
                (measured, format!("at most {most} x"), ratio <= most)
            }
            Goal::AddedOf(other, most) => {
                let direct = of(Kind::Direct)?;
                let ratio = (ours - direct) / (of(other)? - direct);
                let measured = format!("{ratio:.2} x what {} adds", other.name());
                (measured, format!("at most {most} x"), ratio <= most)
            }
        };
        let unit = self.metric.unit;
        let figures = [Kind::Pillion, Kind::Envoy, Kind::HaProxy, Kind::Nginx].map(shown);
        let verdict = if met { "" } else { ": **missed**" };
        Some(format!(
            "| {}, {unit} | {} | {measured} | {wanted}{verdict} |",
            self.what,
            figures.join(" | ")
        ))
    }
}

/// The table, with where and how it was measured.
fn table(document: &Value) -> String {
    let machine = &document["machine"];
    let of = |name: &str| machine[name].as_str().unwrap_or_default();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}, {} cores, {}, commit {}, `benches {}`: medians of {} interleaved rounds.\n\n\
         | | Pillion | Envoy | HAProxy | nginx | measured | wanted |\n|---|---|---|---|---|---|---|",
        of("cpu"),
        machine["cores"],
        of("date"),
        of("commit"),
        of("command"),
        document["rounds"]
    );
    for row in LINES.iter().filter_map(|line| line.row(document)) {
        let _ = writeln!(text, "{row}");
    }
    let void = document["skipped"].as_array().into_iter().flatten();
    for line in void.filter_map(Value::as_str).filter(|line| line.contains(": void: ")) {
        let _ = writeln!(text, "\nNot counted: {line}.");
    }
    text
}

/// Where results that the README shows are committed, and the README.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results/results.json");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->";

/// Puts the table of the committed results between the README's two marks.
///
/// # Errors
/// Where a file cannot be read or written, or has no marks.
pub fn renew_readme() -> anyhow::Result<()> {
    let results = fs::read_to_string(RESULTS).context(RESULTS)?;
    let table = table(&serde_json::from_str(&results)?);
    let text = fs::read_to_string(README).context(README)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .context("README.md: no mark where the figures begin")?;
    let (_, after) = rest
        .split_once(END)
        .context("README.md: no mark where the figures end")?;
    Ok(fs::write(README, format!("{before}{BEGIN}{table}{END}{after}"))?)
}
