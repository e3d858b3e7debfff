use std::sync::Arc;

use serde_json::json;

use super::{rates::Rate, *};
use crate::cluster::from_json;

fn cluster(hosts: usize, outlier: serde_json::Value) -> Arc<Cluster> {
    from_json::cluster(hosts, &json!({"outlier_detection": outlier}))
}

fn ejected(cluster: &Cluster) -> usize {
    let set = cluster.endpoints.load();
    let hosts = set.priorities.iter().flat_map(|p| &p.endpoints);
    hosts.filter(|e| e.state.ejected.load(Ordering::Relaxed)).count()
}

fn see(cluster: &Cluster, host: usize, seen: Seen, times: usize) {
    let endpoint = from_json::host(cluster, host);
    (0..times).for_each(|_| report(cluster, &endpoint, seen, 0));
}

const ERROR: Seen = Seen::Status(StatusCode::INTERNAL_SERVER_ERROR);
const OK: Seen = Seen::Status(StatusCode::OK);
const REFUSED: Seen = Seen::Reset(ResetReason::ConnectFailure);

#[test]
fn the_ejected_share_holds_after_the_ejection() {
    for hosts in 1..=20 {
        for percent in [0, 10, 33, 50, 100] {
            for one in [false, true] {
                let config =
                    json!({"consecutive_5xx": 1, "max_ejection_percent": percent, "always_eject_one_host": one});
                let cluster = cluster(hosts, config);
                (0..hosts).for_each(|host| see(&cluster, host, ERROR, 1));
                let most = (hosts * percent / 100).max(usize::from(one));
                assert_eq!(ejected(&cluster), most, "{hosts} {percent} {one}");
                let stats = &cluster.outlier.as_ref().unwrap().stats;
                assert_eq!(stats.value(Stat::EjectionsActive), most as u64);
                assert_eq!(stats.value(Stat::EjectionsOverflow), (hosts - most) as u64);
            }
        }
    }
}

#[test]
fn only_failures_in_a_row_count() {
    let cluster = cluster(2, json!({"max_ejection_percent": 100}));
    for _ in 0..3 {
        see(&cluster, 0, ERROR, 4);
        see(&cluster, 0, OK, 1);
        see(&cluster, 1, REFUSED, 4);
        see(&cluster, 1, Seen::Connected, 1);
    }
    assert_eq!(ejected(&cluster), 0);
    see(&cluster, 0, ERROR, 5);
    see(&cluster, 1, REFUSED, 5);
    assert_eq!(ejected(&cluster), 2);
}

#[test]
fn gateway_failures_have_a_rule_of_their_own_that_is_off() {
    let bad_gateway = Seen::Status(StatusCode::BAD_GATEWAY);
    let off = cluster(1, json!({"consecutive_5xx": 9, "max_ejection_percent": 100}));
    see(&off, 0, bad_gateway, 5);
    assert_eq!(ejected(&off), 0);
    let stats = &off.outlier.as_ref().unwrap().stats;
    assert_eq!(stats.value(Stat::EjectionsDetectedConsecutiveGatewayFailure), 1);
    assert_eq!(stats.value(Stat::EjectionsEnforcedTotal), 0);
    let on = json!({"consecutive_5xx": 9, "enforcing_consecutive_gateway_failure": 100, "max_ejection_percent": 100});
    let on = cluster(1, on);
    see(&on, 0, bad_gateway, 4);
    see(&on, 0, ERROR, 1);
    see(&on, 0, bad_gateway, 3);
    assert_eq!(ejected(&on), 0);
    see(&on, 0, bad_gateway, 2);
    assert_eq!(ejected(&on), 1);
}

#[test]
fn split_errors_are_counted_apart() {
    let split = json!({"split_external_local_origin_errors": true, "consecutive_local_origin_failure": 3,
        "consecutive_5xx": 3, "max_ejection_percent": 100});
    let split = cluster(2, split);
    see(&split, 0, REFUSED, 2);
    see(&split, 0, ERROR, 2);
    see(&split, 0, REFUSED, 2);
    assert_eq!(
        ejected(&split),
        0,
        "an answer, even a bad one, means that the host is reached"
    );
    see(&split, 0, REFUSED, 1);
    see(&split, 1, ERROR, 3);
    assert_eq!(ejected(&split), 2);
    let stats = &split.outlier.as_ref().unwrap().stats;
    assert_eq!(stats.value(Stat::EjectionsEnforcedConsecutiveLocalOriginFailure), 1);
    assert_eq!(stats.value(Stat::EjectionsEnforcedConsecutive5xx), 1);
}

#[test]
fn rules_are_enforced_as_often_as_they_say() {
    let enforced = |percent: u32| {
        let config = json!({"consecutive_5xx": 1, "enforcing_consecutive_5xx": percent, "max_ejection_percent": 100});
        let cluster = cluster(100, config);
        (0..100).for_each(|host| report(&cluster, &from_json::host(&cluster, host), ERROR, host as u64));
        ejected(&cluster)
    };
    assert_eq!([0, 30, 100].map(enforced), [0, 30, 100]);
}

#[test]
fn ejections_grow_up_to_the_limit_and_shrink_again() {
    let config = json!({"consecutive_5xx": 1, "max_ejection_percent": 100, "base_ejection_time": "10s",
        "max_ejection_time": "25s", "interval": "10s"});
    let cluster = cluster(1, config);
    let host = from_json::host(&cluster, 0);
    let mut at = now_ms();
    for seconds in [10, 20, 25, 25] {
        see(&cluster, 0, ERROR, 1);
        let until = host.state.outlier.ejected_until_ms.load(Ordering::Relaxed);
        let since = host.state.outlier.last_ejection_ms.load(Ordering::Relaxed);
        assert_eq!(until - since, seconds * 1000);
        tick_at(&cluster, 0, until - 1);
        assert_eq!(ejected(&cluster), 1);
        tick_at(&cluster, 0, until);
        assert_eq!(ejected(&cluster), 0);
        at = until;
    }
    for _ in 0..9 {
        at += 10_000;
        tick_at(&cluster, 0, at);
    }
    assert_eq!(host.state.outlier.ejections_in_a_row.load(Ordering::Relaxed), 0);
    assert_eq!(host.state.outlier.ejections.load(Ordering::Relaxed), 4);
}

#[test]
fn jitter_stays_within_its_bound() {
    let most = Duration::from_millis(500);
    let jitters = (0..1000_u64).map(|i| jitter(most, i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let (least, longest) = (jitters.clone().min().unwrap(), jitters.max().unwrap());
    assert!(longest <= most && longest - least > most / 2, "{least:?} {longest:?}");
    assert_eq!(jitter(Duration::ZERO, u64::MAX), Duration::ZERO);
}

#[test]
fn hosts_that_succeed_less_than_the_others_stand_out() {
    let cluster = cluster(1, json!({"enforcing_failure_percentage": 100}));
    let config = cluster.outlier.as_ref().unwrap();
    let rate = |success| Rate { total: 100, success };
    let mut rates = vec![rate(100); 9];
    assert_eq!(rates::outliers(&rates, config), []);
    rates.push(rate(60));
    assert_eq!(rates::outliers(&rates, config), [(9, Cause::SuccessRate)]);
    // Nobody stands out among few hosts, or with little traffic.
    assert_eq!(rates::outliers(&rates[6..], config), []);
    rates[9] = Rate { total: 99, success: 50 };
    assert_eq!(rates::outliers(&rates, config), []);
    let all_bad = vec![rate(15); 5];
    let causes = rates::outliers(&all_bad, config);
    assert!(causes.len() == 5 && causes.iter().all(|(_, cause)| *cause == Cause::FailurePercentage));
}

#[test]
fn success_rates_are_judged_each_interval() {
    let cluster = cluster(6, json!({"interval": "10s", "max_ejection_percent": 50}));
    let at = now_ms();
    tick_at(&cluster, 0, at + 20_000);
    for host in 0..6 {
        for i in 0..100 {
            let bad = host == 3 && i % 2 == 0;
            see(&cluster, host, if bad { ERROR } else { OK }, 1);
        }
    }
    tick_at(&cluster, 0, at + 25_000);
    assert_eq!(ejected(&cluster), 0);
    tick_at(&cluster, 0, at + 30_000);
    assert!(from_json::host(&cluster, 3).state.ejected.load(Ordering::Relaxed));
    assert_eq!(ejected(&cluster), 1);
}

#[test]
fn a_host_that_leaves_makes_room_for_another() {
    let cluster = cluster(2, json!({"consecutive_5xx": 1, "max_ejection_percent": 50}));
    see(&cluster, 0, ERROR, 1);
    see(&cluster, 1, ERROR, 1);
    assert_eq!(ejected(&cluster), 1);
    from_json::set_hosts(&cluster, 1..3);
    assert_eq!(
        (ejected(&cluster), cluster.state.ejected.load(Ordering::Relaxed)),
        (0, 0)
    );
    let host = from_json::host(&cluster, 0);
    report(&cluster, &host, ERROR, 0);
    assert_eq!(ejected(&cluster), 1);
}
