//! An HTTP/2 origin with prior knowledge: bodies of the size that the path names, and gRPC echoes.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};

/// Wide enough that the origin never waits for a window.
pub const WINDOW: u32 = 1 << 20;
const STREAMS: u32 = 1_000;

pub fn start() -> anyhow::Result<SocketAddr> {
    let listener = crate::listen()?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        runtime.block_on(async {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return eprintln!("origin: {error}"),
            };
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(stream));
            }
        });
    };
    std::thread::Builder::new()
        .name("origin-http2".into())
        .spawn(run)
        .context("the origin's thread")?;
    Ok(address)
}

async fn connection(stream: tokio::net::TcpStream) {
    let handshake = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .handshake(stream)
        .await;
    let Ok(mut connection) = handshake else { return };
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    while let Some(Ok((request, respond))) = connection.accept().await {
        // A stream that the peer resets is the peer's business.
        if request
            .headers()
            .get("content-type")
            .is_some_and(|v| v == "application/grpc")
        {
            tokio::spawn(grpc(request, respond));
        } else {
            let _ = plain(&request, respond, &body);
        }
    }
}

fn plain(request: &Request<RecvStream>, mut respond: SendResponse<Bytes>, body: &Bytes) -> Result<(), h2::Error> {
    let size: usize = request.uri().path()[1..].parse().unwrap_or(0);
    let mut head = Response::new(());
    head.headers_mut()
        .insert("content-type", HeaderValue::from_static("application/octet-stream"));
    head.headers_mut().insert("content-length", HeaderValue::from(size));
    let mut stream = respond.send_response(head, size == 0)?;
    if size > 0 {
        stream.send_data(body.slice(..size.min(body.len())), true)?;
    }
    Ok(())
}

/// Answers one message with `x-count` messages of its own size (default one).
async fn grpc(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let count = request
        .headers()
        .get("x-count")
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .unwrap_or(1);
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        message.extend_from_slice(&chunk);
    }
    let mut head = Response::new(());
    head.headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(mut stream) = respond.send_response(head, false) else {
        return;
    };
    let _ = send_messages(&mut stream, &message.into(), count);
}

fn send_messages(stream: &mut SendStream<Bytes>, message: &Bytes, count: usize) -> Result<(), h2::Error> {
    for _ in 0..count {
        stream.send_data(message.clone(), false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
