//! HTTP/2 and gRPC over a few connections with many streams each.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::task::LocalSet;

use super::{Outcome, Pace};
use crate::origin::WINDOW;

/// What every stream asks for.
#[derive(Debug, Clone)]
pub enum Ask {
    Get {
        size: usize,
    },
    /// One message of `size` bytes up, `count` of them down.
    Grpc {
        size: usize,
        count: usize,
    },
}

pub struct Client {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    connections: Vec<SendRequest<Bytes>>,
    streams: usize,
    ask: Ask,
}

impl Client {
    /// `streams` at a time over each connection.
    pub fn connect(address: SocketAddr, connections: usize, streams: usize, ask: Ask) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let connections = local.block_on(&runtime, async {
            let mut open = Vec::new();
            for _ in 0..connections {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (send, connection) = h2::client::Builder::new()
                    .initial_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .handshake::<_, Bytes>(stream)
                    .await?;
                // Its end shows in the requests.
                tokio::task::spawn_local(async move { drop(connection.await) });
                open.push(send);
            }
            anyhow::Ok(open)
        })?;
        Ok(Self {
            runtime,
            local,
            connections,
            streams,
            ask,
        })
    }

    pub fn run(&mut self, pace: Pace, duration: Duration) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let plan = Rc::new(Plan {
            start,
            end: start + duration,
            pace,
            next: RefCell::new(0),
            outcome: RefCell::new(Outcome::default()),
        });
        self.local.block_on(&self.runtime, async {
            let tasks: Vec<_> = (0..self.streams)
                .flat_map(|_| &self.connections)
                .map(|send| tokio::task::spawn_local(stream(send.clone(), self.ask.clone(), plan.clone())))
                .collect();
            for task in tasks {
                task.await.context("a stream's task")??;
            }
            anyhow::Ok(())
        })?;
        let mut outcome = Rc::into_inner(plan)
            .context("every stream has ended")?
            .outcome
            .into_inner();
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    }
}

struct Plan {
    start: Instant,
    end: Instant,
    pace: Pace,
    next: RefCell<u64>,
    outcome: RefCell<Outcome>,
}

impl Plan {
    /// When the next request is due; None when the run is over.
    fn due(&self) -> Option<Instant> {
        let due = match self.pace {
            Pace::Saturate => Instant::now(),
            Pace::PerSecond(rate) => {
                let mut next = self.next.borrow_mut();
                *next += 1;
                self.start + Duration::from_secs_f64((*next - 1) as f64 / rate)
            }
        };
        (due < self.end).then_some(due)
    }
}

async fn stream(mut send: SendRequest<Bytes>, ask: Ask, plan: Rc<Plan>) -> anyhow::Result<()> {
    while let Some(due) = plan.due() {
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        send = send.ready().await.context("the proxy ended a connection")?;
        request(&mut send, &ask).await?;
        plan.outcome.borrow_mut().latencies.record(due.elapsed());
    }
    Ok(())
}

async fn request(send: &mut SendRequest<Bytes>, ask: &Ask) -> anyhow::Result<()> {
    let request = Request::builder();
    let (request, body) = match ask {
        Ask::Get { size } => {
            let uri = format!("http://origin.test/{size}");
            (request.method(Method::GET).uri(uri), None)
        }
        Ask::Grpc { size, count } => {
            let request = request
                .method(Method::POST)
                .uri("http://origin.test/bench.Echo/Call")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("x-count", *count);
            (request, Some(message(*size)))
        }
    };
    let (answer, mut up) = send.send_request(request.body(())?, body.is_none())?;
    let grpc = body.is_some();
    if let Some(body) = body {
        up.send_data(body, true)?;
    }
    let answer = answer.await?;
    if answer.status() != 200 {
        bail!("the proxy answered {}", answer.status());
    }
    let mut body = answer.into_body();
    while let Some(chunk) = body.data().await {
        let length = chunk?.len();
        body.flow_control().release_capacity(length)?;
    }
    if grpc {
        let trailers = body.trailers().await?;
        if trailers.is_none_or(|t| t.get("grpc-status").is_none_or(|v| v != "0")) {
            bail!("a call without grpc-status 0");
        }
    }
    Ok(())
}

/// One gRPC message: a flag, its length, its bytes.
fn message(size: usize) -> Bytes {
    let mut message = vec![0];
    message.extend_from_slice(&(size as u32).to_be_bytes());
    message.resize(message.len() + size, b'x');
    message.into()
}
