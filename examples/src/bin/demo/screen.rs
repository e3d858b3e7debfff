//! What the one who watches sees: a table that is drawn over and over, or plain lines where there is no terminal.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    facts::{ClusterFacts, Facts, SidecarFacts},
    load::{DIRECT, Key, MAIN, Shared, Tally},
    phase::Phase,
    topology::{V1, V2},
};

const REDRAW: Duration = Duration::from_millis(500);
/// Plain lines are read later, by the page.
const LINE: Duration = Duration::from_secs(2);
/// What a sidecar may take, in MB.
const BUDGET_MB: u32 = 100;

pub(crate) struct Screen {
    begin: Instant,
    tally: Shared,
    facts: watch::Receiver<Facts>,
    terminal: bool,
    /// Lines of the table that stands on the terminal.
    drawn: usize,
    last: Instant,
    phase: Phase,
    /// Requests of a series that were shown: ends of its latencies, failures.
    shown: BTreeMap<Key, (usize, usize)>,
}

/// One route and version since the last look.
#[derive(Default)]
struct Row {
    rate: f64,
    failed: usize,
    latencies: Vec<u32>,
}

impl Screen {
    pub(crate) fn new(begin: Instant, tally: Shared, facts: watch::Receiver<Facts>) -> Self {
        let terminal = io::stdout().is_terminal();
        if terminal {
            // Long lines are cut, not wrapped: the table is drawn over itself line by line.
            print!("\x1b[?7l");
        }
        Self {
            begin,
            tally,
            facts,
            terminal,
            drawn: 0,
            last: Instant::now(),
            phase: Phase::Start,
            shown: BTreeMap::new(),
        }
    }

    /// Draws for ever.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(if self.terminal { REDRAW } else { REDRAW / 5 }).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let phase = self.tally.lock().phase();
        let entered = phase != self.phase;
        self.phase = phase;
        if self.terminal {
            let table = self.table();
            self.draw(&table);
            return;
        }
        if entered {
            println!(
                "\n{:6.1} s  {phase}: {}",
                self.begin.elapsed().as_secs_f64(),
                phase.sentence()
            );
        }
        if self.last.elapsed() >= LINE {
            let line = self.line();
            println!("{line}");
        }
        let _ = io::stdout().flush();
    }

    fn draw(&mut self, table: &str) {
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        out.push_str(table);
        self.drawn = table.lines().count();
        print!("{out}");
        // A terminal that went away needs no table.
        let _ = io::stdout().flush();
    }

    fn rows(&mut self) -> BTreeMap<(&'static str, String), Row> {
        let elapsed = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let mut rows: BTreeMap<(&'static str, String), Row> = BTreeMap::new();
        for (route, version) in [(MAIN, "v1"), (MAIN, "v2"), (DIRECT, "v2")] {
            rows.insert((route, version.to_owned()), Row::default());
        }
        for (key, series) in &self.tally.lock().series {
            let (from, failed) = self.shown.entry(key.clone()).or_default();
            // Whom the main route would have asked is not known where nobody answered; the other leads to v2 alone.
            let version = match (key.version.as_str(), key.route) {
                ("", DIRECT) => "v2",
                ("", _) => "-",
                (version, _) => version,
            };
            let news = (series.latencies.len() - *from, series.failed - *failed);
            if news == (0, 0) {
                continue;
            }
            let row = rows.entry((key.route, version.to_owned())).or_default();
            row.latencies.extend_from_slice(&series.latencies[*from..]);
            row.failed += news.1;
            (*from, *failed) = (series.latencies.len(), series.failed);
        }
        for row in rows.values_mut() {
            row.latencies.sort_unstable();
            row.rate = (row.latencies.len() + row.failed) as f64 / elapsed;
        }
        rows
    }

    fn table(&mut self) -> String {
        let rows = self.rows();
        let facts = self.facts.borrow().clone();
        let callers = callers(&self.tally.lock());
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:5.1} s  {}: {}\n\nROUTE  VERSION  WEIGHT      RATE  ERRORS       P50       P99  CALLER, BY MTLS",
            self.begin.elapsed().as_secs_f64(),
            self.phase,
            self.phase.sentence()
        );
        for ((route, version), row) in &rows {
            let _ = writeln!(
                out,
                "{route:<5}  {version:<7}  {:>6}  {:>6.0}/s  {:>6}  {:>8}  {:>8}  {}",
                weight(self.phase, route, version),
                row.rate,
                row.failed,
                percentile(&row.latencies, 50),
                percentile(&row.latencies, 99),
                callers.get(version).map_or("", String::as_str)
            );
        }
        let _ = writeln!(out, "\nCLUSTER  IN FLIGHT  BREAKER  REFUSED  HOSTS");
        for name in [V1, V2] {
            let cluster = facts.clusters.get(name).cloned().unwrap_or_default();
            let _ = writeln!(
                out,
                "{name:<7}  {:>9}  {:<7}  {:>7}  {}",
                format!("{}/{}", cluster.active, cluster.limit),
                breaker(&cluster),
                cluster.overflow,
                hosts(&cluster)
            );
        }
        let _ = writeln!(
            out,
            "\nSIDECAR   ADS    CERTIFICATE  ROTATED  HANDSHAKES  FAILED  MEMORY OF {BUDGET_MB} MB"
        );
        for sidecar in &facts.sidecars {
            let _ = writeln!(out, "{}", sidecar_row(sidecar));
        }
        out
    }

    /// The same in one line.
    fn line(&mut self) -> String {
        let rows = self.rows();
        let facts = self.facts.borrow().clone();
        let mut out = format!("{:6.1} s", self.begin.elapsed().as_secs_f64());
        for ((route, version), row) in rows.iter().filter(|(_, row)| row.rate > 0.0) {
            let _ = write!(
                out,
                "  {route} {version} {:.0}/s {} errors p50 {} p99 {} |",
                row.rate,
                row.failed,
                percentile(&row.latencies, 50).trim(),
                percentile(&row.latencies, 99).trim()
            );
        }
        let v2 = facts.v2();
        let rotated = facts.sidecars.iter().map(|s| s.seen.len().saturating_sub(1)).min();
        let largest = facts.sidecars.iter().map(|s| s.rss_kib).max().unwrap_or(0);
        let _ = write!(
            out,
            "  v2: breaker {}, {} | {} rotations, {} failed handshakes | RSS at most {}",
            breaker(&v2),
            hosts(&v2),
            rotated.unwrap_or(0),
            facts.failed_handshakes(),
            megabytes(largest)
        );
        out
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.terminal {
            print!("\x1b[?7h");
            let _ = io::stdout().flush();
        }
    }
}

fn callers(tally: &Tally) -> BTreeMap<String, String> {
    let names = |ids: &BTreeMap<String, usize>| ids.keys().cloned().collect::<Vec<_>>().join(", ");
    tally
        .callers
        .iter()
        .map(|(version, ids)| (version.clone(), names(ids)))
        .collect()
}

fn weight(phase: Phase, route: &str, version: &str) -> String {
    let weights = phase.weights();
    match (route, version) {
        (MAIN, "v1") => format!("{} %", weights.v1),
        (MAIN, "v2") => format!("{} %", weights.v2),
        _ => String::new(),
    }
}

fn breaker(cluster: &ClusterFacts) -> &'static str {
    if cluster.open { "OPEN" } else { "closed" }
}

fn hosts(cluster: &ClusterFacts) -> String {
    let ejected = cluster.hosts.values().filter(|ejected| **ejected).count();
    let in_use = cluster.hosts.len() - ejected;
    if ejected == 0 {
        format!("{in_use} in use")
    } else {
        format!("{in_use} in use, {ejected} EJECTED")
    }
}

fn sidecar_row(sidecar: &SidecarFacts) -> String {
    /// So many digits tell serial numbers apart.
    const DIGITS: usize = 8;
    let serial = sidecar.presents.first().map_or("", String::as_str);
    format!(
        "{:<8}  {:<5}  {:<11}  {:>7}  {:>10}  {:>6}  {}",
        sidecar.node,
        sidecar.protocol.name(),
        &serial[..serial.len().min(DIGITS)],
        sidecar.seen.len().saturating_sub(1),
        sidecar.handshakes,
        sidecar.failed_handshakes,
        if sidecar.alive {
            megabytes(sidecar.rss_kib)
        } else {
            "gone".to_owned()
        }
    )
}

pub(crate) fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 / 1024.0)
}

/// Of sorted microseconds.
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> String {
    match sorted.get(sorted.len() * percent / 100) {
        Some(us) => format!("{:.1} ms", f64::from(*us) / 1000.0),
        None => "-".to_owned(),
    }
}
