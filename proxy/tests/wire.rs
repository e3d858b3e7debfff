//! What both proxies say to one control plane, and in which order, while it pushes, holds back and removes; and what
//! their clients see meanwhile. Envoy is the referee.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

#[path = "wire/control_plane.rs"]
mod control_plane;
#[path = "wire/resources.rs"]
mod resources;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use control_plane::{ControlPlane, TYPES};
use resources::*;
use support::bootstrap::Bootstrap;
use support::{h1, peers, proxy::Proxy};

/// A proxy under a control plane, and the ports that its listeners have.
struct Scene {
    control_plane: ControlPlane,
    proxy: Proxy,
    ports: Bootstrap,
    transport: Transport,
}

/// What a client is told: status and body.
fn ask(port: u16, host: &str, headers: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n");
    let response = runtime.block_on(h1::ask(SocketAddr::from(([127, 0, 0, 1], port)), request.as_bytes()));
    response.map_or_else(
        || "no answer".to_owned(),
        |response| format!("{} {}", response.status(), String::from_utf8_lossy(&response.body)),
    )
}

impl Scene {
    /// Writes what a client of a listener sees.
    fn look(&self, listener: &str, host: &str, headers: &str) {
        let seen = ask(self.ports.port(listener), host, headers);
        // What the request made the proxy ask for comes before what came of it.
        self.control_plane.settle();
        let of = if headers.is_empty() { host } else { headers.trim() };
        self.control_plane.note(format!("{listener} {of}: {seen}"));
    }

    fn count(&self, stat: &str) {
        self.control_plane.note(format!("{stat}: {}", self.proxy.stat(stat)));
    }

    /// A push, and all that it leads to.
    fn push(&self, what: &str, set: &[(&'static str, serde_json::Value)], removed: &[(&'static str, &str)]) {
        self.control_plane.note(format!("-- {what}"));
        self.control_plane.push(set, removed);
        self.control_plane.settle();
    }
}

/// Plays a scenario with both proxies; their logs.
fn play(
    test: &str,
    transport: Transport,
    first: fn(&ControlPlane, &Bootstrap, Transport),
    then: fn(&Scene),
) -> Option<[Vec<String>; 2]> {
    let envoy = peers::need(test, "envoy")?;
    let pillion = peers::pillion(test)?;
    Some([envoy, pillion].map(|binary| {
        let dir = tempfile::tempdir().unwrap();
        let mut ports = Bootstrap::new("", dir.path(), "");
        for name in ["one", "two", "dead"] {
            ports.reserve(name);
        }
        let control_plane = ControlPlane::start();
        first(&control_plane, &ports, transport);
        let proxy = Proxy::start(&binary, &transport.bootstrap(control_plane.address), dir.path());
        control_plane.settle();
        let scene = Scene {
            control_plane,
            proxy,
            ports,
            transport,
        };
        then(&scene);
        scene.control_plane.log()
    }))
}

/// Streams of their own overtake each other, and of how many a type has (Envoy: one for each resource) only what they ask
/// for together is compared: step by step, what of a type was asked for that had not been before, and how it was answered.
fn by_type(log: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut steps = BTreeMap::<String, BTreeSet<String>>::new();
    let mut known = BTreeSet::new();
    let mut step = "start".to_owned();
    for (number, line) in log.iter().enumerate() {
        let service = TYPES
            .iter()
            .find(|(service, _)| line.starts_with(&format!("{service} ")));
        match (service, line.strip_prefix("-- ")) {
            (_, Some(name)) => step = name.to_owned(),
            (None, None) => {
                _ = steps
                    .entry(format!("{step}: seen, {number}"))
                    .or_default()
                    .insert(line.clone())
            }
            (Some((service, _)), None) => {
                let mut words = line.split([' ', ',']).skip(1);
                let verb = words.next().unwrap_or_default();
                let names = words.filter(|word| !word.is_empty() && !word.starts_with('-'));
                let fresh: BTreeSet<String> = names
                    .map(|name| name.trim_start_matches('+').to_owned())
                    .filter(|name| known.insert((*service, name.clone())))
                    .collect();
                if verb != "asks" {
                    steps
                        .entry(format!("{step}: {service}"))
                        .or_default()
                        .insert(verb.to_owned());
                }
                if !fresh.is_empty() {
                    steps
                        .entry(format!("{step}: {service} asks"))
                        .or_default()
                        .extend(fresh);
                }
            }
        }
    }
    // Sightings by their order, not by how many requests went before.
    let mut seen = 0;
    let mut named = BTreeMap::new();
    let mut sightings: Vec<_> = steps
        .iter()
        .filter_map(|(key, lines)| {
            let (step, number) = key.rsplit_once(": seen, ")?;
            Some((number.parse::<usize>().ok()?, step.to_owned(), lines.clone()))
        })
        .collect();
    sightings.sort();
    for (_, step, lines) in sightings {
        seen += 1;
        named.insert(format!("{seen:03} {step}"), lines);
    }
    steps.retain(|key, _| !key.contains(": seen, "));
    steps.extend(named);
    steps
}

fn compare(test: &str, transport: Transport, first: fn(&ControlPlane, &Bootstrap, Transport), then: fn(&Scene)) {
    let Some([envoy, pillion]) = play(test, transport, first, then) else {
        return;
    };
    if std::env::var_os("WIRE_SHOW").is_some() {
        say!("--- Envoy\n{}\n--- Pillion\n{}", envoy.join("\n"), pillion.join("\n"));
    }
    match transport.is_aggregated() {
        true => assert_eq!(envoy.join("\n"), pillion.join("\n")),
        false => assert_eq!(by_type(&envoy), by_type(&pillion)),
    }
}

/// Clusters with endpoints, a listener with routes.
fn mesh(control_plane: &ControlPlane, ports: &Bootstrap, transport: Transport) {
    let dead = ports.port("dead");
    let set = [
        ("CDS", cluster("c1", transport, "5s")),
        ("CDS", cluster("c2", transport, "5s")),
        ("EDS", endpoints("c1", dead)),
        ("EDS", endpoints("c2", dead)),
        ("LDS", listener("one", ports.port("one"), &rds("r1", transport), false)),
        ("RDS", routes("r1", "first")),
    ];
    control_plane.push(&set, &[]);
}

fn pushes(scene: &Scene) {
    let (transport, dead) = (scene.transport, scene.ports.port("dead"));
    let one = |routes: &str| listener("one", scene.ports.port("one"), &rds(routes, transport), false);
    scene.look("one", "a.test", "");
    scene.push("other endpoints", &[("EDS", endpoints("c1", dead + 1))], &[]);
    scene.push("other routes", &[("RDS", routes("r1", "second"))], &[]);
    scene.look("one", "a.test", "");
    scene.push(
        "a cluster more and one less",
        &[("CDS", cluster("c3", transport, "5s")), ("EDS", endpoints("c3", dead))],
        &[("CDS", "c2"), ("EDS", "c2")],
    );
    scene.count("cluster_manager.active_clusters");

    // The old version serves until the new one has all that it needs.
    scene.control_plane.hold("RDS");
    scene.push(
        "a listener with other routes, held back",
        &[("LDS", one("r2")), ("RDS", routes("r2", "third"))],
        &[],
    );
    scene.look("one", "a.test", "");
    scene.count("listener_manager.total_listeners_warming");
    scene.control_plane.note("-- the routes");
    scene.control_plane.let_go("RDS");
    scene.control_plane.settle();
    scene.look("one", "a.test", "");
    scene.count("listener_manager.total_listeners_warming");

    scene.control_plane.hold("EDS");
    scene.push(
        "a cluster whose endpoints are held back",
        &[("CDS", cluster("c4", transport, "5s")), ("EDS", endpoints("c4", dead))],
        &[],
    );
    scene.count("cluster_manager.warming_clusters");
    scene.control_plane.note("-- the endpoints");
    scene.control_plane.let_go("EDS");
    scene.control_plane.settle();
    scene.count("cluster_manager.warming_clusters");
    scene.count("cluster_manager.active_clusters");

    scene.push(
        "a second listener",
        &[(
            "LDS",
            listener("two", scene.ports.port("two"), &rds("r2", transport), false),
        )],
        &[],
    );
    scene.look("two", "a.test", "");
    scene.push("the second listener goes", &[], &[("LDS", "two")]);
    scene.look("one", "a.test", "");
    let broken =
        serde_json::json!({"name": "r2", "virtual_hosts": [virtual_host("a", "x", "1"), virtual_host("b", "x", "2")]});
    scene.push("routes that cannot be", &[("RDS", broken)], &[]);
    scene.look("one", "a.test", "");
    scene.push("good routes again", &[("RDS", routes("r2", "fourth"))], &[]);
    scene.look("one", "a.test", "");
}

#[test]
fn pushes_over_ads() {
    compare("pushes_over_ads", Transport::Ads, mesh, pushes);
}

#[test]
fn pushes_over_delta_ads() {
    compare("pushes_over_delta_ads", Transport::DeltaAds, mesh, pushes);
}

#[test]
fn pushes_over_streams_of_their_own() {
    compare("pushes_over_streams_of_their_own", Transport::Own, mesh, pushes);
}

#[test]
fn pushes_over_delta_streams_of_their_own() {
    compare(
        "pushes_over_delta_streams_of_their_own",
        Transport::DeltaOwn,
        mesh,
        pushes,
    );
}

fn scopes(control_plane: &ControlPlane, ports: &Bootstrap, transport: Transport) {
    let set = [
        ("LDS", listener("one", ports.port("one"), &scoped(transport), true)),
        ("LDS", listener("two", ports.port("two"), &scoped(transport), false)),
        ("SRDS", scope("s1", "a", "r1", false)),
        ("SRDS", scope("s2", "b", "r2", true)),
        ("RDS", routes("r1", "first")),
        ("RDS", routes("r2", "second")),
    ];
    control_plane.push(&set, &[]);
}

fn scoped_requests(scene: &Scene) {
    let look = |listener: &str, key: &str| scene.look(listener, "a.test", &format!("x-scope: {key}\r\n"));
    for listener in ["two", "one"] {
        look(listener, "a");
        look(listener, "none");
        scene.look(listener, "a.test", "");
    }
    scene
        .control_plane
        .note("-- a scope on demand, without the filter and with it");
    look("two", "b");
    look("one", "b");
    look("two", "b");
    scene.push(
        "a scope goes, others exchange their keys",
        &[
            ("SRDS", scope("s2", "a", "r2", false)),
            ("SRDS", scope("s3", "c", "r1", false)),
        ],
        &[("SRDS", "s1")],
    );
    ["a", "b", "c"].iter().for_each(|key| look("two", key));
    for stat in ["all_scopes", "config_reload", "update_success"] {
        scene.count(&format!("http.in.scoped_rds.scopes.{stat}"));
    }
    scene.push(
        "two scopes with one key",
        &[("SRDS", scope("s4", "c", "r1", false))],
        &[],
    );
    look("two", "c");
    scene.count("http.in.scoped_rds.scopes.update_rejected");
}

#[test]
fn scopes_over_ads() {
    compare("scopes_over_ads", Transport::Ads, scopes, scoped_requests);
}

#[test]
fn scopes_over_delta_ads() {
    compare("scopes_over_delta_ads", Transport::DeltaAds, scopes, scoped_requests);
}

#[test]
fn scopes_over_streams_of_their_own() {
    compare(
        "scopes_over_streams_of_their_own",
        Transport::Own,
        scopes,
        scoped_requests,
    );
}

fn hosts(control_plane: &ControlPlane, ports: &Bootstrap, transport: Transport) {
    let set = [
        ("LDS", listener("one", ports.port("one"), &rds("r1", transport), true)),
        ("LDS", listener("two", ports.port("two"), &rds("r1", transport), false)),
        ("RDS", discovered("r1", transport)),
        ("VHDS", virtual_host("r1/first.test", "first.test", "first")),
    ];
    control_plane.push(&set, &[]);
}

fn requests_of_hosts(scene: &Scene) {
    for listener in ["two", "one"] {
        scene.look(listener, "fixed.test", "");
        scene.look(listener, "first.test", "");
    }
    scene.look("two", "more.test", "");
    scene.control_plane.note("-- on demand: one that is not there");
    scene.look("one", "none.test", "");
    scene.push(
        "one that is there",
        &[("VHDS", virtual_host("r1/more.test", "more.test", "more"))],
        &[],
    );
    scene.look("one", "MORE.test", "");
    scene.look("one", "more.test", "");
    scene.look("two", "more.test", "");
    scene.control_plane.settle();
    scene.push(
        "what was asked for in vain comes",
        &[("VHDS", virtual_host("r1/none.test", "none.test", "late"))],
        &[],
    );
    scene.look("two", "none.test", "");
    scene.push("one goes", &[], &[("VHDS", "r1/first.test")]);
    scene.look("two", "first.test", "");
    for stat in ["config_reload", "update_success", "update_rejected"] {
        scene.count(&format!("http.in.rds.vhds.r1.{stat}"));
    }
}

#[test]
fn virtual_hosts_over_a_stream_of_their_own() {
    compare(
        "virtual_hosts_over_a_stream_of_their_own",
        Transport::DeltaOwn,
        hosts,
        requests_of_hosts,
    );
}

#[test]
fn virtual_hosts_over_delta_ads() {
    compare(
        "virtual_hosts_over_delta_ads",
        Transport::DeltaAds,
        hosts,
        requests_of_hosts,
    );
}
