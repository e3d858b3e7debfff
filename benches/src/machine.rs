//! What the figures were measured on, and which cores do what.

use std::{fs, process::Command, thread};

use serde_json::{Value, json};

/// Cores as taskset writes them.
#[derive(Debug, Clone)]
pub struct Cores {
    pub proxy: &'static str,
    /// For two workers.
    pub two: &'static str,
    pub load: &'static str,
}

impl Cores {
    /// Two workers share a core with the load where there are only two cores.
    pub fn choose() -> Self {
        let count = thread::available_parallelism().map_or(1, Into::into);
        let load = match count {
            1 => "0",
            2 => "1",
            _ => "2",
        };
        let two = if count == 1 { "0" } else { "0,1" };
        Self { proxy: "0", two, load }
    }

    /// Moves this process, with every thread that it will start, to the load's core.
    pub fn take_load(&self) -> anyhow::Result<()> {
        let pid = std::process::id().to_string();
        let status = Command::new("taskset")
            .args(["-a", "-p", "-c", self.load, &pid])
            .stdout(std::process::Stdio::null())
            .status()?;
        anyhow::ensure!(status.success(), "taskset: {status}");
        Ok(())
    }
}

pub fn describe() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model.unwrap_or("unknown"),
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.unwrap_or("unknown").trim(),
        "kernel": kernel.trim(),
        "date": date(),
        "commit": output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]),
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "load_average_at_start": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}

fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
    )
}
