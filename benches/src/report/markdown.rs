//! A table a job: medians, and the lowest and highest round beside them.

use std::fmt::Write as _;

use super::{Results, Summary, number};
use crate::proxy::Kind;

pub fn document(results: &Results<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(results, &mut text);
    text
}

fn write(results: &Results<'_>, text: &mut String) -> std::fmt::Result {
    let of = |name: &str| results.machine[name].as_str().unwrap_or_default().to_owned();
    writeln!(text, "# Side by side\n")?;
    writeln!(
        text,
        "{}, {} cores, kernel {}, {}, commit {}, `benches {}`. Medians of {} interleaved rounds; in brackets the lowest and the highest.",
        of("cpu"),
        results.machine["cores"],
        of("kernel"),
        of("date"),
        of("commit"),
        of("command"),
        results.rounds
    )?;
    let versions: Vec<_> = results
        .programs
        .iter()
        .map(|program| format!("{} {}", program.kind.name(), program.version))
        .collect();
    writeln!(text, "{}.", versions.join(", "))?;
    for job in results.jobs {
        let kinds: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| results.values.keys().any(|(j, k, _)| *j == job.name && k == kind))
            .collect();
        if kinds.is_empty() {
            continue;
        }
        writeln!(text, "\n## {}\n\n{}.\n", job.name, job.what)?;
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let compared = kinds.starts_with(&[Kind::Pillion, Kind::Envoy]);
        let (last, rule) = if compared {
            (" Pillion / Envoy |", "---|")
        } else {
            ("", "")
        };
        writeln!(text, "| | {} |{last}", names.join(" | "))?;
        writeln!(text, "|---|{}{rule}", "---|".repeat(kinds.len()))?;
        for metric in results.metrics(job.name) {
            write!(text, "| {}, {} |", metric.name, metric.unit)?;
            for kind in &kinds {
                let summary = results.summary(job.name, *kind, metric);
                write!(text, " {} |", summary.map_or_else(|| "-".to_owned(), cell))?;
            }
            if compared {
                let [ours, envoys] = [Kind::Pillion, Kind::Envoy].map(|k| results.summary(job.name, k, metric));
                match (ours, envoys) {
                    (Some(ours), Some(envoys)) if envoys.median != 0.0 => {
                        write!(text, " {:.2} |", ours.median / envoys.median)?;
                    }
                    _ => write!(text, " - |")?,
                }
            }
            writeln!(text)?;
        }
    }
    if !results.void.is_empty() {
        writeln!(text, "\n## Void\n")?;
        for void in &results.void {
            writeln!(text, "- {void}")?;
        }
    }
    if !results.skipped.is_empty() {
        writeln!(text, "\n## Not measured\n")?;
        for line in &results.skipped {
            writeln!(text, "- {}", line.trim().replace('\n', " "))?;
        }
    }
    Ok(())
}

fn cell(summary: Summary) -> String {
    if summary.rounds == 1 {
        return number(summary.median);
    }
    format!(
        "{} ({}-{})",
        number(summary.median),
        number(summary.low),
        number(summary.high)
    )
}
