//! The client against a management server in the same process, over real sockets. The server speaks with the generated
//! types of Envoy's API, so that the client's own envelopes are held against them on the wire.

mod delta;
mod link;
mod server;
mod sotw;
mod wire;

use server::{PATIENCE, within};
use tokio::sync::mpsc::Receiver;
use xds_client::{
    Ack, Backoff, Client, Event, Handle, ManagementServer, Options, Protocol, ServerOptions, Service, Source, Target,
    Update,
};

/// A running client on a stream to `target`, whose retries are quick.
fn start(target: Target, protocol: Protocol, service: Service) -> (Handle, Receiver<Event>) {
    start_on(
        &ManagementServer::new(ServerOptions::new("xds-cluster", target)).unwrap(),
        protocol,
        service,
    )
}

fn start_on(server: &ManagementServer, protocol: Protocol, service: Service) -> (Handle, Receiver<Event>) {
    let source = Source::Grpc {
        server: server.clone(),
        protocol,
        service,
    };
    let mut options = Options::new(source, server::node());
    options.backoff = Backoff {
        base: std::time::Duration::from_millis(20),
        max: std::time::Duration::from_millis(50),
    };
    let (client, handle, events) = Client::new(options).unwrap();
    tokio::spawn(client.run());
    (handle, events)
}

async fn next(events: &mut Receiver<Event>) -> Event {
    within(PATIENCE, events.recv()).await.expect("the client runs")
}

/// The next update; what connects or disconnects on the way does not matter.
async fn update(events: &mut Receiver<Event>) -> (Update, Ack) {
    loop {
        match next(events).await {
            Event::Update(update, ack) => return (update, ack),
            Event::Connected | Event::Disconnected { .. } | Event::ControlPlane { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn disconnected(events: &mut Receiver<Event>) -> String {
    loop {
        match next(events).await {
            Event::Disconnected { reason, .. } => return reason,
            Event::Connected | Event::ControlPlane { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
