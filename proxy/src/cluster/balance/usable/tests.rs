use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    cluster::{
        Cluster, Endpoint,
        balance::{Balancer, Facts, choose},
        from_json,
    },
    stats::ClusterStat,
};

/// wyrand's step and a mix: any sequence will do.
fn sequence() -> impl FnMut() -> u64 {
    let mut state = 0_u64;
    move || {
        state = state.wrapping_add(0xa076_1d64_78bd_642f);
        (state ^ (state >> 29))
            .wrapping_mul(0xe703_7ed1_a0b4_28db)
            .rotate_left(31)
    }
}

fn pick(cluster: &Arc<Cluster>, balancer: &mut Balancer, hash: Option<u64>, avoid: &[Arc<Endpoint>]) -> String {
    let mut random = sequence();
    let facts = Facts {
        hash,
        avoid,
        max_attempts: if avoid.is_empty() { 1 } else { 10 },
        original_destination: None,
        random: &mut random,
    };
    choose(cluster, balancer, facts, &mut ()).unwrap().address.to_string()
}

fn picks(cluster: &Arc<Cluster>, times: usize) -> Vec<String> {
    let (mut balancer, mut random) = (Balancer::default(), sequence());
    let mut one = || {
        let facts = Facts {
            hash: None,
            avoid: &[],
            max_attempts: 1,
            original_destination: None,
            random: &mut random,
        };
        choose(cluster, &mut balancer, facts, &mut ())
            .unwrap()
            .address
            .to_string()
    };
    (0..times).map(|_| one()).collect()
}

fn counts(picks: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    picks.iter().for_each(|host| *counts.entry(&**host).or_default() += 1);
    counts
}

fn hosts(weights: &[u32]) -> Value {
    weights
        .iter()
        .enumerate()
        .map(|(i, weight)| from_json::endpoint(i, *weight))
        .collect()
}

#[test]
fn weighted_round_robin_mixes_turns() {
    let cluster = from_json::cluster(0, &json!({}));
    from_json::assign(&cluster, &json!([{"lb_endpoints": hosts(&[60, 30, 10])}]));
    let picks = picks(&cluster, 1000);
    let counts = counts(&picks);
    for (host, share) in [("10.0.0.0:80", 600), ("10.0.0.1:80", 300), ("10.0.0.2:80", 100)] {
        assert!(counts[host].abs_diff(share) <= 10, "{counts:?}");
    }
    // The heavy host's turns do not come all at once.
    let longest = picks.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap();
    assert!(longest <= 4, "{longest} in a row");
}

#[test]
fn equal_hosts_take_turns_and_workers_begin_anywhere() {
    let cluster = from_json::cluster(4, &json!({}));
    let picks = picks(&cluster, 40);
    assert!(counts(&picks).values().all(|n| *n == 10));
    assert_ne!(picks[0], picks[1]);
}

#[test]
fn hashes_stick_over_workers_and_changes() {
    for policy in ["RING_HASH", "MAGLEV"] {
        let cluster = from_json::cluster(5, &json!({"lb_policy": policy}));
        let all = |balancer: &mut Balancer| -> Vec<String> {
            (0..200_u64)
                .map(|i| pick(&cluster, balancer, Some(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &[]))
                .collect()
        };
        let (mut one, mut other) = (Balancer::default(), Balancer::default());
        let before = all(&mut one);
        assert_eq!(before, all(&mut other), "{policy}");
        assert_eq!(counts(&before).len(), 5, "{policy}");
        from_json::set_hosts(&cluster, 0..6);
        let moved = all(&mut one)
            .iter()
            .zip(&before)
            .filter(|(new, old)| new != old)
            .count();
        assert!((1..80).contains(&moved), "{policy}: {moved} of 200 moved");
        // A retry that avoids the host finds another.
        let first = pick(&cluster, &mut one, Some(1), &[]);
        let place = (0..6)
            .find(|i| from_json::host(&cluster, *i).address.to_string() == first)
            .unwrap();
        let avoid = [from_json::host(&cluster, place)];
        assert_ne!(pick(&cluster, &mut one, Some(1), &avoid), first, "{policy}");
    }
}

#[test]
fn an_own_hash_key_places_a_host() {
    let cluster = from_json::cluster(0, &json!({"lb_policy": "MAGLEV"}));
    let assign = |order: [usize; 3]| {
        let hosts: Value = order
            .iter()
            .enumerate()
            .map(|(i, key)| {
                let key = json!({"metadata": {"filter_metadata": {"envoy.lb": {"hash_key": format!("key{key}")}}}});
                crate::config::from_json::patched(from_json::endpoint(i, 1), &key)
            })
            .collect();
        from_json::assign(&cluster, &json!([{"lb_endpoints": hosts}]));
        pick(&cluster, &mut Balancer::default(), Some(99), &[])
    };
    let keyed = |order: [usize; 3]| {
        let address = assign(order);
        let place: usize = address
            .trim_start_matches("10.0.0.")
            .trim_end_matches(":80")
            .parse()
            .unwrap();
        order[place]
    };
    assert_eq!(keyed([0, 1, 2]), keyed([2, 0, 1]));
}

#[test]
fn localities_share_as_their_weights_say() {
    let weighted = json!({"common_lb_config": {"locality_weighted_lb_config": {}, "healthy_panic_threshold": {}}});
    let cluster = from_json::cluster(0, &weighted);
    let mut sick = from_json::endpoint(3, 1);
    let localities = |sick: &Value| {
        json!([
            {"locality": {"zone": "a"}, "load_balancing_weight": 3, "lb_endpoints": [from_json::endpoint(0, 1)]},
            {"locality": {"zone": "b"}, "load_balancing_weight": 1,
             "lb_endpoints": [from_json::endpoint(1, 1), from_json::endpoint(2, 2), sick]},
            {"locality": {"zone": "c"}, "lb_endpoints": [from_json::endpoint(4, 100)]},
        ])
    };
    from_json::assign(&cluster, &localities(&sick));
    let all = picks(&cluster, 4000);
    let all = counts(&all);
    assert!(
        all["10.0.0.0:80"].abs_diff(3000) < 40 && all["10.0.0.2:80"].abs_diff(500) < 40,
        "{all:?}"
    );
    assert!(
        !all.contains_key("10.0.0.4:80"),
        "a locality without weight takes nothing: {all:?}"
    );
    sick["health_status"] = "UNHEALTHY".into();
    from_json::assign(&cluster, &localities(&sick));
    // Two of three at 140 % is 93 %: the locality takes that much of its weight.
    let less = picks(&cluster, 4000);
    let less = counts(&less);
    let share = less["10.0.0.1:80"] + less["10.0.0.2:80"];
    assert!(
        share.abs_diff(4000 * 93 / 393) < 40 && !less.contains_key("10.0.0.3:80"),
        "{less:?}"
    );
}

#[test]
fn panic_is_counted_and_ends_with_it() {
    let cluster = from_json::cluster(0, &json!({}));
    let sick = |n: usize| -> Value {
        (0..4)
            .map(|i| {
                let mut host = from_json::endpoint(i, 1);
                if i < n {
                    host["health_status"] = "UNHEALTHY".into();
                }
                host
            })
            .collect()
    };
    for (unhealthy, hosts, panics) in [(2, 2, false), (3, 4, true)] {
        from_json::assign(&cluster, &json!([{"lb_endpoints": sick(unhealthy)}]));
        let before = cluster.state.stats.value(ClusterStat::LbHealthyPanic);
        assert_eq!(counts(&picks(&cluster, 40)).len(), hosts);
        let counted = cluster.state.stats.value(ClusterStat::LbHealthyPanic) - before;
        assert_eq!(counted, if panics { 40 } else { 0 });
    }
}
