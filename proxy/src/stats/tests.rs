use std::thread;

use super::*;

const THREADS: usize = 4;

fn store() -> Store {
    Store::new(THREADS, StatsConfig::default())
}

/// Runs `work` on each indexed thread and on two that have no index.
fn on_all_threads(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for index in 0..THREADS + 2 {
            let work = &work;
            scope.spawn(move || {
                if index < THREADS {
                    set_thread_index(index);
                }
                work();
            });
        }
    });
}

#[test]
fn counters_of_all_threads_are_summed() {
    let store = store();
    let cluster = store.group::<ClusterStat>(Prefix::cluster("a"));
    on_all_threads(|| {
        for _ in 0..10_000 {
            cluster.inc(ClusterStat::UpstreamRqTotal);
            cluster.inc(ClusterStat::MembershipChange);
            cluster.inc_code(ClusterStat::UpstreamRqCode, 200);
        }
    });
    let all = 10_000 * (THREADS as u64 + 2);
    assert_eq!(cluster.value(ClusterStat::UpstreamRqTotal), all);
    assert_eq!(cluster.value(ClusterStat::MembershipChange), all);
    assert_eq!(cluster.value(ClusterStat::UpstreamCxTotal), 0);
}

/// 10,000 known clusters cost a few MB, used or not: see the design's memory rules.
#[test]
fn an_untouched_group_is_small() {
    assert!(size_of::<core::Core>() <= 192, "{}", size_of::<core::Core>());
    assert_eq!(size_of::<cells::Block>(), 128);
}

#[test]
fn a_gauge_may_rise_on_one_thread_and_fall_on_another() {
    let store = store();
    let listener = store.group::<ListenerStat>(Prefix::listener("127.0.0.1:1"));
    let on = |index: usize, n: i64| {
        thread::scope(|scope| {
            scope.spawn(|| {
                set_thread_index(index);
                listener.gauge_add(ListenerStat::DownstreamCxActive, n);
            });
        });
    };
    on(1, 3);
    on(2, -2);
    assert_eq!(listener.value(ListenerStat::DownstreamCxActive), 1);
    on(2, -2);
    assert_eq!(listener.value(ListenerStat::DownstreamCxActive), 0, "never below zero");
}

#[test]
fn histograms_of_all_threads_are_summed() {
    let store = store();
    let http = store.group::<HttpStat>(Prefix::http("in"));
    on_all_threads(|| (0..100).for_each(|value| http.record(HttpStat::DownstreamRqTime, value)));
    let seen = http.histogram(HttpStat::DownstreamRqTime);
    assert_eq!(seen.count(), 100 * (THREADS as u64 + 2));
    assert_eq!(seen.sum, 4950 * (THREADS as u64 + 2));
}

#[test]
fn owners_of_one_name_share_its_stats_and_the_last_takes_them_away() {
    let store = store();
    let one = store.group::<HttpStat>(Prefix::http("in"));
    let other = store.group::<HttpStat>(Prefix::http("in"));
    one.inc(HttpStat::NoRoute);
    other.inc(HttpStat::NoRoute);
    assert_eq!(one.value(HttpStat::NoRoute), 2);
    drop(one);
    assert_eq!(store.groups().len(), 1);
    drop(other);
    assert_eq!(store.groups().len(), 0);
    assert_eq!(store.group::<HttpStat>(Prefix::http("in")).value(HttpStat::NoRoute), 0);
}

#[test]
fn a_reset_takes_counters_to_zero_and_leaves_gauges() {
    let store = store();
    let cluster = store.group::<ClusterStat>(Prefix::cluster("a"));
    on_all_threads(|| {
        cluster.inc(ClusterStat::UpstreamCxTotal);
        cluster.gauge_add(ClusterStat::UpstreamCxActive, 1);
        cluster.inc(ClusterStat::UpdateAttempt);
        cluster.inc_code(ClusterStat::UpstreamRqCode, 503);
    });
    cluster.set(ClusterStat::MembershipTotal, 3);
    store.reset_counters();
    assert_eq!(cluster.value(ClusterStat::UpstreamCxTotal), 0);
    assert_eq!(cluster.value(ClusterStat::UpdateAttempt), 0);
    assert_eq!(cluster.value(ClusterStat::UpstreamCxActive), THREADS as u64 + 2);
    assert_eq!(cluster.value(ClusterStat::MembershipTotal), 3);
    on_all_threads(|| cluster.inc(ClusterStat::UpstreamCxTotal));
    assert_eq!(cluster.value(ClusterStat::UpstreamCxTotal), THREADS as u64 + 2);
}
