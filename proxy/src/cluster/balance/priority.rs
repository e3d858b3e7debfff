//! Which priority a request goes to (Envoy's docs, "Priority levels"): each takes its health times the overprovisioning
//! factor, the next what is left.

use crate::cluster::Cluster;

const PERCENT: u64 = 100;

/// The index of the priority; `None` where no priority has an endpoint.
pub(super) fn pick<T>(priorities: &[T], usable: impl Fn(&T) -> usize, random: u64, cluster: &Cluster) -> Option<usize> {
    if let [only] = priorities {
        return (usable(only) > 0).then_some(0);
    }
    let set = cluster.endpoints.load();
    let total = |i: usize| set.priorities.get(i).map_or(0, |p| p.endpoints.len());
    let shares: Vec<(usize, usize)> = priorities
        .iter()
        .enumerate()
        .map(|(i, p)| (usable(p), total(i)))
        .collect();
    let loads = loads(&shares, u64::from(set.overprovisioning_factor));
    let mut point = random % PERCENT;
    for (i, load) in loads.iter().enumerate() {
        if point < *load {
            return Some(i);
        }
        point -= load;
    }
    shares.iter().position(|(usable, _)| *usable > 0)
}

/// Whether the healthy endpoints of several priorities together can take everything; one priority panics by itself.
pub(super) fn is_enough(shares: &[(usize, usize)], overprovisioning: u64) -> bool {
    shares.len() > 1 && shares.iter().map(|share| health(share, overprovisioning)).sum::<u64>() >= PERCENT
}

/// Percent that a priority can take.
fn health((usable, total): &(usize, usize), overprovisioning: u64) -> u64 {
    if *total == 0 {
        0
    } else {
        (*usable as u64 * overprovisioning / *total as u64).min(PERCENT)
    }
}

/// Percent of requests for each priority, from (usable, total) endpoints.
fn loads(shares: &[(usize, usize)], overprovisioning: u64) -> Vec<u64> {
    let health = |share: &(usize, usize)| health(share, overprovisioning);
    let sum: u64 = shares.iter().map(health).sum::<u64>().min(PERCENT);
    if sum == 0 {
        return vec![0; shares.len()];
    }
    let mut left = PERCENT;
    let mut loads: Vec<u64> = shares
        .iter()
        .map(|share| {
            let load = (health(share) * PERCENT / sum).min(left);
            left -= load;
            load
        })
        .collect();
    // What rounding left over goes to the first that takes anything.
    if let Some(first) = loads.iter_mut().find(|load| **load > 0) {
        *first += left;
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::loads;

    /// The table in Envoy's docs, "Priority levels", of two priorities at factor 140 %.
    #[test]
    fn loads_follow_envoys_table() {
        for (p0, p1, want) in [
            (100, 100, [100, 0]),
            (72, 72, [100, 0]),
            (71, 71, [99, 1]),
            (50, 50, [70, 30]),
            (25, 100, [35, 65]),
        ] {
            let got = loads(&[(p0, 100), (p1, 100)], 140);
            assert_eq!(got, want, "{p0} {p1}");
        }
        assert_eq!(loads(&[(0, 100), (100, 100)], 140), [0, 100]);
        assert_eq!(loads(&[(25, 100), (25, 100)], 140), [50, 50]);
    }
}
