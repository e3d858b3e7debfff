//! Config changes under load: nothing fails, nothing closes that did not change, what changed drains.
//!
//! `PILLION_BIN=/path/to/envoy` runs the same against Envoy, which is how the test itself is tried.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

/// The applications, the config, the clients.
mod config_swap {
    pub mod apps;
    pub mod clients;
    pub mod load;
    pub mod mesh;
}

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use config_swap::apps::SLOW;
use config_swap::clients::{Http1, Http2, Http2Error, LIMIT, Tunnel};
use config_swap::load::{self, Report};
use config_swap::mesh::{CHANGING, CHANGING_TCP, DRAIN_TIME, Ends, HERE, Mesh};
use support::peers;
use tokio::task::LocalSet;

/// Rounds of four changes each: endpoints, routes, a cluster, a secret.
const CHANGES_PER_ROUND: usize = 4;
/// Every so many rounds listeners change too.
const LISTENER_ROUNDS: usize = 25;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

#[test]
fn a_thousand_changes_lose_nothing() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(changes_under_load(&binary, true, 1000));
}

#[test]
fn changes_by_state_of_the_world_lose_nothing() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(changes_under_load(&binary, false, 200));
}

async fn changes_under_load(binary: &Path, delta: bool, changes: usize) {
    let mesh = Mesh::start(binary, delta).await;
    let started = Instant::now();
    let load = load::start(&mesh.config);
    let mut made = 0;
    let mut chain_changes = 0;
    for round in 1.. {
        if made >= changes || load.failures() > 0 {
            break;
        }
        change(&mesh, round);
        if round.is_multiple_of(LISTENER_ROUNDS) {
            chain_changes += 1;
            change_listeners(&mesh, chain_changes);
        }
        mesh.config.routes(round);
        mesh.config.wait_generation(round).await;
        // Every client meets every round.
        load.progress().await;
        made += CHANGES_PER_ROUND;
    }
    let Report {
        served,
        moved,
        failures,
    } = load.stop().await;
    crate::say!(
        "{made} changes in {:?}: {served:?}, told to go: {moved:?}",
        started.elapsed()
    );
    assert_eq!(failures, [""; 0], "failed requests");
    assert_eq!(mesh.config.plane.rejections(), [""; 0]);
    assert!(made >= changes);
    assert_eq!(served.len(), load::CLIENTS.len());
    for client in [load::HTTP1_CHANGES, load::HTTP2_CHANGES] {
        let told = moved.get(client).copied().unwrap_or(0);
        assert!(
            (1..=chain_changes as u64).contains(&told),
            "{client}: {told} connections were told to go in {chain_changes} changes"
        );
    }
}

/// One round but for its routes, which come last and say that all of it is in force.
fn change(mesh: &Mesh, round: usize) {
    let config = &mesh.config;
    let which = ["plain", "multiplexed", "echo"][round % 3];
    config.endpoints(which, Ends::turn(round / 3));
    match round % 8 {
        0 if round.is_multiple_of(16) => config.cluster("unrelated", round),
        0 => config.remove_cluster("unrelated"),
        1 | 5 => config.cluster("secure", round),
        2 => config.cluster("plain", round),
        3 => config.cluster("tcp-secure", round),
        4 | 7 => config.cluster("multiplexed", round),
        _ => config.cluster("echo", round),
    }
    // Rounds of eight: both authorities trusted, then certificates of the other, then only the other trusted.
    let (old, new) = ((round / 8) % 2, (round / 8 + 1) % 2);
    match round % 8 {
        1 => config.trust(&[old, new]),
        6 => config.trust(&[new]),
        0 | 2 => config.identity(old),
        _ => config.identity(new),
    }
}

fn change_listeners(mesh: &Mesh, number: usize) {
    mesh.config.chains(number);
    if number.is_multiple_of(2) {
        mesh.config.unrelated_listener(number);
    } else {
        mesh.config.remove_listener("unrelated");
    }
}

#[test]
fn a_changed_filter_chain_drains_its_own_connections() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(chain_drain(&binary));
}

async fn chain_drain(binary: &Path) {
    let mesh = Mesh::start(binary, true).await;
    let chains = mesh.config.address("chains");
    let mut kept = Http1::open(HERE, chains).await.unwrap();
    let (mut kept_h2, _kept_driver) = Http2::open(HERE, chains).await.unwrap();
    kept.get("/plain").await.unwrap();
    kept_h2.get("/plain").await.unwrap();
    let mut idle = Http1::open(CHANGING, chains).await.unwrap();
    let mut used = Http1::open(CHANGING, chains).await.unwrap();
    let mut busy = Http1::open(CHANGING, chains).await.unwrap();
    let (mut h2, mut h2_driver) = Http2::open(CHANGING, chains).await.unwrap();
    let mut tunnel = Tunnel::open(CHANGING_TCP, chains).await.unwrap();
    for connection in [&mut idle, &mut used, &mut busy] {
        assert!(!connection.get("/plain").await.unwrap().last);
    }
    h2.get("/plain").await.unwrap();
    tunnel.echo(b"before").await.unwrap();

    // One request of each protocol is under way when the chain changes.
    busy.send("/slow").await.unwrap();
    let mut h2_busy = h2.clone();
    let slow = tokio::spawn(async move { h2_busy.get("/slow").await });
    tokio::time::sleep(SLOW / 2).await;
    mesh.config.chains(1);
    mesh.config.routes(1);
    mesh.config.wait_generation(1).await;
    let changed = Instant::now();

    // A drain begins once the change is public: a request may come between the two, and a closed connection fails the next.
    while !used.get("/plain").await.unwrap().last {
        assert!(changed.elapsed() < LIMIT, "no request after the change is told to go");
    }
    let answer = busy.receive().await.unwrap();
    assert!(
        answer.last,
        "a response that began after the change: {:?}",
        answer.message
    );
    slow.await.unwrap().expect("the stream that was under way");
    loop {
        match h2.get("/plain").await {
            // Sent before the GOAWAY came.
            Ok(_) => tokio::task::yield_now().await,
            Err(Http2Error::GoAway) => break,
            Err(e) => panic!("a stream after the change: {e}"),
        }
    }
    tokio::time::timeout(LIMIT, &mut h2_driver)
        .await
        .expect("the HTTP/2 connection's end")
        .unwrap()
        .expect("an orderly end");
    used.closed().await.unwrap();
    busy.closed().await.unwrap();
    // What is told nothing, because it asks nothing, ends with the drain time, and a tunnel no sooner.
    idle.closed().await.unwrap();
    tunnel.closed().await.unwrap();
    assert!(changed.elapsed() < DRAIN_TIME * 10, "{:?}", changed.elapsed());

    assert!(!kept.get("/plain").await.unwrap().last);
    kept_h2.get("/plain").await.unwrap();
    assert_eq!(mesh.config.plane.rejections(), [""; 0]);
}

#[test]
fn sigterm_lets_streams_finish() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(sigterm(&binary, true));
}

#[test]
fn sigterm_waits_no_longer_than_the_drain_time() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(sigterm(&binary, false));
}

/// `finish`: the client ends its tunnel; else the drain time does. (Envoy ends at once.)
async fn sigterm(binary: &Path, finish: bool) {
    let Mesh {
        mut proxy,
        config,
        _dir,
    } = Mesh::start(binary, true).await;
    let web = config.address("web");
    let mut idle = Http1::open(HERE, web).await.unwrap();
    idle.get("/plain").await.unwrap();
    let mut busy = Http1::open(HERE, web).await.unwrap();
    let (mut h2, h2_driver) = Http2::open(HERE, web).await.unwrap();
    let mut tunnel = Tunnel::open(HERE, config.address("tcp-secure")).await.unwrap();
    busy.send("/slow").await.unwrap();
    let slow = tokio::spawn(async move { h2.get("/slow").await });
    tokio::time::sleep(SLOW / 2).await;
    proxy.terminate();
    let told = Instant::now();

    let answer = busy.receive().await.unwrap();
    assert_eq!(answer.message.body, b"/slow");
    assert!(answer.last, "{:?}", answer.message);
    slow.await.unwrap().expect("the stream that was under way");
    idle.closed().await.unwrap();
    let ended = tokio::time::timeout(LIMIT, h2_driver)
        .await
        .expect("the HTTP/2 connection's end");
    ended.unwrap().expect("an orderly end");
    let refused = Http1::open(HERE, web).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    if finish {
        tunnel.echo(b"still there?").await.unwrap();
        drop(tunnel);
    } else {
        tunnel.closed().await.unwrap();
    }
    let status = tokio::task::spawn_blocking(move || proxy.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < DRAIN_TIME * 10);
}

#[test]
fn idle_connections_to_what_went_are_closed() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    run(async {
        let mesh = Mesh::start(&binary, true).await;
        let (config, proxy) = (&mesh.config, Arc::new(mesh.proxy));
        let open = async |wanted: fn(u64) -> bool| {
            let proxy = proxy.clone();
            // The upstream runs on this thread, which must not wait for the proxy.
            let waited = move || proxy.wait_stat("cluster.multiplexed.upstream_cx_active", wanted);
            tokio::task::spawn_blocking(waited).await.unwrap()
        };
        let mut client = Http1::open(HERE, config.address("web")).await.unwrap();
        let changes: [&dyn Fn(); 4] = [
            // The host stays: this cluster asks for new connections with every change of its hosts.
            &|| config.endpoints("multiplexed", Ends::Both),
            &|| config.endpoints("multiplexed", Ends::Second),
            &|| {
                config.cluster("multiplexed", 1);
                // Envoy's new version waits for an answer about its endpoints, 15 s where nothing changed.
                config.endpoints("multiplexed", Ends::Both);
            },
            &|| config.remove_cluster("multiplexed"),
        ];
        for (number, change) in (1..).zip(changes) {
            client.get("/multiplexed").await.unwrap();
            open(|count| count > 0).await;
            change();
            config.routes(number);
            config.wait_generation(number).await;
            open(|count| count == 0).await;
        }
    });
}

/// What becomes of a TCP connection when its endpoint, cluster or listener changes.
#[derive(Debug, PartialEq, Eq, Default)]
struct Tunnels {
    /// The tunnel works on after each of these.
    after_endpoint_removed: bool,
    after_cluster_changed: bool,
    after_cluster_removed: bool,
    /// Which echo a new connection reaches after the endpoint was removed.
    new_connection: String,
}

#[test]
fn tcp_to_a_removed_endpoint_follows_envoy() {
    let Some(binary) = peers::pillion("config_swap") else {
        return;
    };
    let ours = run(tunnels(&binary));
    crate::say!("tcp to a removed endpoint: {ours:?}");
    if let Some(envoy) = peers::need("tcp_to_a_removed_endpoint_follows_envoy", "envoy") {
        assert_eq!(ours, run(tunnels(&envoy)), "ours, Envoy's");
    }
}

async fn tunnels(binary: &Path) -> Tunnels {
    let mesh = Mesh::start(binary, true).await;
    let config = &mesh.config;
    let mut seen = Tunnels::default();
    let mut tunnel = Tunnel::open(HERE, config.address("tcp")).await.unwrap();
    tunnel.echo(b"before").await.unwrap();
    assert_eq!(tunnel.name, "first");
    config.endpoints("echo", Ends::Second);
    config.routes(1);
    config.wait_generation(1).await;
    let deadline = Instant::now() + LIMIT;
    while seen.new_connection != "second" && Instant::now() < deadline {
        seen.new_connection = Tunnel::open(HERE, config.address("tcp")).await.unwrap().name;
    }
    seen.after_endpoint_removed = lives(&mut tunnel).await;
    let mut tunnel = Tunnel::open(HERE, config.address("tcp")).await.unwrap();
    config.cluster("echo", 1);
    config.routes(2);
    config.wait_generation(2).await;
    seen.after_cluster_changed = lives(&mut tunnel).await;
    let mut tunnel = Tunnel::open(HERE, config.address("tcp")).await.unwrap();
    config.remove_cluster("echo");
    config.routes(3);
    config.wait_generation(3).await;
    seen.after_cluster_removed = lives(&mut tunnel).await;
    seen
}

/// Whether bytes still go both ways, now and a little later: a close takes its time to arrive.
async fn lives(tunnel: &mut Tunnel) -> bool {
    for _ in 0..10 {
        if tunnel.is_closed() || tunnel.echo(b"still there?").await.is_err() {
            return false;
        }
        tokio::time::sleep(SLOW / 5).await;
    }
    true
}
