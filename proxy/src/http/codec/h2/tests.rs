//! Our client against our server, over memory.

use std::{future::poll_fn, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};

use super::*;
use crate::http::{
    codec::CodecError,
    message::{Frame, Incoming, Protocol, RequestHead, ResponseHead, Spelling},
};
use crate::stats::{Group, Http2Stat, Prefix, StatsConfig, Store};

mod flow;
mod heads;
mod lifecycle;
mod peers;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
/// The pipe between both ends.
const PIPE: usize = 64 * 1024;

/// Runs a test on one thread, as a worker would.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(DEADLINE, test).await.expect("the test hangs")
    });
}

/// Counters of their own.
pub(super) fn stats() -> Group<Http2Stat> {
    Store::new(1, StatsConfig::default()).group(Prefix::root("http2."))
}

/// A connected pair. The server is not polled yet.
async fn pair(server: &ServerSettings, client: &ClientSettings) -> (ServerConnection<DuplexStream>, ClientConnection) {
    pair_counted(server, client, &stats()).await
}

/// A connected pair whose server counts where the test can see it.
async fn pair_counted(
    server: &ServerSettings,
    client: &ClientSettings,
    counted: &Group<Http2Stat>,
) -> (ServerConnection<DuplexStream>, ClientConnection) {
    let (a, b) = duplex(PIPE);
    let (server, client) = tokio::join!(
        ServerConnection::handshake(a, server, counted.clone()),
        ClientConnection::handshake(b, client, stats())
    );
    let (client, driver) = client.unwrap();
    spawn_local(async move {
        let _ = driver.await;
    });
    (server.unwrap(), client)
}

async fn default_pair() -> (ServerConnection<DuplexStream>, ClientConnection) {
    pair(&ServerSettings::default(), &ClientSettings::default()).await
}

/// Accepts streams for ever and hands each to `app`; yields how the connection ended.
fn serve<IO, F>(
    mut connection: ServerConnection<IO>,
    app: impl Fn(RequestHead, ServerStream) -> F + 'static,
) -> JoinHandle<Result<(), CodecError>>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = ()> + 'static,
{
    spawn_local(async move {
        while let Some(next) = poll_fn(|cx| connection.poll_accept(cx)).await {
            if let Accepted::Request(head, stream) = next? {
                spawn_local(app(head, stream));
            }
        }
        Ok(())
    })
}

/// The next stream, which must be admitted.
async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(connection: &mut ServerConnection<IO>) -> ServerStream {
    match poll_fn(|cx| connection.poll_accept(cx)).await {
        Some(Ok(Accepted::Request(_, stream))) => stream,
        Some(Ok(Accepted::Refused(refusal))) => panic!("{refusal:?}"),
        Some(Err(e)) => panic!("{e}"),
        None => panic!("the connection ended"),
    }
}

fn request(method: Method, path: &'static str) -> RequestHead {
    RequestHead {
        method,
        scheme: HeaderValue::from_static("http"),
        authority: HeaderValue::from_static("a.example:80"),
        host_missing: false,
        path: HeaderValue::from_static(path),
        upgrade: None,
        headers: HeaderMap::new(),
        spelling: Spelling::default(),
        protocol: Protocol::Http11,
    }
}

fn status(status: StatusCode) -> ResponseHead {
    ResponseHead {
        status,
        headers: HeaderMap::new(),
        spelling: Spelling::default(),
        protocol: Protocol::Http2,
    }
}

fn field(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
}

/// Sends back what it gets: body and trailers.
async fn echo(_: RequestHead, mut stream: ServerStream) {
    stream.send_head(status(StatusCode::OK), false).unwrap();
    loop {
        let (frame, end) = match poll_fn(|cx| stream.poll_body(cx)).await {
            Ok(Incoming::Frame(frame)) => {
                let trailers = matches!(frame, Frame::Trailers(_));
                (frame, trailers)
            }
            Ok(Incoming::End) => (Frame::Data(Bytes::new()), true),
            Err(_) => return,
        };
        if stream.send_frame(frame, end).is_err() || poll_fn(|cx| stream.poll_flush(cx)).await.is_err() || end {
            return;
        }
    }
}

/// The whole body and its trailers.
async fn collect(stream: &mut ClientStream) -> Result<(Vec<u8>, Option<HeaderMap>), CodecError> {
    let mut body = Vec::new();
    loop {
        match poll_fn(|cx| stream.poll_body(cx)).await? {
            Incoming::Frame(Frame::Data(data)) => body.extend_from_slice(&data),
            Incoming::Frame(Frame::Trailers(trailers)) => return Ok((body, Some(trailers))),
            Incoming::End => return Ok((body, None)),
        }
    }
}

async fn head(stream: &mut ClientStream) -> Result<(ResponseHead, bool), CodecError> {
    poll_fn(|cx| stream.poll_head(cx)).await
}
