//! What the kernel accounts to a process and its children: CPU time and memory.

use std::{
    fs,
    ops::{AddAssign, Sub},
};

/// CPU time in nanoseconds, user and system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu(pub u64);

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// Resident and proportional memory in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub rss: u64,
    pub pss: u64,
}

/// CPU time of all threads so far.
pub fn cpu(pids: &[u32]) -> Cpu {
    Cpu(threads(pids).iter().map(|(_, cpu)| cpu.0).sum())
}

/// Every thread's name and CPU time: the scheduler's own sum of run time, to the nanosecond, where `/proc/PID/stat` counts
/// ticks of 10 ms.
pub fn threads(pids: &[u32]) -> Vec<(String, Cpu)> {
    let threads = pids.iter().flat_map(|pid| {
        fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
    });
    threads
        .filter_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let spent = text.split(' ').next()?.parse::<u64>().ok()?;
            Some((name.trim_end().to_owned(), Cpu(spent)))
        })
        .collect()
}

pub fn memory(pids: &[u32]) -> Memory {
    pids.iter().fold(Memory::default(), |sum, pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        Memory {
            rss: sum.rss + field(&text, "Rss:"),
            pss: sum.pss + field(&text, "Pss:"),
        }
    })
}

/// The high-water mark of resident memory, in KiB.
pub fn peak_rss(pids: &[u32]) -> u64 {
    pids.iter()
        .map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            field(&text, "VmHWM:")
        })
        .sum()
}

/// From now on [`peak_rss`] counts anew.
pub fn reset_peak(pids: &[u32]) -> std::io::Result<()> {
    // Documented in proc(5): 5 resets the high-water mark.
    pids.iter()
        .try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// `VmRSS` of one process in KiB, as the kernel's own counter has it (to within a few pages a thread).
pub fn vm_rss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&text, "VmRSS:")
}

/// A process and those that it started: nginx and HAProxy have a master and workers.
pub fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while next < all.len() {
        let pid = all[next];
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}
