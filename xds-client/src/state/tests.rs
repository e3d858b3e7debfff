//! The machine by hand: what goes out after what came in.

use super::*;
use crate::message::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, RESOURCE_TYPE_URL,
    Resource as WireResource,
};
use crate::resource_type::{CLUSTER, ENDPOINT, LISTENER, SECRET, VIRTUAL_HOST};
use bytes::Bytes;
use prost::Message;

mod model;

const FOREVER: Duration = Duration::ZERO;

/// A resource whose body is its name as field 1 and `content` as field 2.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    content: String,
}

fn body(type_url: &str, name: &str) -> Any {
    let body = Body {
        name: name.into(),
        content: String::new(),
    };
    Any {
        type_url: type_url.into(),
        value: body.encode_to_vec().into(),
    }
}

fn sotw(type_url: &str, version: &str, nonce: &str, names: &[&str]) -> Response {
    Response::StateOfTheWorld(DiscoveryResponse {
        version_info: version.into(),
        resources: names.iter().map(|name| body(type_url, name)).collect(),
        type_url: type_url.into(),
        nonce: nonce.into(),
        control_plane: None,
    })
}

fn delta(type_url: &str, nonce: &str, resources: &[(&str, &str)], removed: &[&str]) -> Response {
    let resource = |(name, version): &(&str, &str)| WireResource {
        version: (*version).into(),
        resource: Some(body(type_url, name)),
        name: (*name).into(),
        ..WireResource::default()
    };
    Response::Delta(DeltaDiscoveryResponse {
        system_version_info: "system".into(),
        resources: resources.iter().map(resource).collect(),
        type_url: type_url.into(),
        nonce: nonce.into(),
        removed_resources: removed.iter().map(|it| (*it).into()).collect(),
        control_plane: None,
    })
}

fn next_sotw(mux: &mut Mux) -> DiscoveryRequest {
    match mux.next_request().expect("a request").request {
        Request::StateOfTheWorld(request) => request,
        Request::Delta(request) => panic!("{request:?}"),
    }
}

fn next_delta(mux: &mut Mux) -> DeltaDiscoveryRequest {
    match mux.next_request().expect("a request").request {
        Request::Delta(request) => request,
        Request::StateOfTheWorld(request) => panic!("{request:?}"),
    }
}

fn update(notice: Option<Notice>) -> Update {
    match notice {
        Some(Notice::Update(update)) => update,
        other => panic!("{other:?}"),
    }
}

fn names(update: &Update) -> Vec<&str> {
    update.resources.iter().map(|it| &*it.name).collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

fn subscribe(mux: &mut Mux, type_url: &str, names: &[&str], now: Instant) {
    names
        .iter()
        .for_each(|name| mux.subscribe(type_url, (*name).into(), FOREVER, now));
}

fn rejection(name: &str, reason: &str) -> Rejection {
    Rejection {
        name: name.into(),
        reason: reason.into(),
    }
}

fn connected(protocol: Protocol) -> Mux {
    let mut mux = Mux::new(protocol, true);
    mux.connected();
    mux
}

#[test]
fn sotw_goes_round_in_envoys_order() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    let first = mux.next_request().unwrap();
    assert!(first.with_node);
    let Request::StateOfTheWorld(first) = first.request else {
        panic!()
    };
    assert_eq!(
        (
            first.type_url.as_str(),
            first.resource_names.len(),
            first.version_info.as_str()
        ),
        (CLUSTER, 0, "")
    );
    assert!(mux.next_request().is_none());

    let clusters = update(mux.received(sotw(CLUSTER, "1", "n1", &["a", "b"]), now));
    assert_eq!(names(&clusters), ["a", "b"]);
    assert!(mux.next_request().is_none(), "no ACK before the verdict");
    subscribe(&mut mux, ENDPOINT, &["b", "a"], now);
    mux.answer(clusters.id, Verdict::Accepted);
    let endpoints = mux.next_request().unwrap();
    assert!(!endpoints.with_node, "set_node_on_first_message_only");
    let Request::StateOfTheWorld(endpoints) = endpoints.request else {
        panic!()
    };
    assert_eq!(
        (endpoints.type_url.as_str(), &endpoints.resource_names),
        (ENDPOINT, &strings(&["a", "b"]))
    );
    let ack = next_sotw(&mut mux);
    assert_eq!(
        (ack.version_info.as_str(), ack.response_nonce.as_str(), ack.error_detail),
        ("1", "n1", None)
    );
    assert!(mux.next_request().is_none());
}

#[test]
fn sotw_requests_carry_the_union_of_names_and_wait_for_the_verdict() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, ENDPOINT, &["a"], now);
    next_sotw(&mut mux);
    let endpoints = update(mux.received(sotw(ENDPOINT, "1", "n1", &["a"]), now));
    subscribe(&mut mux, ENDPOINT, &["b", "c"], now);
    assert!(mux.next_request().is_none(), "its nonce would be stale");
    mux.answer(endpoints.id, Verdict::Accepted);
    let ack = next_sotw(&mut mux);
    assert_eq!(
        (ack.response_nonce.as_str(), ack.resource_names),
        ("n1", strings(&["a", "b", "c"]))
    );
    assert!(mux.next_request().is_none());
    mux.unsubscribe(ENDPOINT, "b");
    let fewer = next_sotw(&mut mux);
    assert_eq!(
        (fewer.response_nonce.as_str(), fewer.resource_names),
        ("n1", strings(&["a", "c"]))
    );
}

#[test]
fn sotw_nack_names_every_rejected_resource_and_keeps_the_version() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    next_sotw(&mut mux);
    let good = update(mux.received(sotw(CLUSTER, "1", "n1", &["a"]), now));
    mux.answer(good.id, Verdict::Accepted);
    next_sotw(&mut mux);
    let bad = update(mux.received(sotw(CLUSTER, "2", "n2", &["a", "b", "c"]), now));
    mux.answer(
        bad.id,
        Verdict::Rejected(vec![rejection("a", "no type"), rejection("c", "no name")]),
    );
    let nack = next_sotw(&mut mux);
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("1", "n2"));
    let error = nack.error_detail.unwrap();
    assert_eq!(error.code, 13);
    assert_eq!(
        error.message,
        "envoy.config.cluster.v3.Cluster: 2 of 3 rejected; a: no type; c: no name"
    );
    let mut known: Vec<_> = mux
        .known(CLUSTER)
        .map(|(name, version)| (&**name, &**version))
        .collect();
    known.sort_unstable();
    assert_eq!(known, [("a", "1"), ("b", "2")]);
}

#[test]
fn sotw_omission_removes_clusters_but_not_endpoints() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    subscribe(&mut mux, ENDPOINT, &["a", "b"], now);
    for type_url in [CLUSTER, ENDPOINT] {
        // The first is not answered before the second comes: what it brought counts as held.
        let first = update(mux.received(sotw(type_url, "1", "n1", &["a", "b"]), now));
        let second = update(mux.received(sotw(type_url, "2", "n2", &["b"]), now));
        let removed: &[Name] = if type_url == CLUSTER { &["a".into()] } else { &[] };
        assert_eq!(second.removed, removed);
        mux.answer(second.id, Verdict::Accepted);
        mux.answer(first.id, Verdict::Accepted);
        assert_eq!(mux.known(type_url).count(), if type_url == CLUSTER { 1 } else { 2 });
    }
}

#[test]
fn answers_leave_in_the_order_of_responses() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    next_delta(&mut mux);
    let first = update(mux.received(delta(CLUSTER, "n1", &[("a", "1")], &[]), now));
    let second = update(mux.received(delta(CLUSTER, "n2", &[("a", "2")], &[]), now));
    mux.answer(second.id, Verdict::Accepted);
    assert!(mux.next_request().is_none());
    mux.answer(first.id, Verdict::Accepted);
    assert_eq!(next_delta(&mut mux).response_nonce, "n1");
    assert_eq!(next_delta(&mut mux).response_nonce, "n2");
    mux.answer(first.id, Verdict::Refused("again".into()));
    assert!(mux.next_request().is_none(), "one answer for each response");
    assert_eq!(
        mux.known(CLUSTER).map(|(_, version)| &**version).collect::<Vec<_>>(),
        ["2"]
    );
}

#[test]
fn delta_separates_acks_from_changes_of_interest() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, ENDPOINT, &["a", "b"], now);
    assert_eq!(next_delta(&mut mux).resource_names_subscribe, strings(&["a", "b"]));
    let endpoints = update(mux.received(delta(ENDPOINT, "n1", &[("a", "")], &["b"]), now));
    assert_eq!(endpoints.removed, ["b".into()], "asked for and does not exist");
    subscribe(&mut mux, ENDPOINT, &["c"], now);
    mux.unsubscribe(ENDPOINT, "b");
    let spontaneous = next_delta(&mut mux);
    assert_eq!(spontaneous.response_nonce, "");
    assert_eq!(spontaneous.resource_names_subscribe, strings(&["c"]));
    assert_eq!(spontaneous.resource_names_unsubscribe, strings(&["b"]));
    mux.answer(endpoints.id, Verdict::Accepted);
    let ack = next_delta(&mut mux);
    assert_eq!(ack.response_nonce, "n1");
    assert!(ack.resource_names_subscribe.is_empty() && ack.resource_names_unsubscribe.is_empty());
    assert!(mux.next_request().is_none());
}

#[test]
fn delta_reconnect_says_what_is_held_after_open_verdicts_are_in() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    subscribe(&mut mux, ENDPOINT, &["a"], now);
    next_delta(&mut mux);
    next_delta(&mut mux);
    let first = update(mux.received(delta(CLUSTER, "n1", &[("a", ""), ("bad", "")], &[]), now));
    mux.answer(first.id, Verdict::Rejected(vec![rejection("bad", "is bad")]));
    let open = update(mux.received(delta(CLUSTER, "n2", &[("late", "7")], &[]), now));
    mux.disconnected();
    assert!(mux.next_request().is_none());
    mux.connected();
    let endpoints = mux.next_request().unwrap();
    assert!(endpoints.with_node, "each stream hears who we are");
    let Request::Delta(endpoints) = endpoints.request else {
        panic!()
    };
    assert_eq!(
        (endpoints.type_url.as_str(), endpoints.resource_names_subscribe),
        (ENDPOINT, strings(&["a"]))
    );
    assert!(mux.next_request().is_none());
    mux.answer(open.id, Verdict::Accepted);
    let clusters = next_delta(&mut mux);
    assert!(clusters.resource_names_subscribe.is_empty() && clusters.response_nonce.is_empty());
    let held: Vec<_> = clusters
        .initial_resource_versions
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(held, [("a", ""), ("late", "7")]);
    assert!(mux.next_request().is_none(), "the answer belongs to the old stream");
}

#[test]
fn sotw_reconnect_carries_the_version_and_no_nonce() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, SECRET, &["default"], now);
    next_sotw(&mut mux);
    let secret = update(mux.received(sotw(SECRET, "1", "n1", &["default"]), now));
    mux.answer(secret.id, Verdict::Accepted);
    next_sotw(&mut mux);
    mux.connected();
    let again = next_sotw(&mut mux);
    assert_eq!((again.version_info.as_str(), again.response_nonce.as_str()), ("1", ""));
    assert_eq!(again.resource_names, strings(&["default"]));
}

#[test]
fn wildcard_and_names_mix() {
    let now = Instant::now();
    let mut delta_mux = connected(Protocol::Delta);
    subscribe(&mut delta_mux, CLUSTER, &[WILDCARD], now);
    assert!(next_delta(&mut delta_mux).resource_names_subscribe.is_empty());
    subscribe(&mut delta_mux, CLUSTER, &["x"], now);
    assert_eq!(next_delta(&mut delta_mux).resource_names_subscribe, strings(&["x"]));
    let both = update(delta_mux.received(delta(CLUSTER, "n1", &[("x", "1"), ("y", "1")], &[]), now));
    delta_mux.answer(both.id, Verdict::Accepted);
    next_delta(&mut delta_mux);
    delta_mux.connected();
    assert_eq!(
        next_delta(&mut delta_mux).resource_names_subscribe,
        strings(&["*", "x"])
    );
    delta_mux.unsubscribe(CLUSTER, WILDCARD);
    assert_eq!(next_delta(&mut delta_mux).resource_names_unsubscribe, strings(&["*"]));
    assert_eq!(
        delta_mux.known(CLUSTER).map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["x"]
    );

    let mut sotw_mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut sotw_mux, LISTENER, &["x"], now);
    assert_eq!(next_sotw(&mut sotw_mux).resource_names, strings(&["x"]));
    subscribe(&mut sotw_mux, LISTENER, &[WILDCARD], now);
    assert_eq!(next_sotw(&mut sotw_mux).resource_names, strings(&["*", "x"]));
    sotw_mux.unsubscribe(LISTENER, "x");
    assert_eq!(
        next_sotw(&mut sotw_mux).resource_names,
        strings(&["*"]),
        "empty would mean nothing by now"
    );
    sotw_mux.unsubscribe(LISTENER, WILDCARD);
    assert!(next_sotw(&mut sotw_mux).resource_names.is_empty());
}

#[test]
fn what_nobody_asked_for_is_acknowledged_and_dropped() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, ENDPOINT, &["a"], now);
    next_delta(&mut mux);
    assert!(
        mux.received(delta(ENDPOINT, "n1", &[("z", "1")], &["y"]), now)
            .is_none()
    );
    assert_eq!(next_delta(&mut mux).response_nonce, "n1");
    assert_eq!(mux.known(ENDPOINT).count(), 0);
    assert!(mux.received(delta(SECRET, "n2", &[("z", "1")], &[]), now).is_none());
    assert!(
        mux.next_request().is_none(),
        "a type that was never subscribed is ignored"
    );
    // An answer that raced an unsubscription.
    mux.unsubscribe(ENDPOINT, "a");
    next_delta(&mut mux);
    assert!(mux.received(delta(ENDPOINT, "n3", &[("a", "1")], &[]), now).is_none());
    assert_eq!(next_delta(&mut mux).response_nonce, "n3");
}

#[test]
fn an_empty_first_response_is_news() {
    let now = Instant::now();
    for protocol in [Protocol::Delta, Protocol::StateOfTheWorld] {
        let mut mux = connected(protocol);
        subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
        mux.next_request().unwrap();
        let empty = match protocol {
            Protocol::Delta => delta(CLUSTER, "n", &[], &[]),
            Protocol::StateOfTheWorld => sotw(CLUSTER, "1", "n", &[]),
        };
        assert!(update(mux.received(empty, now)).resources.is_empty());
    }
}

#[test]
fn resubscribing_asks_again() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, ENDPOINT, &["a", "b"], now);
    next_delta(&mut mux);
    mux.resubscribe(ENDPOINT, "a".into(), FOREVER, now);
    assert_eq!(next_delta(&mut mux).resource_names_subscribe, strings(&["a"]));
    mux.unsubscribe(ENDPOINT, "b");
    subscribe(&mut mux, ENDPOINT, &["b"], now);
    let again = next_delta(&mut mux);
    assert_eq!(again.resource_names_subscribe, strings(&["b"]));
    assert!(again.resource_names_unsubscribe.is_empty());
}

#[test]
fn unreadable_responses_are_refused_whole_and_duplicates_one_by_one() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    next_sotw(&mut mux);
    let Response::StateOfTheWorld(mut response) = sotw(CLUSTER, "1", "n1", &["a"]) else {
        panic!()
    };
    response.resources.push(body(LISTENER, "l"));
    let refused = mux.received(Response::StateOfTheWorld(response), now);
    assert!(matches!(refused, Some(Notice::Refused(Refused { reason, .. })) if reason.contains("Listener")));
    let nack = next_sotw(&mut mux);
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("", "n1"));
    assert!(nack.error_detail.is_some());
    assert_eq!(mux.known(CLUSTER).count(), 0);

    let Response::StateOfTheWorld(mut response) = sotw(CLUSTER, "2", "n2", &["a", "a", ""]) else {
        panic!()
    };
    response.resources.push(Any {
        type_url: CLUSTER.into(),
        value: Bytes::from_static(b"\xff"),
    });
    let twice = update(mux.received(Response::StateOfTheWorld(response), now));
    assert_eq!((names(&twice), twice.malformed.len()), (vec!["a"], 3));
    mux.answer(twice.id, Verdict::Accepted);
    let message = next_sotw(&mut mux).error_detail.unwrap().message;
    assert!(
        message.contains("3 of 4 rejected; a: appears more than once"),
        "{message}"
    );
    assert!(
        message.contains("resource 2: has no name; resource 3: cannot be decoded"),
        "{message}"
    );

    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    next_delta(&mut mux);
    for (nonce, resources, removed) in [
        ("n1", &[("a", "1"), ("a", "2")][..], &[][..]),
        ("n2", &[("a", "1")], &["a"]),
        ("n3", &[("", "1")], &[]),
    ] {
        assert!(matches!(
            mux.received(delta(CLUSTER, nonce, resources, removed), now),
            Some(Notice::Refused(_))
        ));
        let nack = next_delta(&mut mux);
        assert_eq!(
            (nack.response_nonce.as_str(), nack.error_detail.is_some()),
            (nonce, true)
        );
    }
}

#[test]
fn a_nack_stays_small_enough_to_send() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    subscribe(&mut mux, CLUSTER, &[WILDCARD], now);
    next_delta(&mut mux);
    let all = update(mux.received(delta(CLUSTER, "n", &[("a", "1")], &[]), now));
    mux.answer(all.id, Verdict::Rejected(vec![rejection("a", &"ä".repeat(100_000))]));
    let message = next_delta(&mut mux).error_detail.unwrap().message;
    assert!(message.len() < 70_000 && message.ends_with("... (truncated)"));
}

#[test]
fn initial_fetch_timeout_fires_once_for_what_did_not_come() {
    let (now, timeout) = (Instant::now(), Duration::from_secs(15));
    let mut mux = connected(Protocol::Delta);
    mux.subscribe(ENDPOINT, "slow".into(), timeout, now);
    mux.subscribe(ENDPOINT, "quick".into(), timeout, now);
    mux.subscribe(ENDPOINT, "patient".into(), FOREVER, now);
    mux.subscribe(ENDPOINT, "dropped".into(), timeout, now);
    mux.subscribe(CLUSTER, WILDCARD.into(), timeout, now);
    mux.unsubscribe(ENDPOINT, "dropped");
    while mux.next_request().is_some() {}
    _ = mux.received(delta(ENDPOINT, "n1", &[("quick", "1")], &[]), now);
    assert_eq!(mux.next_deadline(), Some(now + timeout));
    assert!(mux.expire(now).is_empty());
    let notices = mux.expire(now + timeout);
    let [
        Notice::FetchTimeout { names: endpoints, .. },
        Notice::FetchTimeout { names: clusters, .. },
    ] = &notices[..]
    else {
        panic!("{notices:?}")
    };
    assert_eq!(
        (endpoints.as_slice(), clusters.as_slice()),
        (&["slow".into()][..], &[WILDCARD.into()][..])
    );
    assert_eq!(mux.next_deadline(), None);
}

#[test]
fn named_full_state_subscriptions_learn_that_a_resource_does_not_exist() {
    let now = Instant::now();
    let mut mux = connected(Protocol::StateOfTheWorld);
    mux.subscribe(LISTENER, "here".into(), FOREVER, now);
    mux.subscribe(LISTENER, "gone".into(), Duration::from_secs(1), now);
    next_sotw(&mut mux);
    let listeners = update(mux.received(sotw(LISTENER, "1", "n1", &["here"]), now));
    assert_eq!(listeners.removed, ["gone".into()]);
    assert_eq!(mux.next_deadline(), None);
}

#[test]
fn ttl_runs_out_unless_a_heartbeat_renews_it() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let wire = |seconds: u64| {
        Some(crate::message::Duration {
            seconds: seconds as i64,
            nanos: 0,
        })
    };
    for protocol in [Protocol::Delta, Protocol::StateOfTheWorld] {
        let mut mux = connected(protocol);
        subscribe(&mut mux, ENDPOINT, &["a"], now);
        mux.next_request().unwrap();
        let respond = |nonce: &str, with_body: bool, ttl: u64| {
            let resource = WireResource {
                name: "a".into(),
                ttl: wire(ttl),
                resource: with_body.then(|| body(ENDPOINT, "a")),
                ..WireResource::default()
            };
            match protocol {
                Protocol::Delta => Response::Delta(DeltaDiscoveryResponse {
                    resources: vec![resource],
                    type_url: ENDPOINT.into(),
                    nonce: nonce.into(),
                    ..DeltaDiscoveryResponse::default()
                }),
                Protocol::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
                    resources: vec![Any {
                        type_url: RESOURCE_TYPE_URL.into(),
                        value: resource.encode_to_vec().into(),
                    }],
                    type_url: ENDPOINT.into(),
                    nonce: nonce.into(),
                    ..DiscoveryResponse::default()
                }),
            }
        };
        let first = update(mux.received(respond("n1", true, 3), now));
        assert_eq!(first.resources[0].ttl, Some(3 * second));
        mux.answer(first.id, Verdict::Accepted);
        mux.next_request().unwrap();
        assert!(
            mux.received(respond("n2", false, 3), now + 2 * second).is_none(),
            "a heartbeat is no update"
        );
        assert!(mux.next_request().is_some(), "but is acknowledged");
        assert!(mux.expire(now + 4 * second).is_empty());
        let expired = mux.expire(now + 5 * second);
        assert!(
            matches!(&expired[..], [Notice::Expired { names, .. }] if *names == ["a".into()]),
            "{expired:?}"
        );
        assert_eq!(mux.known(ENDPOINT).count(), 0);
        assert_eq!(mux.next_deadline(), None);
    }
}

#[test]
fn virtual_hosts_are_known_by_their_aliases() {
    let now = Instant::now();
    let mut mux = connected(Protocol::Delta);
    mux.subscribe(VIRTUAL_HOST, "route/host.example".into(), Duration::from_secs(1), now);
    next_delta(&mut mux);
    let Response::Delta(mut response) = delta(VIRTUAL_HOST, "n1", &[("route/vhost", "1")], &[]) else {
        panic!()
    };
    response.resources[0].aliases = vec!["route/host.example".into()];
    let hosts = update(mux.received(Response::Delta(response), now));
    assert_eq!(names(&hosts), ["route/vhost"]);
    assert_eq!(mux.next_deadline(), None, "the wait for the alias is over");
    mux.answer(hosts.id, Verdict::Accepted);
    next_delta(&mut mux);
    let Response::Delta(mut missing) = delta(VIRTUAL_HOST, "n2", &[("route/none", "1")], &[]) else {
        panic!()
    };
    missing.resources[0].resource = None;
    let none = update(mux.received(Response::Delta(missing), now));
    assert_eq!(none.removed, ["route/none".into()]);
}
