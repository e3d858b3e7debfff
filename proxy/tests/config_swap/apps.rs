//! The applications behind the proxy: HTTP/1.1, HTTP/2 and a TCP echo, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::message::{Kind, Message};

/// How long `/slow` takes: long enough that a change of config falls into it.
pub const SLOW: Duration = Duration::from_millis(700);

/// Listens on a free port and serves every connection in a task of its own; the port.
async fn serve<F: Future<Output = ()> + Send + 'static>(connection: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(stream));
        }
    });
    port
}

/// Answers every request with its path as body.
pub async fn http1() -> u16 {
    serve(http1_connection).await
}

async fn http1_connection(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    loop {
        while let Some((request, used)) = Message::parse(&bytes, Kind::Request, false) {
            bytes.drain(..used);
            let path = request.start.split(' ').nth(1).unwrap_or_default().to_owned();
            if path == "/slow" {
                tokio::time::sleep(SLOW).await;
            }
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// The same over HTTP/2.
pub async fn http2() -> u16 {
    serve(http2_connection).await
}

async fn http2_connection(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        if let Ok(mut body) = respond.send_response(http::Response::new(()), false) {
            let _ = body.send_data(Bytes::from(path), true);
        }
    }
}

/// Sends back what comes, its own name first: `name` and a line end.
pub async fn echo(name: &'static str) -> u16 {
    serve(move |stream| echo_connection(stream, name)).await
}

async fn echo_connection(mut stream: TcpStream, name: &'static str) {
    let (mut read, mut write) = stream.split();
    if write.write_all(format!("{name}\n").as_bytes()).await.is_ok() {
        let _ = tokio::io::copy(&mut read, &mut write).await;
    }
}
