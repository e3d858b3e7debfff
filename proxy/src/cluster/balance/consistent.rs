//! Consistent hashing: equal hashes go to equal hosts, and few of them move when a host comes or goes. Ring hash (Ketama)
//! and Maglev, built as Envoy builds them, so that a mesh of both proxies agrees host by host.

use xxhash_rust::xxh64::xxh64;

/// A host to place: what its place is derived from, and its weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) key: &'a str,
    /// At least 1.
    pub(super) weight: u64,
}

/// Where each hash goes; hosts are numbered as they were given.
#[derive(Debug)]
pub(super) enum Table {
    /// (hash, host), by hash.
    Ring(Box<[(u64, u32)]>),
    Maglev(Box<[u32]>),
}

impl Table {
    /// The host of a hash; `attempt` counts from 0 and moves on where a host is to be avoided. `None`: there are no hosts.
    pub(super) fn host(&self, hash: u64, attempt: u32) -> Option<usize> {
        let host = match self {
            Self::Ring(ring) => {
                let first = ring.partition_point(|(point, _)| *point < hash);
                let place = (first as u64 + u64::from(attempt)) % (ring.len() as u64).max(1);
                ring.get(place as usize)?.1
            }
            Self::Maglev(table) => {
                let hash = match attempt {
                    0 => hash,
                    again => hash ^ (u64::MAX - u64::from(again) + 1),
                };
                *table.get((hash % (table.len() as u64).max(1)) as usize)?
            }
        };
        Some(host as usize)
    }

    /// A ring of at least `minimum` and at most `maximum` points, each host having as many as its share of the weights.
    pub(super) fn ring(hosts: &[Host<'_>], minimum: u64, maximum: u64, murmur: bool) -> Self {
        let total = hosts.iter().map(|host| host.weight).sum::<u64>() as f64;
        let share = |host: &Host<'_>| host.weight as f64 / total;
        let Some(least) = hosts.iter().map(share).min_by(f64::total_cmp) else {
            return Self::Ring(Box::default());
        };
        // The lightest host gets a whole number of points, unless that would make too many.
        let scale = ((least * minimum as f64).ceil() / least).min(maximum as f64);
        let mut ring = Vec::with_capacity(scale.ceil() as usize);
        let (mut placed, mut target) = (0.0, 0.0);
        let mut text = String::new();
        for (number, host) in hosts.iter().enumerate() {
            target += scale * share(host);
            text.clear();
            text.push_str(host.key);
            text.push('_');
            let stem = text.len();
            for point in 0_u64.. {
                if placed >= target {
                    break;
                }
                text.truncate(stem);
                text.push_str(&point.to_string());
                let hash = match murmur {
                    true => murmur2(text.as_bytes()),
                    false => xxh64(text.as_bytes(), 0),
                };
                ring.push((hash, number as u32));
                placed += 1.0;
            }
        }
        ring.sort_unstable_by_key(|(hash, _)| *hash);
        Self::Ring(ring.into())
    }

    /// Maglev's table: hosts take turns, the heavier ones more often, each at the next free place of its permutation.
    /// `size` is a prime, so that every permutation visits every place.
    pub(super) fn maglev(hosts: &[Host<'_>], size: u64) -> Self {
        struct Turn {
            offset: u64,
            skip: u64,
            next: u64,
            weight: f64,
            /// Of the round in which the host takes its next place.
            due: f64,
            number: u32,
        }
        const FREE: u32 = u32::MAX;
        let total = hosts.iter().map(|host| host.weight).sum::<u64>() as f64;
        let mut turns: Vec<Turn> = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| Turn {
                number: number as u32,
                offset: xxh64(host.key.as_bytes(), 0) % size,
                skip: xxh64(host.key.as_bytes(), 1) % (size - 1) + 1,
                next: 0,
                weight: host.weight as f64 / total,
                due: 0.0,
            })
            .collect();
        // The order in which a control plane names hosts must not move any: they take turns by their keys.
        turns.sort_by_key(|turn| hosts[turn.number as usize].key);
        let Some(heaviest) = turns.iter().map(|turn| turn.weight).max_by(f64::total_cmp) else {
            return Self::Maglev(Box::default());
        };
        let mut table = vec![FREE; size as usize];
        let mut left = table.len();
        for round in 1_u64.. {
            for turn in &mut turns {
                if left == 0 {
                    return Self::Maglev(table.into());
                }
                if (round as f64) * turn.weight < turn.due {
                    continue;
                }
                turn.due += heaviest;
                let place = loop {
                    let place = ((turn.offset + turn.skip * turn.next) % size) as usize;
                    turn.next += 1;
                    if table[place] == FREE {
                        break place;
                    }
                };
                table[place] = turn.number;
                left -= 1;
            }
        }
        Self::Maglev(table.into())
    }
}

/// MurmurHash2, 64 bits (public domain, Austin Appleby), as libstdc++ uses it: Envoy's `MURMUR_HASH_2`.
fn murmur2(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const MIX: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let shift_mix = |v: u64| v ^ (v >> SHIFT);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MIX);
    let mut chunks = bytes.chunks_exact(size_of::<u64>());
    for chunk in &mut chunks {
        let mut word = [0; size_of::<u64>()];
        word.copy_from_slice(chunk);
        let data = shift_mix(u64::from_le_bytes(word).wrapping_mul(MIX)).wrapping_mul(MIX);
        hash = (hash ^ data).wrapping_mul(MIX);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let data = rest.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        hash = (hash ^ data).wrapping_mul(MIX);
    }
    shift_mix(shift_mix(hash).wrapping_mul(MIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(hosts: usize) -> Vec<String> {
        (0..hosts).map(|i| format!("10.0.0.{i}:80")).collect()
    }

    fn hosts(keys: &[String]) -> Vec<Host<'_>> {
        keys.iter().map(|key| Host { key, weight: 1 }).collect()
    }

    fn tables(hosts: &[Host<'_>]) -> [(&'static str, Table); 3] {
        [
            ("ring", Table::ring(hosts, 1024, 8_388_608, false)),
            ("murmur ring", Table::ring(hosts, 1024, 8_388_608, true)),
            ("maglev", Table::maglev(hosts, 65_537)),
        ]
    }

    const HASHES: u64 = 20_000;

    fn hash(i: u64) -> u64 {
        xxh64(&i.to_le_bytes(), 7)
    }

    #[test]
    fn hosts_share_as_their_weights_say() {
        let keys = keys(5);
        let mut hosts = hosts(&keys);
        hosts[0].weight = 4;
        for (kind, table) in tables(&hosts) {
            let mut counts = [0_u64; 5];
            (0..HASHES).for_each(|i| counts[table.host(hash(i), 0).unwrap()] += 1);
            assert!(
                (HASHES * 35 / 100..HASHES * 65 / 100).contains(&counts[0]),
                "{kind}: {counts:?}"
            );
            assert!(counts[1..].iter().all(|n| *n > HASHES / 25), "{kind}: {counts:?}");
        }
    }

    #[test]
    fn a_host_that_leaves_moves_little_but_its_own_hashes() {
        let keys = keys(10);
        let all = hosts(&keys);
        // Without the last, so that the others keep their numbers.
        for ((kind, before), (_, after)) in tables(&all).into_iter().zip(tables(&all[..9])) {
            let moved = (0..HASHES)
                .map(hash)
                .map(|h| (before.host(h, 0).unwrap(), after.host(h, 0).unwrap()))
                .filter(|(old, new)| *old != 9 && old != new)
                .count() as u64;
            // Rings of nine and of ten hosts have different numbers of points a host.
            assert!(moved < HASHES / 10, "{kind}: {moved} of {HASHES} moved");
        }
    }

    #[test]
    fn another_attempt_finds_another_host_and_none_is_no_panic() {
        let keys = keys(3);
        for (kind, table) in tables(&hosts(&keys)) {
            let other = (1..50).any(|attempt| table.host(12_345, attempt) != table.host(12_345, 0));
            assert!(other, "{kind}");
        }
        for (kind, table) in tables(&[]) {
            assert_eq!(table.host(1, 0), None, "{kind}");
        }
    }

    #[test]
    fn a_ring_stays_within_its_size() {
        let keys = keys(7);
        for (minimum, maximum) in [(1, 4), (100, 100), (1024, 1024)] {
            let Table::Ring(ring) = Table::ring(&hosts(&keys), minimum, maximum, false) else {
                unreachable!()
            };
            assert!(ring.len() as u64 <= maximum, "{minimum} {maximum}: {}", ring.len());
        }
    }

    /// Values of libstdc++'s `_Hash_bytes`, which is Envoy's MURMUR_HASH_2.
    #[test]
    fn murmur_is_the_standard_librarys() {
        for (text, hash) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("12345678", 0x8c5b_90a3_3a04_dca5),
            ("127.0.0.1:80_17", 0x260c_77a9_1e47_235e),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text:?}");
        }
    }
}
