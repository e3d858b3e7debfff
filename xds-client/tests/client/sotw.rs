//! State of the world, on sockets.

use crate::server::{NODE_ID, Server, cluster};
use crate::{disconnected, next, start, start_on, update};
use std::time::Duration;
use tonic::Status;
use xds_api::Message;
use xds_api::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse, Resource};
use xds_api::pb::Any;
use xds_client::resource_type::{CLUSTER, ENDPOINT, SECRET};
use xds_client::{Event, ManagementServer, Protocol, Rejection, ServerOptions, Service};

type Sotw = Server<DiscoveryRequest, DiscoveryResponse>;

const FOREVER: Duration = Duration::ZERO;

fn clusters(version: &str, nonce: &str, names: &[&str]) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: version.into(),
        resources: names.iter().map(|name| cluster(name)).collect(),
        type_url: CLUSTER.into(),
        nonce: nonce.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn initial_update_nack_reconnect() {
    let mut server = Sotw::tcp().await;
    let (handle, mut events) = start(server.target.clone(), Protocol::StateOfTheWorld, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut call = server.accept().await;
    assert_eq!(
        call.path,
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
    );
    let first = call.request().await;
    assert_eq!(first.node.as_ref().map(|it| it.id.as_str()), Some(NODE_ID));
    assert_eq!((first.type_url.as_str(), first.resource_names.len()), (CLUSTER, 0));
    assert!(matches!(next(&mut events).await, Event::Connected));

    call.respond(clusters("1", "n1", &["a", "b"]));
    let (initial, ack) = update(&mut events).await;
    assert_eq!(
        initial.resources.iter().map(|it| &*it.name).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(initial.resources[0].body, xds_api_bytes(&cluster("a")));
    handle.subscribe(ENDPOINT, ["a"], FOREVER);
    handle.subscribe(ENDPOINT, ["b"], FOREVER);
    ack.accept();
    let endpoints = call.request().await;
    assert_eq!(
        (endpoints.type_url.as_str(), endpoints.resource_names),
        (ENDPOINT, vec!["a".into(), "b".into()])
    );
    let ack = call.request().await;
    assert_eq!(
        (ack.version_info.as_str(), ack.response_nonce.as_str(), ack.error_detail),
        ("1", "n1", None)
    );

    call.respond(clusters("2", "n2", &["b", "c"]));
    let (second, ack) = update(&mut events).await;
    assert_eq!(second.removed, ["a".into()]);
    ack.reject(vec![Rejection {
        name: "c".into(),
        reason: "no endpoints".into(),
    }]);
    let nack = call.request().await;
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("1", "n2"));
    assert!(nack.error_detail.unwrap().message.contains("c: no endpoints"));

    call.fail(Status::unavailable("going away"));
    assert!(disconnected(&mut events).await.contains("going away"));
    let mut call = server.accept().await;
    let again = call.request().await;
    assert_eq!((again.version_info.as_str(), again.response_nonce.as_str()), ("1", ""));
    assert!(again.node.is_some());
    assert_eq!(call.request().await.resource_names, ["a", "b"]);
    let connections = server.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(connections, 1, "a status leaves the connection in place");
}

fn xds_api_bytes(any: &Any) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&any.value)
}

#[tokio::test]
async fn a_type_on_a_stream_of_its_own_over_a_shared_connection() {
    let mut server = Sotw::tcp().await;
    let mut options = ServerOptions::new("xds", server.target.clone());
    options.authority = Some("agent.local".into());
    options.initial_metadata = vec![("x-tenant".into(), "blue".into())];
    let shared = ManagementServer::new(options).unwrap();
    let mut running = Vec::new();
    for name in ["default", "ROOTCA"] {
        let (handle, events) = start_on(&shared, Protocol::StateOfTheWorld, Service::Own(SECRET.into()));
        handle.subscribe(SECRET, [name], FOREVER);
        handle.subscribe_all(CLUSTER, FOREVER);
        let mut call = server.accept().await;
        assert_eq!(
            call.path,
            "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
        );
        assert_eq!((call.authority.as_str(), call.scheme.as_str()), ("agent.local", "http"));
        assert_eq!(call.metadata.get("x-tenant").unwrap(), "blue");
        assert_eq!(call.request().await.resource_names, [name]);
        call.no_request().await;
        running.push((handle, events, call));
    }
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_response_may_be_larger_than_grpcs_four_mebibytes() {
    let mut server = Sotw::tcp().await;
    let (handle, mut events) = start(server.target.clone(), Protocol::StateOfTheWorld, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut call = server.accept().await;
    call.request().await;
    let names: Vec<String> = (0..5_000).map(|i| format!("{i:01000}")).collect();
    call.respond(clusters(
        "1",
        "n",
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
    let (large, ack) = update(&mut events).await;
    assert_eq!(large.resources.len(), 5_000);
    ack.accept();
    assert_eq!(call.request().await.response_nonce, "n");
}

#[tokio::test]
async fn an_unanswered_update_is_rejected_and_a_slow_server_times_out() {
    let mut server = Sotw::tcp().await;
    let (handle, mut events) = start(server.target.clone(), Protocol::StateOfTheWorld, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    handle.subscribe(SECRET, ["late", "later"], Duration::from_millis(10));
    let mut call = server.accept().await;
    call.request().await;
    call.request().await;
    assert!(matches!(
        next(&mut events).await,
        Event::Connected | Event::FetchTimeout { .. }
    ));
    let timeout = match next(&mut events).await {
        Event::Connected => next(&mut events).await,
        other => other,
    };
    if let Event::FetchTimeout { type_url, names } = timeout {
        assert_eq!((&*type_url, names), (SECRET, vec!["late".into(), "later".into()]));
    }
    call.respond(clusters("1", "n1", &["a"]));
    let (_, ack) = update(&mut events).await;
    drop(ack);
    let nack = call.request().await;
    assert_eq!(nack.version_info, "");
    assert!(nack.error_detail.unwrap().message.contains("unanswered"));
}

#[tokio::test]
async fn a_resource_expires_without_heartbeats() {
    let mut server = Sotw::tcp().await;
    let (handle, mut events) = start(server.target.clone(), Protocol::StateOfTheWorld, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut call = server.accept().await;
    call.request().await;
    let wrapped = Resource {
        name: "short".into(),
        resource: Some(cluster("short")),
        ttl: Some(xds_api::pb::Duration {
            seconds: 0,
            nanos: 50_000_000,
        }),
        ..Default::default()
    };
    let mut response = clusters("1", "n1", &[]);
    response.resources = vec![Any {
        type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
        value: wrapped.encode_to_vec().into(),
    }];
    call.respond(response);
    let (short, ack) = update(&mut events).await;
    assert_eq!(short.resources[0].ttl, Some(Duration::from_millis(50)));
    ack.accept();
    let Event::Expired { names, .. } = next(&mut events).await else {
        panic!("expected an expiry")
    };
    assert_eq!(names, ["short".into()]);
}
