//! How many workers: Envoy's rule, the CPUs that the process may run on, capped by the cgroup's CPU quota.

use std::{fs, num::NonZero, path::Path, thread};

/// Worker threads where `--concurrency` is not given; at least 1.
pub fn default_concurrency() -> usize {
    // The standard library's number is capped by the quota too, but rounded down where Envoy rounds up.
    let cpus = crate::sys::affinity().unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota(Path::new("/sys/fs/cgroup"), &own);
    quota.map_or(cpus, |quota| cpus.min(quota)).max(1)
}

/// CPUs that the tightest quota comes to, rounded up, of the process's cgroup and of those around it; `None`: no quota.
/// `own` is `/proc/self/cgroup`: lines of `number:controllers:path`, the unified hierarchy's with neither.
fn quota(root: &Path, own: &str) -> Option<usize> {
    let path_of = |wanted: fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            wanted(controllers).then_some(path)
        })
    };
    // A controller stands in one hierarchy only, and where both exist it is the old one's.
    let v1 = || {
        let path = path_of(|controllers| controllers.split(',').any(|c| c == "cpu"))?;
        tightest(&root.join("cpu"), path, |dir| {
            let read = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<i64>().ok();
            whole(read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
        })
    };
    let v2 = || {
        let path = path_of(str::is_empty).unwrap_or("/");
        tightest(root, path, |dir| {
            parse_v2(&fs::read_to_string(dir.join("cpu.max")).ok()?)
        })
    };
    v1().or_else(v2)
}

/// The least of what a cgroup and its ancestors allow. A container may see the host's path and only its own files, at the
/// root: folders that are missing allow everything.
fn tightest(root: &Path, path: &str, read: impl Fn(&Path) -> Option<usize>) -> Option<usize> {
    let own = root.join(path.trim_start_matches('/'));
    let levels = own.ancestors().take_while(|dir| dir.starts_with(root));
    levels.filter_map(read).min()
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
    usize::try_from(quota.saturating_add(period - 1) / period).ok()
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

    #[test]
    fn the_tightest_level_of_either_hierarchy_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        assert_eq!(quota(root.path(), "0::/pod/app\n"), None);
        write("cpu.max", "max 100000");
        write("pod/cpu.max", "250000 100000");
        write("pod/app/cpu.max", "max 100000");
        assert_eq!(quota(root.path(), "0::/pod/app\n"), Some(3));
        assert_eq!(quota(root.path(), "0::/elsewhere\n"), None);
        assert_eq!(quota(root.path(), ""), None);
        write("cpu/cpu.cfs_quota_us", "150000");
        write("cpu/cpu.cfs_period_us", "100000");
        assert_eq!(quota(root.path(), "0::/pod\n4:cpuacct,cpu:/host/path\n"), Some(2));
    }
}
