//! How many workers: Envoy's rule, the CPUs that the process may run on, capped by the cgroup's CPU quota.

use std::{fs, num::NonZero, thread};

/// Worker threads where `--concurrency` is not given; at least 1.
pub fn default_concurrency() -> usize {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    quota().map_or(cpus, |quota| cpus.min(quota)).max(1)
}

/// CPUs that the cgroup's quota comes to, rounded up; `None`: no quota. The standard library reads cgroups too, but rounds
/// down and only at the process's own level.
fn quota() -> Option<usize> {
    let v2 = || parse_v2(&fs::read_to_string("/sys/fs/cgroup/cpu.max").ok()?);
    let v1 = || {
        let read = |name: &str| {
            fs::read_to_string(format!("/sys/fs/cgroup/cpu/{name}"))
                .ok()?
                .trim()
                .parse::<i64>()
                .ok()
        };
        whole(read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
    };
    v2().or_else(v1)
}

/// `200000 100000`, or `max 100000`.
fn parse_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    whole(quota.parse().ok()?, period.parse().ok()?)
}

fn whole(quota: i64, period: i64) -> Option<usize> {
    if quota <= 0 || period <= 0 {
        return None;
    }
    usize::try_from((quota + period - 1) / period).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up() {
        assert_eq!(parse_v2("200000 100000\n"), Some(2));
        assert_eq!(parse_v2("150000 100000\n"), Some(2));
        assert_eq!(parse_v2("50000 100000\n"), Some(1));
        assert_eq!(parse_v2("max 100000\n"), None);
        assert_eq!(whole(-1, 100_000), None);
    }
}
