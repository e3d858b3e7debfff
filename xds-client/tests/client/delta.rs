//! Delta, on sockets.

use crate::server::{Server, cluster};
use crate::{disconnected, start, update};
use std::collections::BTreeMap;
use std::time::Duration;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use xds_client::resource_type::{CLUSTER, ENDPOINT};
use xds_client::{Protocol, Rejection, Service};

type Delta = Server<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

const FOREVER: Duration = Duration::ZERO;

fn clusters(nonce: &str, resources: &[(&str, &str)], removed: &[&str]) -> DeltaDiscoveryResponse {
    let resource = |(name, version): &(&str, &str)| Resource {
        name: (*name).into(),
        version: (*version).into(),
        resource: Some(cluster(name)),
        ..Default::default()
    };
    DeltaDiscoveryResponse {
        resources: resources.iter().map(resource).collect(),
        removed_resources: removed.iter().map(|it| (*it).into()).collect(),
        type_url: CLUSTER.into(),
        nonce: nonce.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn initial_update_nack_reconnect_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("XDS");
    let mut server = Delta::unix(&path);
    let (handle, mut events) = start(server.target.clone(), Protocol::Delta, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut call = server.accept().await;
    assert_eq!(
        call.path,
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    );
    let first = call.request().await;
    assert!(first.node.is_some() && first.resource_names_subscribe.is_empty());

    call.respond(clusters("n1", &[("a", "1"), ("bad", "1"), ("c", "")], &[]));
    let (initial, ack) = update(&mut events).await;
    assert_eq!(initial.resources.len(), 3);
    handle.subscribe(ENDPOINT, ["a", "c"], FOREVER);
    ack.reject(vec![Rejection {
        name: "bad".into(),
        reason: "is bad".into(),
    }]);
    let endpoints = call.request().await;
    assert_eq!(
        (endpoints.type_url.as_str(), endpoints.resource_names_subscribe.len()),
        (ENDPOINT, 2)
    );
    let nack = call.request().await;
    assert_eq!(nack.response_nonce, "n1");
    assert!(nack.error_detail.unwrap().message.contains("bad: is bad"));

    call.respond(clusters("n2", &[("a", "2")], &["c"]));
    let (second, ack) = update(&mut events).await;
    assert_eq!(
        (&*second.resources[0].version, &second.removed[..]),
        ("2", &["c".into()][..])
    );
    ack.accept();
    assert_eq!(call.request().await.error_detail, None);

    drop((call, server));
    disconnected(&mut events).await;
    std::fs::remove_file(&path).unwrap();
    assert!(
        disconnected(&mut events).await.contains("XDS"),
        "the reason names the socket"
    );
    let mut server = Delta::unix(&path);
    let mut call = server.accept().await;
    let again = call.request().await;
    let held: BTreeMap<_, _> = again.initial_resource_versions.into_iter().collect();
    assert_eq!(
        held,
        BTreeMap::from([("a".into(), "2".into())]),
        "neither the rejected nor the removed one"
    );
    assert_eq!(call.request().await.resource_names_subscribe, ["a", "c"]);
}

#[tokio::test]
async fn calls_of_one_turn_are_one_request() {
    let mut server = Delta::tcp().await;
    let (handle, _events) = start(server.target.clone(), Protocol::Delta, Service::Aggregated);
    handle.subscribe(ENDPOINT, ["first"], FOREVER);
    let mut call = server.accept().await;
    call.request().await;
    for name in ["b", "a", "c"] {
        handle.subscribe(ENDPOINT, [name], FOREVER);
    }
    handle.unsubscribe(ENDPOINT, ["c", "first"]);
    let request = call.request().await;
    assert_eq!(request.resource_names_subscribe, ["a", "b"]);
    assert_eq!(request.resource_names_unsubscribe, ["first"]);
    call.no_request().await;
}
