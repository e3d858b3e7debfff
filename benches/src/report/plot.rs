//! Plots: grouped bars, a group a job, a bar a proxy, as SVG.

use std::fmt::Write as _;

use super::{Results, number};
use crate::{
    job::{Metric, connections, memory, requests},
    proxy::Kind,
};

/// A plot: its file, its title, and which figures it shows.
struct Plot {
    file: &'static str,
    title: &'static str,
    bars: &'static [(&'static str, &'static str, Metric)],
}

const PLOTS: &[Plot] = &[
    Plot {
        file: "cpu.svg",
        title: "CPU per request, microseconds",
        bars: &[
            ("h1", "HTTP/1.1", requests::CPU),
            ("h2", "HTTP/2", requests::CPU),
            ("grpc", "gRPC", requests::CPU),
            ("pair-h1", "mTLS pair, h1", requests::CPU),
            ("pair-h2", "mTLS pair, h2", requests::CPU),
            ("tcp", "TCP", requests::CPU),
        ],
    },
    Plot {
        file: "latency.svg",
        title: "Latency at 60 % of Envoy's saturation, microseconds",
        bars: &[
            ("latency-h1", "HTTP/1.1, p50", requests::PACED[0]),
            ("latency-h1", "HTTP/1.1, p99", requests::PACED[2]),
            ("latency-pair", "mTLS pair, p50", requests::PACED[0]),
            ("latency-pair", "mTLS pair, p99", requests::PACED[2]),
        ],
    },
    Plot {
        file: "memory.svg",
        title: "Resident memory, KB",
        bars: &[
            ("memory", "idle", memory::IDLE),
            ("memory", "1,000 clusters", memory::CLUSTERS[1].1),
            ("memory", "10,000 clusters", memory::CLUSTERS[2].1),
            ("ads-clusters", "10,000 over ADS", memory::ADS_CLUSTERS[1].1),
        ],
    },
    Plot {
        file: "idle-connections.svg",
        title: "Memory per idle connection, KB",
        bars: &[
            ("idle", "plain", connections::SMALL),
            ("idle", "plain, after 16 KB", connections::LARGE),
            ("idle-mtls", "mTLS", connections::SMALL),
            ("idle-mtls", "mTLS, after 16 KB", connections::LARGE),
        ],
    },
];

const BAR: f64 = 26.0;
const GAP: f64 = 34.0;
const LEFT: f64 = 20.0;
const TOP: f64 = 64.0;
const HEIGHT: f64 = 220.0;
const BOTTOM: f64 = 40.0;

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Pillion => "#1f6feb",
        Kind::Envoy => "#b0457b",
        Kind::HaProxy => "#5b7f95",
        Kind::Nginx => "#3c8d5a",
        Kind::Direct => "#9a9a9a",
    }
}

/// Files and their content; a plot without figures is left out.
pub fn all(results: &Results<'_>) -> Vec<(&'static str, String)> {
    PLOTS
        .iter()
        .filter_map(|plot| Some((plot.file, draw(plot, results)?)))
        .collect()
}

fn draw(plot: &Plot, results: &Results<'_>) -> Option<String> {
    let groups: Vec<(&str, Vec<(Kind, f64)>)> = plot
        .bars
        .iter()
        .map(|(job, label, metric)| {
            let bars = Kind::ALL.into_iter().filter_map(|kind| {
                let summary = results.summary(job, kind, *metric)?;
                Some((kind, summary.median))
            });
            (*label, bars.collect::<Vec<_>>())
        })
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let highest = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, v)| *v)
        .fold(0.0, f64::max);
    if highest <= 0.0 {
        return None;
    }
    let mut x = LEFT;
    let mut body = String::new();
    for (label, bars) in &groups {
        let left = x;
        for (kind, value) in bars {
            let height = (value / highest * HEIGHT).max(1.0);
            let y = TOP + HEIGHT - height;
            // Writing to a string does not fail.
            let _ = writeln!(
                body,
                "<rect x='{x}' y='{y:.1}' width='{BAR}' height='{height:.1}' fill='{}'/>\
                 <text x='{}' y='{:.1}' font-size='9' text-anchor='middle'>{}</text>",
                colour(*kind),
                x + BAR / 2.0,
                y - 4.0,
                number(*value)
            );
            x += BAR + 4.0;
        }
        let _ = writeln!(
            body,
            "<text x='{:.1}' y='{}' font-size='12' text-anchor='middle'>{label}</text>",
            f64::midpoint(left, x - 4.0),
            TOP + HEIGHT + 18.0
        );
        x += GAP;
    }
    let mut legend = String::new();
    let shown = Kind::ALL
        .into_iter()
        .filter(|kind| groups.iter().any(|(_, bars)| bars.iter().any(|(k, _)| k == kind)));
    for (index, kind) in shown.enumerate() {
        let at = LEFT + index as f64 * 90.0;
        let _ = write!(
            legend,
            "<rect x='{at}' y='34' width='10' height='10' fill='{}'/><text x='{}' y='43' font-size='11'>{}</text>",
            colour(kind),
            at + 14.0,
            kind.name()
        );
    }
    let (width, height) = (x.max(LEFT + 480.0), TOP + HEIGHT + BOTTOM);
    Some(format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='{LEFT}' y='22' font-size='15'>{}</text>\n{legend}\n{body}</svg>\n",
        plot.title
    ))
}
