//! The demo as its users run it: its claims hold, and nothing of it outlives it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const CLAIMS: [&str; 10] = [
    "requests",
    "split 90/10",
    "split 50/50",
    "identity",
    "rotations",
    "handshakes",
    "breaker",
    "ejection",
    "memory",
    "configuration",
];

/// What this build may take, in MB: without optimisation, code alone takes more than the optimised one's whole limit.
const MAX_RSS: &str = if cfg!(debug_assertions) { "60" } else { "20" };

/// Sidecars get SIGTERM, drain and end.
const ORPHANS_LEFT: Duration = Duration::from_secs(30);

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn its_claims_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("summary.json");
    let ended = demo()
        .args(["--seconds", "20", "--max-rss", MAX_RSS, "--json"])
        .arg(&file)
        .output()
        .expect("the demo");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(ended.status.success(), "{}:\n{said}", ended.status);
    let text = fs::read_to_string(&file).expect("the summary");
    let summary: Value = serde_json::from_str(&text).expect("JSON");
    let claims = summary["claims"].as_array().expect("claims");
    let names: Vec<&str> = claims.iter().filter_map(|claim| claim["name"].as_str()).collect();
    assert_eq!(names, CLAIMS, "{said}");
    assert!(claims.iter().all(|claim| claim["holds"] == true), "{said}");
    assert_eq!(summary["holds"], true);
    assert_eq!(summary["sidecars"].as_array().map(Vec::len), Some(4));
}

/// Killed when dropped: a failed assertion must not leave a mesh behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn its_sidecars_end_with_it() {
    let child = demo().args(["--seconds", "600"]).stdout(Stdio::piped()).spawn();
    let mut running = Running(child.expect("the demo"));
    let stdout = running.0.stdout.take().expect("its output");
    let mut lines = BufReader::new(stdout).lines();
    let ready = lines.any(|line| line.expect("a line").starts_with("Ready"));
    assert!(ready, "it ended before it was ready");
    let sidecars = children(running.0.id());
    assert_eq!(sidecars.len(), 4, "{sidecars:?}");
    // SIGKILL: it cannot tidy up, so the kernel must.
    drop(running);
    let deadline = Instant::now() + ORPHANS_LEFT;
    while sidecars.iter().any(|pid| is_pillion(*pid)) {
        assert!(Instant::now() < deadline, "some of {sidecars:?} outlived the demo");
        thread::sleep(Duration::from_millis(50));
    }
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Still runs: a process that ended and awaits its new parent has no command line.
fn is_pillion(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"pillion\0"))
}
