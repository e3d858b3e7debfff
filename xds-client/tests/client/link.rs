//! Connections: refused, dead, chattered at, handed in from outside.

use crate::server::{PATIENCE, Server, within};
use crate::{disconnected, next, start, start_on};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use xds_client::resource_type::CLUSTER;
use xds_client::{Event, Keepalive, ManagementServer, Protocol, ServerOptions, Service, Target};

type Delta = Server<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

const FOREVER: Duration = Duration::ZERO;
const QUICK: Keepalive = Keepalive {
    interval: Duration::from_millis(100),
    timeout: Duration::from_millis(300),
};

#[tokio::test]
async fn a_refused_connection_is_named_and_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = Target::Tcp {
        host: "127.0.0.1".into(),
        port,
    };
    let (handle, mut events) = start(target, Protocol::Delta, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let reason = disconnected(&mut events).await;
    assert!(
        reason.contains(&format!("127.0.0.1:{port}")) && reason.contains("refused"),
        "{reason}"
    );
    let mut server = Delta::on_port(port).await;
    assert_eq!(server.accept().await.request().await.type_url, CLUSTER);
}

/// A proxy that forwards until it is told to swallow everything, as a firewall that drops packets does.
async fn silencer(to: Target) -> (Target, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let (silent, told) = watch::channel(false);
    let Target::Tcp { host, port } = to else { panic!("{to}") };
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect((host.as_str(), port)).await.unwrap();
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            // A connection that was opened in silence speaks: only those that lived when it fell stay dead.
            let mine = told.clone();
            let deaf = *mine.borrow();
            tokio::spawn(copy(near_read, far_write, (!deaf).then(|| mine.clone())));
            tokio::spawn(copy(far_read, near_write, (!deaf).then_some(mine)));
        }
    });
    (target, silent)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    silent: Option<watch::Receiver<bool>>,
) {
    let mut buffer = vec![0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if !silent.as_ref().is_some_and(|it| *it.borrow()) && to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
    // Keeps the other side open when this one ends in silence.
    if silent.is_some() {
        tokio::time::sleep(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_peer_that_fell_silent_is_left_for_a_new_connection() {
    let mut server = Delta::tcp().await;
    let (target, silent) = silencer(server.target.clone()).await;
    let mut options = ServerOptions::new("silent", target);
    options.keepalive = Some(QUICK);
    let (handle, mut events) = start_on(
        &ManagementServer::new(options).unwrap(),
        Protocol::Delta,
        Service::Aggregated,
    );
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut dead = server.accept().await;
    dead.request().await;
    assert!(matches!(next(&mut events).await, Event::Connected));
    silent.send(true).unwrap();
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("keep-alive timed out"), "{reason}");
    assert_eq!(server.accept().await.request().await.type_url, CLUSTER);
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_silent_peer_is_given_up_even_before_the_stream_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let mut options = ServerOptions::new("mute", target);
    options.keepalive = Some(QUICK);
    let (_handle, mut events) = start_on(
        &ManagementServer::new(options).unwrap(),
        Protocol::Delta,
        Service::Aggregated,
    );
    let first = within(PATIENCE, listener.accept()).await;
    disconnected(&mut events).await;
    within(PATIENCE, listener.accept()).await.unwrap();
    drop(first);
}

#[tokio::test]
async fn a_server_that_wants_fewer_pings_gets_fewer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let mut options = ServerOptions::new("touchy", target);
    options.keepalive = Some(QUICK);
    let server = ManagementServer::new(options).unwrap();
    let (_handle, mut events) = start_on(&server, Protocol::Delta, Service::Aggregated);
    for doublings in 0..3 {
        assert_eq!(server.ping_interval(), Some(QUICK.interval * (1 << doublings)));
        let (socket, _) = within(PATIENCE, listener.accept()).await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let head = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let _stream = respond.send_response(head, false).unwrap();
        connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        while connection.accept().await.is_some() {}
        let reason = disconnected(&mut events).await;
        assert!(reason.contains("excessive load"), "{reason}");
    }
}

#[tokio::test]
async fn the_caller_may_open_connections_itself() {
    let mut server = Delta::tcp().await;
    let mut options = ServerOptions::new("tls", server.target.clone());
    let dialled = Arc::new(AtomicUsize::new(0));
    let counter = dialled.clone();
    options.https = true;
    options.connector = Some(Arc::new(move |target: Target| {
        counter.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { target.connect().await })
    }));
    let (handle, _events) = start_on(
        &ManagementServer::new(options).unwrap(),
        Protocol::Delta,
        Service::Aggregated,
    );
    handle.subscribe_all(CLUSTER, FOREVER);
    let mut call = server.accept().await;
    call.request().await;
    assert_eq!((call.scheme.as_str(), call.authority.as_str()), ("https", "tls"));
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_client_ends_with_its_last_handle() {
    let mut server = Delta::tcp().await;
    let (handle, mut events) = start(server.target.clone(), Protocol::Delta, Service::Aggregated);
    handle.subscribe_all(CLUSTER, FOREVER);
    let _call = server.accept().await;
    drop(handle);
    while within(PATIENCE, events.recv()).await.is_some() {}
}

#[test]
fn what_cannot_work_is_an_error_at_once() {
    let target = Target::Unix("x".into());
    let mut options = ServerOptions::new("outbound|15010||istiod", target.clone());
    let error = ManagementServer::new(options.clone()).unwrap_err().to_string();
    assert!(error.contains("outbound|15010||istiod"), "{error}");
    options.authority = Some("istiod".into());
    options.initial_metadata = vec![("bad key".into(), "v".into())];
    assert!(
        ManagementServer::new(options)
            .unwrap_err()
            .to_string()
            .contains("bad key")
    );
    let server = ManagementServer::new(ServerOptions::new("xds", target)).unwrap();
    let service = Service::Own(xds_client::resource_type::VIRTUAL_HOST.into());
    let source = xds_client::Source::Grpc {
        server,
        protocol: Protocol::StateOfTheWorld,
        service,
    };
    let error = xds_client::Client::new(xds_client::Options::new(source, Vec::new()))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("VirtualHost") && error.contains("DELTA_GRPC"), "{error}");
}
